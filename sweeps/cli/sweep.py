"""``care sweep run``."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console

from care.config import TrialConfig
from care.errors import ConfigError, Problem
from care.system.claim import Claim
from care.system.git import git_state
from care.trials.code_version import code_version
from care.trials.folder import TrialFolder
from care.trials.pinned import PinnedTrial
from care.trials.records import SweepRecord
from care.trials.state import State
from sweeps.account import describe_stopped
from sweeps.backends.local import LocalBackend
from sweeps.cli.data import prepare_data
from sweeps.cli.measure import measure_missing
from sweeps.cli.price import check_limits
from sweeps.cli.report import print_answer
from sweeps.cli.sweep_arguments import Opening, SweepArguments, print_source
from sweeps.event_log import refuse, restart
from sweeps.live import LiveView
from sweeps.notify.target import find_target
from sweeps.plan import Plan, PlannedTrial, make_plan
from sweeps.plan_remarks import code_remarks, plan_remarks
from sweeps.process.logging import show_log
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console
from sweeps.process.wall_time import format_wall_time
from sweeps.question import is_searched
from sweeps.resources import split_this_machine
from sweeps.revisions.check import check_revisions
from sweeps.revisions.snapshot import make_snapshot
from sweeps.run import RunOptions, SweepResult, SweepRun
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.sweep_command import format_release
from sweeps.tracking.source_tags import command_line, user_name


def run_command(
    arguments: SweepArguments,
    root: Path,
    options: RunOptions,
    timings: bool,
    opening: Opening | None = None,
) -> int:
    """Run the missing trials of a sweep on this machine, track and report them.

    Args:
        arguments: The sweep.
        root: Folder of the store.
        options: Options of the run.
        timings: Whether to print the parts of the wall time.
        opening: How other machines join the run; None if they may not.

    Returns:
        0 if every trial is finished, 1 if some failed or are stale, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    show_log(console := make_console())
    sweep = arguments.load()
    print_source(arguments.file, console)
    store = Store(root)
    plan = make_plan(sweep, store)
    check_revisions_of(plan, store, console)
    check_question(plan, arguments.command("run"), options)
    find_target(sweep.spec.notify)
    check_devices([sweep.base_config(), *(trial.config for trial in plan.missing())])
    warning = check_limits(plan, store)
    resources = split_this_machine(sweep.spec.resources, plan.wanted)
    command = arguments.command("run", *(opening.typed if opening else ()))
    prepare(arguments, plan, store, options, console)
    measure_missing(sweep, store, console, stale=options.rerun_stale)
    if warning:
        console.print(warning, soft_wrap=True)
    with Interrupt() as interrupt:
        if opening:
            from sweeps.cli.open_run import open_pool, run_open

            pool = open_pool(sweep.spec.name, store, resources, options, opening, command)
            outcome = run_open(SweepRun(sweep, store, pool, options), pool, interrupt)
        else:
            backend = LocalBackend(resources)
            backend.on_full = functools.partial(interrupt.request, hurried=False)
            run = SweepRun(sweep, store, backend, options)
            outcome = run(interrupt, lambda board: LiveView(board, sweep.spec.name, console))
    if timings:
        console.print("\n".join(format_wall_time(outcome.seconds)))
    status = conclude(console, command, outcome, interrupt.status)
    if sweep.selection and not interrupt.requested:
        command = arguments.without_selection.command("run")
        console.print(f"{describe_selection(sweep)}; all of them: {command}", soft_wrap=True)
    return status


def describe_selection(sweep: Sweep) -> str:
    """Format the number of chosen trials."""
    spec = sweep.spec
    points = list(sweep.whole().points())
    chosen = sum(sweep.selection.takes(point) for point in points)
    seeds = spec.all_seeds if sweep.selection.seeds is None else sweep.selection.seeds
    total = len(points) * len(spec.all_seeds)
    if spec.adaptive:
        return f"chosen: at most {chosen * len(seeds)} of the sweep's at most {total} trials"
    return f"chosen: {chosen * len(seeds)} of the sweep's {total} trials"


def prepare(
    arguments: SweepArguments, plan: Plan, store: Store, options: RunOptions, console: Console
) -> Plan:
    """Prepare a checked sweep for its first trial: data, folder, and trials to rerun.

    Returns:
        The plan, in which the trials to rerun are new.

    Raises:
        CareError: The search cannot be restarted, because another process runs the sweep.
    """
    sweep = plan.sweep
    to_run = [*plan.missing(), *_list_to_rerun(plan, options)]
    if to_run or sweep.spec.search.suggests:
        prepare_data([sweep.base_config(), *(trial.config for trial in to_run)], console)
    store.prepare()
    folder = store.sweep(sweep.spec.name)
    if options.restart_search:
        restart(folder, sweep)
    for revision in sweep.spec.code.values():
        make_snapshot(revision, folder.path)
    folder.write(_make_declaration(sweep, arguments))
    if _reset_trials(plan, store, options) or options.restart_search:
        return make_plan(sweep, store)
    return plan


def check_revisions_of(plan: Plan, store: Store, console: Console | None = None) -> None:
    """Refuse revisions that cannot train a sweep, and print what their names stand for.

    Raises:
        ConfigError: The code of a revision refuses a configuration; names both.
    """
    sweep = plan.sweep
    if not sweep.spec.code:
        return
    groups = {trial.group_id: trial.config for trial in plan.trials}
    configs = [config for config in groups.values() if isinstance(config, PinnedTrial)]
    folder = store.sweep(sweep.spec.name).path
    check_revisions(sweep.spec.code, configs, folder, sweep.source)
    if console:
        for line in code_remarks(sweep, store):
            console.print(line, soft_wrap=True)


def check_question(plan: Plan, command: str, options: RunOptions) -> None:
    """Refuse a sweep whose question differs from that of the search under its name.

    Args:
        plan: The sweep.
        command: The command that starts it.
        options: Options of the run.

    Raises:
        OtherQuestionError: The questions differ, and the search is not to be restarted.
        ConfigError: There is no search to restart.
    """
    if not options.restart_search:
        refuse(plan.sweep, list(plan.differences), command)
    elif not is_searched(plan.sweep):
        allowed = "allowed for a sweep with 'search: {name: optuna}' or 'scheduler: {name: asha}'"
        raise ConfigError(plan.sweep.source, [Problem("--restart-search", True, allowed)])


def check_devices(configs: Iterable[TrialConfig]) -> None:
    """Refuse a device or precision that this machine lacks."""
    kinds = {
        (config.runtime.device, config.training.precision, config.evaluation.precision): config
        for config in configs
    }
    for (device, *precisions), config in kinds.items():
        # The defaults work everywhere, without the seconds that importing torch takes.
        if device not in ("auto", "cpu") or "bf16" in precisions:
            from care.system.device import check_machine

            check_machine(config)


def conclude(console: Console, command: str, outcome: SweepResult, signalled: int | None) -> int:
    """Print the outcome of a run and the next command.

    Args:
        console: The terminal.
        command: The command that resumes the sweep.
        outcome: The outcome.
        signalled: Exit status after a signal; None without a signal.

    Returns:
        The exit status: 0 if every trial is finished and a search had values to compare.
    """
    plan = outcome.plan
    if outcome.page:
        print_answer(console, outcome.page)
    counts = plan.counts()
    for line in plan_remarks(plan):
        console.print(line, soft_wrap=True)
    account = outcome.account
    if hours := account.describe(plan.sweep.spec):
        console.print(hours, soft_wrap=True)
    if account.stopped and not outcome.complete:
        stopped = describe_stopped(account, plan.sweep.spec, command)
        console.print(stopped, soft_wrap=True, highlight=False)
    if signalled is not None:
        console.print(f"Stopped; nothing is lost. To resume: {command}", soft_wrap=True)
        return signalled
    if counts[State.PAUSED] and account.stopped != "budget":
        console.print(
            f"{counts[State.PAUSED]} paused. To resume: {command}",
            soft_wrap=True,
        )
    if held := counts[State.HELD]:
        release = format_release(plan.sweep.spec.name, command=command)
        rest = "Finished but for " if held == plan.wanted - plan.done else ""
        trials = f"{held} held trial{'' if held == 1 else 's'}"
        console.print(f"{rest}{trials}. To release: {release}", soft_wrap=True)
    print_untrained(counts, command, console)
    _print_incomparable(outcome, console)
    return 0 if outcome.complete and (outcome.compared or not is_searched(plan.sweep)) else 1


def print_untrained(counts: Mapping[State, int], command: str, console: Console) -> None:
    """Print the commands that train the failed, stale and damaged trials, which no run does."""
    if counts[State.FAILED]:
        console.print(
            f"{counts[State.FAILED]} failed; to try again: {command} --retry-failed",
            soft_wrap=True,
        )
    if counts[State.STALE]:
        console.print(
            f"{counts[State.STALE]} stale are left out of the report's means. "
            f"To rerun them: {command} --rerun-stale",
            soft_wrap=True,
        )
    print_damaged(counts[State.DAMAGED], command, console)


def _print_incomparable(outcome: SweepResult, console: Console) -> None:
    if outcome.without_value:
        plan = outcome.plan
        finished = plan.counts()[State.FINISHED]
        console.print(
            f"{outcome.without_value} of {finished} finished trials have no finite "
            f"{plan.sweep.spec.metric.name}, by which this sweep compares them.",
            soft_wrap=True,
        )


def print_damaged(count: int, command: str, console: Console) -> None:
    """Print the command that trains damaged trials again, if there are any."""
    if count:
        console.print(
            f"{count} damaged and left out. To archive and rerun them: {command} --rerun-damaged",
            soft_wrap=True,
        )


def _make_declaration(sweep: Sweep, arguments: SweepArguments) -> SweepRecord:
    return SweepRecord(
        spec=sweep.spec.model_dump(mode="json"),
        base=sweep.stored_base(),
        paper=sweep.paper_config().model_dump(mode="json"),
        file=os.path.relpath(arguments.file),
        overrides=list(arguments.fields),
        profile=arguments.profile,
        code_version=code_version(),
        user=user_name(),
        command=command_line(),
        git_commit=git_state()["git_commit"],
    )


def _reset_trials(plan: Plan, store: Store, options: RunOptions) -> bool:
    """Archive stale and damaged trials to rerun, mark failed ones as paused.

    Returns:
        Whether any trial changed.
    """
    changed = False
    for trial in _list_to_rerun(plan, options):
        if trial.state in (State.STALE, State.DAMAGED):
            changed |= store.archive(trial.trial_id) is not None
        else:
            changed |= _mark_paused(trial, store.trial(trial.trial_id))
    return changed


def _list_to_rerun(plan: Plan, options: RunOptions) -> list[PlannedTrial]:
    """List the failed, stale and damaged trials that the options include."""
    states = {
        State.STALE: options.rerun_stale,
        State.DAMAGED: options.rerun_damaged,
        State.FAILED: options.retry_failed,
    }
    return [trial for trial in plan.unique().values() if states.get(trial.state)]


def _mark_paused(trial: PlannedTrial, folder: TrialFolder) -> bool:
    claim = Claim.take(folder.path)
    if claim is None:
        return False
    with claim:
        folder = TrialFolder(folder.path, claim)
        folder.write_status(State.PAUSED, trial.epoch, trial.config.training.epochs)
    return True
