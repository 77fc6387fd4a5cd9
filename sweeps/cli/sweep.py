"""``care sweep plan`` and ``care sweep run``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from care.claim import Claim
from care.identity import code_version
from sweeps.live import LiveView, duration
from sweeps.plan import Plan, estimate_seconds, make_plan
from sweeps.progress import Board
from sweeps.resources import share_out
from sweeps.spec import Sweep, load_sweep
from sweeps.store import Store


@dataclass(frozen=True)
class RunOptions:
    """Options of ``care sweep run``."""

    retry_failed: bool
    rerun_stale: bool
    tracking_uri: str | None
    report: bool


def sweep_size(sweep: Sweep, plan: Plan) -> int:
    """Trials that the sweep wants in all."""
    spec = sweep.spec
    if spec.search.name == "grid":
        return len(plan.unique())
    return spec.search.trials * len(spec.seeds)


def plan_command(file: Path, overrides: tuple[str, ...], root: Path, as_json: bool) -> None:
    """Print the plan."""
    sweep = load_sweep(file, overrides)
    store = Store(root)
    plan = make_plan(sweep, store)
    size = sweep_size(sweep, plan)
    resources = share_out(sweep.spec.resources, size)
    counts = plan.counts()
    counts["new"] += size - len(plan.unique())  # points that Optuna has still to suggest
    seconds = estimate_seconds(plan, store, resources.concurrency)
    if as_json:
        print(json.dumps({**counts, "total": size, "estimated_seconds": seconds}))
        return
    console = Console()
    for trial in plan.trials:
        progress = f"{trial.epoch}/{trial.config.training.epochs} epochs" if trial.epoch else ""
        console.print(f"  {trial.state:8s} {trial.trial_id}  {trial.label:32s} {progress}")
    console.print(", ".join(f"{number} {state}" for state, number in counts.items()))
    unknown = "unknown until a trial of this kind was run"
    console.print(f"time for what is new: {unknown if seconds is None else duration(seconds)}")


def run_command(file: Path, overrides: tuple[str, ...], root: Path, options: RunOptions) -> None:
    """Run what is missing; exit status 0 if every trial is finished, 130 when interrupted."""
    console = Console(highlight=False)
    sweep = load_sweep(file, overrides)
    store = Store(root)
    plan = make_plan(sweep, store)
    resources = share_out(sweep.spec.resources, sweep_size(sweep, plan))
    store.prepare()
    store.sweep(sweep.spec.name).write(_declaration(sweep, file, overrides))
    _clear_the_way(plan, store, options)
    board = Board(sweep.spec.metric, sweep_size(sweep, plan))
    board.plan(make_plan(sweep, store), lambda identity: _metric(store, sweep, identity))

    from sweeps.driver import Driver
    from sweeps.interrupt import Interrupt

    driver = Driver(sweep, store, resources, board, lambda identity: None, console.print)
    with Interrupt() as interrupt, LiveView(board, sweep.spec.name, console):
        driver.run(interrupt)


def _declaration(sweep: Sweep, file: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    return {
        "spec": sweep.spec.model_dump(mode="json"),
        "base": sweep.base_config().model_dump(mode="json"),
        "file": os.path.relpath(file),
        "overrides": list(overrides),
        "code_version": code_version(),
    }


def _metric(store: Store, sweep: Sweep, identity: str) -> float | None:
    folder = store.trial(identity)
    metrics = folder.read_metrics()
    found = {**(metrics[-1] if metrics else {}), **(folder.read_evaluation() or {})}
    return found.get(sweep.spec.metric.name)


def _clear_the_way(plan: Plan, store: Store, options: RunOptions) -> None:
    """Make failed and stale trials new again, where that was asked for."""
    for trial in plan.unique().values():
        if trial.state == "stale" and options.rerun_stale:
            store.archive(trial.trial_id)
        if trial.state == "failed" and options.retry_failed:
            folder = store.trial(trial.trial_id)
            claim = Claim.take(folder.path)
            if claim:
                with claim:
                    folder.write_status("paused", trial.epoch, trial.config.training.epochs)
