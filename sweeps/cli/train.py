"""``care train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from care.config import TrialConfig
from care.config.loading import load_trial
from care.errors import CareError
from care.system.claim import Claim, holder
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.process_log import logging_to
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.cli.data import prepare_data
from sweeps.cli.sweep_arguments import print_source
from sweeps.live import duration
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console
from sweeps.store import Store, trial_status


def train_command(experiment: Path, overrides: list[str], root: Path) -> None:
    """Train one trial and print its measures."""
    console = make_console()
    config = load_trial(experiment, overrides)
    print_source(experiment, console)
    folder = train_trial(config, Store(root), console)
    for name, value in sorted((folder.read_evaluation() or {}).items()):
        console.print(f"{name:32s} {value:.4f}")
    seconds = sum(timing.seconds for timing in folder.read_timings())
    console.print(f"{duration(seconds)} of training; files in {folder.path}")


def train_trial(config: TrialConfig, store: Store, console: Console) -> TrialFolder:
    """Run one trial in this process, without Ray, unless it is finished.

    Raises:
        CareError: The trial is stale, or another process runs it.
        SystemExit: A signal paused it.
    """
    folder = store.trial(trial_id(config))
    status = trial_status(folder, Versions(), config)
    if status.state == State.STALE:
        raise CareError(
            f"{folder.path}: stale, {status.reason}. Choose another --store, "
            "or let 'care sweep run --rerun-stale' replace it."
        )
    from care.system.device import check_machine

    check_machine(config)  # before anything is written
    if status.state != State.FINISHED:
        prepare_data([config], console)
    store.prepare()
    claim = Claim.take(folder.path)
    if claim is None:
        raise CareError(f"{folder.path}: is being run by {holder(folder.path)}")
    from care.training.trial_run import TrialRun

    written = TrialFolder(folder.path, claim)
    with claim, logging_to(written), Interrupt() as interrupt:
        run = TrialRun(config, written)
        console.print(f"trial {folder.trial_id}, epoch {run.epoch}/{config.training.epochs}")
        while not run.finished:
            metrics = run.advance(lambda: interrupt.requested)
            if metrics is None:
                console.print("Paused. Repeat the command to resume.")
                raise SystemExit(interrupt.status)
            console.print(
                f"epoch {metrics['epoch']}/{config.training.epochs}  "
                f"loss {metrics['train/loss']:.4f}  "
                f"γ_f {_format(metrics.get('heldout/gamma'))}"
                f"{_format_accuracies(metrics)}{_format_speed(metrics)}"
            )
    return folder


def _format_accuracies(metrics: dict[str, Any]) -> str:
    """Format the accuracies of ``evaluation.monitor``; empty in an epoch without them."""
    known = {"kNN": "heldout/knn_accuracy", "probe": "heldout/probe_accuracy"}
    return "".join(
        f"  {word} {metrics[name]:.3f}" for word, name in known.items() if name in metrics
    )


def _format_speed(metrics: dict[str, Any]) -> str:
    """Format the throughput; empty if only the evaluation was left to do."""
    speed = metrics.get("images_per_second")
    return "" if speed is None else f"  {speed:.0f} images/s"


def _format(value: float | None) -> str:
    """Format four decimals, or a dash for a measure that is not defined."""
    return "–" if value is None else f"{value:.4f}"
