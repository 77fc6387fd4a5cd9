"""``care sweep hold`` and ``care sweep release``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.labels import point_name
from care.errors import ConfigError, Problem
from care.trials.state import State
from sweeps.holds import Wish, hold, read_holds, release, release_all
from sweeps.inventory import find_sweep_folder
from sweeps.plan import Plan, PlannedTrial, make_plan
from sweeps.process.terminal import make_console
from sweeps.spec.selection import Selection, select
from sweeps.spec.space import comparable
from sweeps.spec.sweep import restore_sweep
from sweeps.states import MEANING, in_words
from sweeps.store import Store, SweepFolder
from sweeps.sweep_command import format_release
from sweeps.tracking.source_tags import user_name

_SOURCE = "command line"
_OPTION = "trials"


def hold_command(name: str, chosen: Sequence[str], root: Path) -> None:
    """Hold points of a sweep: their trials pause, and none is started until they are released.

    Args:
        name: The sweep's name or YAML file.
        chosen: ``AXIS=VALUE[,VALUE]`` or ``seed=VALUE`` each.
        root: The store.

    Raises:
        ConfigError: The sweep, an axis, a value or a seed is unknown, or nothing is left to hold.
    """
    store, console = Store(root), make_console()
    folder = find_sweep_folder(name, store)
    plan = _plan(folder, store)
    selection, trials = _choose(plan, chosen)
    done = [trial for trial in trials if MEANING[trial.state].complete]
    if len(done) == len(trials):
        allowed = f"allowed: trials that are not over; these are {in_words(_count(done))}"
        raise ConfigError(_SOURCE, [Problem(_OPTION, " ".join(chosen), allowed)])
    hold(folder.path, _wishes(trials, selection), user_name())
    left = [trial for trial in trials if trial not in done]
    again = format_release(folder.name, chosen)
    console.print(f"held: {_name(left)} ({in_words(_count(left))})", soft_wrap=True)
    if done:
        console.print(f"not held, as it is over: {_name(done)}", soft_wrap=True)
    if running := _count(left)[State.RUNNING]:
        console.print(f"{running} of them checkpoint and pause within seconds")
    console.print(f"to release: {again}", soft_wrap=True)


def release_command(name: str, chosen: Sequence[str], root: Path) -> None:
    """Release held points of a sweep, all of them by default.

    Args:
        name: The sweep's name or YAML file.
        chosen: ``AXIS=VALUE[,VALUE]`` or ``seed=VALUE`` each.
        root: The store.

    Raises:
        ConfigError: The sweep, an axis, a value or a seed is unknown, or none of them is held.
    """
    store, console = Store(root), make_console()
    folder = find_sweep_folder(name, store)
    before = read_holds(folder.path)
    if not before.by_group:
        console.print(f"{folder.name}: nothing is held")
        return
    if not chosen:
        release_all(folder.path)
        _print_released([one.point for one in before.by_group.values()], console)
        return
    plan = _plan(folder, store)
    selection, trials = _choose(plan, chosen)
    held = [trial for trial in trials if before.of(trial.group_id, trial.config.seed)]
    if not held:
        points = ", ".join(one.point for one in before.by_group.values())
        problem = Problem(
            _OPTION, " ".join(chosen), f"allowed: held trials, which are of: {points}"
        )
        raise ConfigError(_SOURCE, [problem])
    release(folder.path, _wishes(held, selection), plan.sweep.spec.all_seeds)
    _print_released([_name(held)], console)


def _print_released(names: Sequence[str], console: Console) -> None:
    console.print(f"released: {'; '.join(names)}", soft_wrap=True)
    console.print("a driver that runs starts them within seconds; otherwise, run the sweep")


def _plan(folder: SweepFolder, store: Store) -> Plan:
    return make_plan(restore_sweep(folder.declaration()).whole(), store)


def _choose(plan: Plan, chosen: Sequence[str]) -> tuple[Selection, list[PlannedTrial]]:
    """Find the trials that are named.

    Raises:
        ConfigError: None is named, or an axis, a value or a seed is not in the sweep.
    """
    trials = list(plan.unique().values())
    levels: dict[str, dict[Any, Any]] = {axis: {} for axis in plan.sweep.spec.axes}
    for trial in trials:
        for axis, value in trial.point.items():
            levels.setdefault(axis, {}).setdefault(comparable(value), value)
    known = {axis: list(values.values()) for axis, values in levels.items()}
    selection = select(known, plan.sweep.spec.all_seeds, chosen, None, _OPTION)
    seeds = selection.seeds
    named = [
        trial
        for trial in trials
        if selection.takes(trial.point) and (seeds is None or trial.config.seed in seeds)
    ]
    if not chosen or not named:
        allowed = "allowed: AXIS=VALUE or seed=VALUE that a trial of the sweep has together"
        raise ConfigError(_SOURCE, [Problem(_OPTION, " ".join(chosen), allowed)])
    return selection, named


def _wishes(trials: Sequence[PlannedTrial], selection: Selection) -> list[Wish]:
    seeds = None if selection.seeds is None else frozenset(selection.seeds)
    points = {trial.group_id: trial.point for trial in trials}
    return [
        Wish(group, point_name(point, point.values()) or "every trial", seeds)
        for group, point in points.items()
    ]


def _count(trials: Sequence[PlannedTrial]) -> Counter[State]:
    return Counter(trial.state for trial in trials)


def _name(trials: Sequence[PlannedTrial]) -> str:
    """Name the points of trials, with the seeds of each."""
    points: dict[str, list[int]] = {}
    for trial in trials:
        name = point_name(trial.point, trial.point.values()) or "every point"
        points.setdefault(name, []).append(trial.config.seed)
    return "; ".join(f"{name} seed={','.join(map(str, seeds))}" for name, seeds in points.items())
