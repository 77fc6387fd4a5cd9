"""``care sweep plan`` and ``care sweep run``."""

from __future__ import annotations

import functools
import json
import os
import shlex
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from care.errors import ConfigError, Problem
from care.system.claim import Claim
from care.trials.code_version import code_version
from care.trials.folder import TrialFolder
from care.trials.staleness import Versions
from sweeps.backends.local import LocalPool
from sweeps.cli.data import prepare_data
from sweeps.event_log import refuse, restart, ways_on
from sweeps.live import LiveView, duration
from sweeps.plan import Plan, PlannedTrial, estimate_seconds, make_plan
from sweeps.plan_remarks import plan_remarks
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console, shorten
from sweeps.process.wall_time import where_it_went
from sweeps.question import is_searched
from sweeps.resources import share_out
from sweeps.run import Outcome, RunOptions, SweepRun
from sweeps.spec.spec import Sweep, load_sweep
from sweeps.store import Store
from sweeps.tracking.origin import describe_start

_NARROWEST = 16
_BESIDE_THE_LABEL = 46  # state, identity and epochs


@dataclass(frozen=True)
class Declared:
    """A sweep as it is named on the command line.

    Attributes:
        file: Its YAML file.
        overrides: ``field=value`` to set in its base configuration; ``seeds=`` is ``--seeds``.
        profile: One of its profiles.
        only: ``AXIS=VALUE[,VALUE]``: of these points alone.
        seeds: A number of seeds, or seeds with commas between, instead of all.
        store: Folder of the store, where it is not the default.
    """

    file: Path
    overrides: tuple[str, ...] = ()
    profile: str | None = None
    only: tuple[str, ...] = ()
    seeds: str | None = None
    store: Path | None = None

    def load(self) -> Sweep:
        """Return the sweep with the chosen part of its trials.

        Raises:
            ConfigError: A file, field or choice is wrong.
        """
        return load_sweep(self.file, self.fields, self.profile).select(self.only, self.chosen_seeds)

    @property
    def chosen_seeds(self) -> str | None:
        """What ``--seeds`` or ``seeds=`` chooses; None for all seeds.

        Raises:
            ConfigError: They are given more than once.
        """
        given = [text.partition("=")[2] for text in self.overrides if _is_seeds(text)]
        given += [] if self.seeds is None else [self.seeds]
        if len(given) > 1:
            raise ConfigError("command line", [Problem("seeds", given[0], "allowed: once")])
        return given[0] if given else None

    @property
    def fields(self) -> tuple[str, ...]:
        """The overrides of the base configuration."""
        return tuple(text for text in self.overrides if not _is_seeds(text))

    @property
    def whole(self) -> Declared:
        """The sweep with all of its trials."""
        return replace(self, overrides=self.fields, only=(), seeds=None)

    def command(self, verb: str, *options: str) -> str:
        """Return what to type to ``run`` or ``submit`` it, quoted for a shell."""
        words = ["care", "sweep", verb, str(self.file), *self.overrides]
        words += ["--profile", self.profile] if self.profile else []
        words += [word for text in self.only for word in ("--only", text)]
        words += ["--seeds", self.seeds] if self.seeds is not None else []
        words += ["--store", str(self.store)] if self.store is not None else []
        return shlex.join([*words, *options])


def _is_seeds(override: str) -> bool:
    return override.partition("=")[0].strip() == "seeds"


def plan_command(declared: Declared, root: Path, as_json: bool) -> None:
    """Print the plan."""
    sweep = declared.load()
    store = Store(root)
    versions = Versions(log=make_console(stderr=True).print)
    plan = make_plan(sweep, store, versions)
    resources = share_out(sweep.spec.resources, plan.wanted)
    counts = plan.counts()
    counts["new"] += plan.unsuggested
    seconds = estimate_seconds(plan, store, resources.concurrency)
    if as_json:
        found = {
            "total": plan.wanted,
            "estimated_seconds": seconds,
            "remarks": plan_remarks(plan),
            "other_question": {
                differing.field: [differing.began, differing.now] for differing in plan.differences
            },
        }
        print(json.dumps({**counts, **found}))
        return
    console = make_console()
    _print_trials(plan, console)
    console.print(", ".join(f"{number} {state}" for state, number in counts.items()))
    if sweep.selection:
        console.print(_part(sweep))
    for line in plan_remarks(plan):
        console.print(line, soft_wrap=True)
    for data in sorted(versions.absent):
        console.print(f"not compared with their data, which are not here: {data}", soft_wrap=True)
    _print_damaged(counts["damaged"], declared.command("run"), console)
    unknown = "unknown until a trial of this kind was run"
    console.print(f"time for what is new: {unknown if seconds is None else duration(seconds)}")
    if plan.differences:
        _print_question(plan, declared.command("run"), console)


def _print_question(plan: Plan, command: str, console: Console) -> None:
    """Print how the sweep differs from the one that its search and scheduler decided on."""
    name = plan.sweep.spec.name
    lines = [f"{name} will not run: it asks something else than its search began with:"]
    lines += [f"  {found}" for found in plan.differences]
    lines.append(ways_on(plan.sweep, command))
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _print_trials(plan: Plan, console: Console) -> None:
    """Print a line a trial; on a terminal the label is shortened to fit."""
    widest = max((len(trial.label) for trial in plan.trials), default=0)
    if console.is_terminal:
        widest = min(widest, max(_NARROWEST, console.width - _BESIDE_THE_LABEL))
    for trial in plan.trials:
        begun = trial.epoch or trial.state == "paused"
        progress = f"{trial.epoch}/{trial.config.training.epochs} epochs" if begun else ""
        label = shorten(trial.label, widest)
        line = f"  {trial.state:8s} {trial.trial_id}  {label:{widest}s}  {progress}"
        console.print(line.rstrip(), soft_wrap=True)


def _part(sweep: Sweep) -> str:
    """Return how many trials of the sweep were chosen, for people."""
    spec = sweep.spec
    points = [dict(zip(spec.axes, values, strict=True)) for values in product(*spec.axes.values())]
    chosen = sum(sweep.selection.takes(point) for point in points)
    seeds = spec.seeds if sweep.selection.seeds is None else sweep.selection.seeds
    every = len(points) * len(spec.seeds)
    return f"chosen: {chosen * len(seeds)} of the sweep's {every} trials"


def run_command(declared: Declared, root: Path, options: RunOptions, timings: bool) -> int:
    """Run what is missing on this machine, track it, report it.

    Args:
        declared: The sweep.
        root: Folder of the store.
        options: How it is run.
        timings: Whether to say where the wall time went.

    Returns:
        0 when every trial is finished, 1 when some failed or are stale, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    console = make_console()
    sweep = declared.load()
    store = Store(root)
    plan = make_plan(sweep, store)
    check_question(plan, declared.command("run"), options)
    _check_machine(plan)
    pool = LocalPool(share_out(sweep.spec.resources, plan.wanted))
    prepare(declared, plan, store, options, console)
    run = SweepRun(sweep, store, pool, options, console.print)
    with Interrupt() as interrupt:
        pool.on_full = functools.partial(_pause, interrupt, console)
        outcome = run(interrupt, lambda board: LiveView(board, sweep.spec.name, console))
    if timings:
        console.print("\n".join(where_it_went(outcome.seconds)))
    status = conclude(console, declared.command("run"), outcome, interrupt.status)
    if sweep.selection and not interrupt.requested:
        every = declared.whole.command("run")
        console.print(f"{_part(sweep)}; all of them: {every}", soft_wrap=True)
    return status


def prepare(
    declared: Declared, plan: Plan, store: Store, options: RunOptions, console: Console
) -> Plan:
    """What a sweep needs before its first trial, once nothing of it can be refused any more.

    Its data, its folder, and room for trials that are to be run again.

    Returns:
        The plan, in which those trials are new.

    Raises:
        CareError: The search cannot be restarted, because another process runs the sweep.
    """
    sweep = plan.sweep
    wanted = [*plan.missing(), *_to_run_again(plan, options)]
    if wanted or sweep.spec.search.name != "grid":
        prepare_data([sweep.base_config(), *(trial.config for trial in wanted)], console)
    store.prepare(console.print)
    folder = store.sweep(sweep.spec.name)
    if options.restart_search:
        restart(folder, sweep)
    folder.write(_declaration(sweep, declared), console.print)
    if _clear_the_way(plan, store, options) or options.restart_search:
        return make_plan(sweep, store)
    return plan


def check_question(plan: Plan, command: str, options: RunOptions) -> None:
    """Refuse a sweep that asks something else than the search under its name began with.

    Args:
        plan: The sweep.
        command: The command that starts it.
        options: How it is to be run.

    Raises:
        OtherQuestionError: It does, and the search is not to be restarted.
        ConfigError: There is no search to restart.
    """
    if not options.restart_search:
        refuse(plan.sweep, list(plan.differences), command)
    elif not is_searched(plan.sweep):
        allowed = "allowed for a sweep with 'search: {name: optuna}' or 'scheduler: {name: asha}'"
        raise ConfigError(plan.sweep.source, [Problem("--restart-search", True, allowed)])


def _check_machine(plan: Plan) -> None:
    """Refuse what is not here; torch is imported only where a trial asks for something special."""
    configs = [plan.sweep.base_config(), *(trial.config for trial in plan.missing())]
    special = {
        (config.runtime.device, config.training.precision, config.evaluation.precision): config
        for config in configs
    }
    for (device, *precisions), config in special.items():
        if device not in ("auto", "cpu") or "bf16" in precisions:
            from care.system.device import check_machine

            check_machine(config)


def _pause(interrupt: Interrupt, console: Console, line: str) -> None:
    console.print(line)
    interrupt.request(hurried=False)


def conclude(console: Console, command: str, outcome: Outcome, signalled: int | None) -> int:
    """Print how the run ended and what to type next.

    Args:
        console: Where to.
        command: What resumes the sweep.
        outcome: How the run ended.
        signalled: The exit status that a signal asked for; None where none came.

    Returns:
        The exit status: 0 when every trial is finished and a search had values to compare.
    """
    plan = outcome.plan
    if outcome.page:
        console.print(f"report: {outcome.page}")
    counts = plan.counts()
    for line in plan_remarks(plan):
        console.print(line, soft_wrap=True)
    if signalled is not None:
        console.print(
            f"Stopped; nothing is lost. Run the same command to resume: {command}", soft_wrap=True
        )
        return signalled
    if counts["paused"]:
        console.print(
            f"{counts['paused']} paused. Run the same command to resume: {command}", soft_wrap=True
        )
    if counts["failed"]:
        again = f"{command} --retry-failed"
        console.print(f"{counts['failed']} failed; to try again: {again}", soft_wrap=True)
    if counts["stale"]:
        console.print(
            f"{counts['stale']} stale are left out of the report's means. "
            f"To run them anew: {command} --rerun-stale",
            soft_wrap=True,
        )
    _print_damaged(counts["damaged"], command, console)
    _print_incomparable(outcome, console)
    return 0 if outcome.complete and (outcome.compared or not is_searched(plan.sweep)) else 1


def _print_incomparable(outcome: Outcome, console: Console) -> None:
    if outcome.without_value:
        plan = outcome.plan
        console.print(
            f"{outcome.without_value} of {plan.counts()['cached']} finished trials have no finite "
            f"{plan.sweep.spec.metric.name}, by which this sweep compares them.",
            soft_wrap=True,
        )


def _print_damaged(count: int, command: str, console: Console) -> None:
    if count:
        console.print(
            f"{count} damaged and left out. To archive and run anew: {command} --rerun-damaged",
            soft_wrap=True,
        )


def _declaration(sweep: Sweep, declared: Declared) -> dict[str, Any]:
    return {
        "spec": sweep.spec.model_dump(mode="json"),
        "base": sweep.base_config().model_dump(mode="json"),
        "paper": sweep.paper_config().model_dump(mode="json"),
        "file": os.path.relpath(declared.file),
        "overrides": list(declared.fields),
        "profile": declared.profile,
        "code_version": code_version(),
        **describe_start(),
    }


def _clear_the_way(plan: Plan, store: Store, options: RunOptions) -> bool:
    """Make failed, stale and damaged trials new again, where asked for; whether there were any."""
    cleared = False
    for trial in _to_run_again(plan, options):
        if trial.state in ("stale", "damaged"):
            cleared |= store.archive(trial.trial_id) is not None
        else:
            cleared |= _try_again(trial, store.trial(trial.trial_id))
    return cleared


def _to_run_again(plan: Plan, options: RunOptions) -> list[PlannedTrial]:
    """List the failed, stale and damaged trials that are asked for."""
    states = {
        "stale": options.rerun_stale,
        "damaged": options.rerun_damaged,
        "failed": options.retry_failed,
    }
    return [trial for trial in plan.unique().values() if states.get(trial.state)]


def _try_again(trial: PlannedTrial, folder: TrialFolder) -> bool:
    claim = Claim.take(folder.path)
    if claim is None:
        return False
    with claim:
        folder = TrialFolder(folder.path, claim)
        folder.write_status("paused", trial.epoch, trial.config.training.epochs)
    return True
