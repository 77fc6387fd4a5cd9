"""Remarks on a plan: trials with problems, and facts in which compared trials differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from analysis.labels import point_name
from care.config import TrialConfig
from care.config.cost import monitor_share
from care.config.metrics import COLLAPSE_METRIC
from care.system.files import DamagedFileError
from care.trials.hardware import Mixture, compare_machines
from care.trials.state import State
from sweeps.plan import Plan, trial_configs
from sweeps.revisions.resolve import has_changes, head, subject
from sweeps.revisions.revision import WORKING, Revision
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store

_MONITOR_SHARE = 0.02


def find_mixtures(plan: Plan) -> list[Mixture]:
    """Find the facts, e.g. the device, in which trials that the sweep compares differ."""
    trained = [trial for trial in plan.unique().values() if trial.machine is not None]
    machines = [trial.machine for trial in trained if trial.machine is not None]
    return compare_machines(
        machines, [trial.config.training.precision != "auto" for trial in trained]
    )


def plan_remarks(plan: Plan) -> list[str]:
    """Describe the problems of trials and the facts in which they differ, a line each."""
    trials = plan.unique().values()
    stale = [trial.reason for trial in trials if trial.state == State.STALE]
    reasons = [f"{count} stale: {reason}" for reason, count in Counter(stale).items()]
    problems = [
        f"{trial.state}: {trial.label} ({trial.trial_id}): {trial.reason}"
        for trial in trials
        if trial.reason and trial.state not in (State.STALE, State.STOPPED, State.HELD)
    ]
    stopped = describe_stopped_points(plan)
    held = describe_held_points(plan)
    return [
        *reasons,
        *problems,
        *stopped,
        *held,
        *map(str, find_mixtures(plan)),
        *_describe_monitor(plan),
    ]


class ShownTrial(NamedTuple):
    """The parts of a trial that remarks on its point need.

    Attributes:
        point: Label of its point.
        seed: Its seed.
        state: Its state.
        reason: Reason of the state.
    """

    point: str
    seed: int
    state: State
    reason: str


def describe_stopped_points(plan: Plan) -> list[str]:
    """Describe the points that got no further seed, as they were worse, a line each."""
    return describe_stopped(_shown(plan))


def describe_held_points(plan: Plan) -> list[str]:
    """Describe the trials that a user holds, a line for each point and wish."""
    return describe_held(_shown(plan))


def _shown(plan: Plan) -> list[ShownTrial]:
    return [
        ShownTrial(
            point_name(trial.point, trial.point.values()),
            trial.config.seed,
            trial.state,
            trial.reason,
        )
        for trial in plan.trials
    ]


def describe_stopped(trials: Iterable[ShownTrial]) -> list[str]:
    """Describe the points with stopped seeds, a line each."""
    points: dict[str, list[ShownTrial]] = {}
    for trial in trials:
        points.setdefault(trial.point, []).append(trial)
    lines = []
    for point, seeds in points.items():
        # A trial that was stopped while it trained has no reason.
        reason = next((one.reason for one in seeds if one.state == State.STOPPED), "")
        if reason:
            finished = sum(one.state == State.FINISHED for one in seeds)
            lines.append(f"{point}: {finished} of {len(seeds)} seeds: {reason}")
    return lines


def describe_held(trials: Iterable[ShownTrial]) -> list[str]:
    """Describe the held trials, a line for each point and wish."""
    held: dict[tuple[str, str], list[int]] = {}
    for trial in trials:
        if trial.state == State.HELD:
            held.setdefault((trial.point, trial.reason), []).append(trial.seed)
    return [
        f"held: {point} seed={','.join(map(str, seeds))}, {wish}".replace(":  ", ": ")
        for (point, wish), seeds in held.items()
    ]


def changed_points(sweep: Sweep, store: Store) -> list[str]:
    """Describe how a sweep's file of points has changed since the sweep's last start."""
    try:
        began = store.sweep(sweep.spec.name).read()
    except DamagedFileError:
        return []
    if began is None or sweep.spec.points is None:
        return []
    names = [
        {point_name(point, point.values()) for point in each.whole().points()}
        for each in (restore_sweep(began), sweep)
    ]
    more, fewer = len(names[1] - names[0]), len(names[0] - names[1])
    if not more and not fewer:
        return []
    file = sweep.spec.points.file
    return [f"{file} has changed since the last start: {more} points are new, {fewer} are gone"]


def code_remarks(sweep: Sweep, store: Store) -> list[str]:
    """Describe what a sweep's revisions stand for now, and what has changed since its last start.

    Revisions of one code version share their trials.
    """
    code = sweep.spec.code
    if not code:
        return []
    names: dict[str, list[str]] = {}
    for name, revision in code.items():
        names.setdefault(revision.code_version, []).append(name)
    return [
        *(_describe_revision(name, revision) for name, revision in code.items()),
        *(
            f"{', '.join(some[:-1])} and {some[-1]} share their trials: nothing between them can "
            "change a number"
            for some in names.values()
            if len(some) > 1
        ),
        *_describe_uncommitted(code),
        *_describe_moved(sweep, store),
        *_describe_unpacked(sweep),
    ]


def _describe_revision(name: str, revision: Revision) -> str:
    if not revision.commit:
        return f"code={name}: the working tree, {revision.code_version}"
    what = f"{revision.commit[:12]} ({subject(revision.commit)})"
    return f"code={name}: {what}, {revision.code_version}"


def _describe_uncommitted(code: Mapping[str, Revision]) -> list[str]:
    named = [name for name, revision in code.items() if revision.commit == head()]
    if not named or WORKING in code or not has_changes():
        return []
    return [f"uncommitted changes of care/ are not in {named[0]}; '{WORKING}' would have them"]


def _describe_moved(sweep: Sweep, store: Store) -> list[str]:
    """Describe the names that stood for other code at the sweep's last start."""
    try:
        declared = store.sweep(sweep.spec.name).read()
    except DamagedFileError:
        return []
    if declared is None:
        return []
    began = restore_sweep(declared)
    moved = [
        f"{name} was {before.commit[:12] or 'other code'}"
        for name, before in began.spec.code.items()
        if (now := sweep.spec.code.get(name)) and now.code_version != before.code_version
    ]
    if not moved:
        return []
    old, new = (set(trial_configs(each.whole(), store)) for each in (began, sweep))
    counts = f"{len(new - old)} trials are new, {len(old - new)} are gone"
    return [f"at the last start {', '.join(moved)}: {counts}"]


def _describe_unpacked(sweep: Sweep) -> list[str]:
    """Say that no trials share a process, where those of a sweep without revisions would."""
    plain = sweep.spec.model_copy(update={"code": {}})
    if plain.pack == sweep.spec.pack:
        return []
    return ["trials with 'code' have a process each, so none share batches (resources.pack is 1)"]


def _describe_monitor(plan: Plan) -> list[str]:
    """Describe a chosen ``evaluation.monitor`` that costs more than 2 %, or sees no collapse."""
    configs = [trial.config for trial in plan.missing()]
    chosen = [config for config in configs if not config.evaluation.monitor.is_default]
    return [*_describe_cost(chosen), *_describe_collapse(chosen)]


def _describe_collapse(chosen: Sequence[TrialConfig]) -> list[str]:
    """Warn if collapse cannot be seen."""
    if all(COLLAPSE_METRIC in config.evaluation.monitor.metrics for config in chosen):
        return []
    return ["evaluation.monitor lacks 'uniformity', so nearly collapsed trials are not marked"]


def _describe_cost(chosen: Sequence[TrialConfig]) -> list[str]:
    shares = [(monitor_share(config) or 0.0, config) for config in chosen]
    share, config = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    if config is None or share <= _MONITOR_SHARE:
        return []
    every = math.ceil(config.evaluation.monitor.every * share / _MONITOR_SHARE)
    less = "fewer images cost less"
    if every <= config.training.epochs:
        less = f"'every: {every}' would take 2 %"
    return [f"evaluation.monitor takes about {share:.0%} of the training's passes; {less}"]
