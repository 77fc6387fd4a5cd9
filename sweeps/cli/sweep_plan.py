"""``care sweep plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.cli.price import PriceOptions, PriceView
from sweeps.cli.sweep import check_revisions_of, describe_selection, print_damaged
from sweeps.cli.sweep_arguments import SweepArguments, print_source
from sweeps.event_log import describe_ways_to_continue
from sweeps.plan import Plan, make_plan
from sweeps.plan_remarks import changed_points, code_remarks, plan_remarks
from sweeps.point_seeds import PointSeeds
from sweeps.process.logging import show_log
from sweeps.process.terminal import make_console, shorten
from sweeps.references import unmeasured
from sweeps.states import in_words
from sweeps.store import Store
from sweeps.warm_start import describe_warm_start

_PLANNED = [state for state in State if state != State.ELSEWHERE]  # a plan has no driver
_FIRST_SHOWN = 4
_NARROWEST_LABEL = 16  # characters
_OTHER_COLUMNS = 46  # characters of state, identity and epochs


def plan_command(
    arguments: SweepArguments, root: Path, as_json: bool, options: PriceOptions | None = None
) -> None:
    """Print each trial of a sweep and its state, and the price of those that are left."""
    sweep = arguments.load()
    store = Store(root)
    show_log(make_console(stderr=True))  # only the plan goes to standard output
    print_source(arguments.file, make_console(stderr=as_json))
    plan = make_plan(sweep, store, versions := Versions())
    counts = plan.counts()
    counts[State.NEW] += plan.unsuggested
    check_revisions_of(plan, store)
    remarks = [*plan_remarks(plan), *changed_points(sweep, store), *code_remarks(sweep, store)]
    if not plan.differences:
        remarks += describe_warm_start(sweep, store, versions)
    view = PriceView(plan, store, options or PriceOptions(), make_console(stderr=True))
    remarks += view.remarks
    if as_json:
        summary = {
            "total": plan.wanted,
            "estimated_seconds": view.price.wall_seconds,
            "price": view.as_json(),
            "remarks": remarks,
            "seeds": plan.seeds and _seeds_as_json(plan.seeds),
            "other_question": {
                differing.field: [differing.began, differing.now] for differing in plan.differences
            },
        }
        print(json.dumps({**{state: counts[state] for state in _PLANNED}, **summary}))
        return
    console = make_console()
    _print_trials(plan, console)
    console.print(in_words(counts))
    if plan.seeds:
        console.print(plan.seeds.describe(), soft_wrap=True)
    if sweep.selection:
        console.print(describe_selection(sweep))
    if order := _describe_order(plan):
        console.print(order, soft_wrap=True)
    for line in remarks:
        console.print(line, soft_wrap=True)
    for data in sorted(versions.absent):
        console.print(f"not compared with their data, which are not here: {data}", soft_wrap=True)
    for name in unmeasured(sweep, store):
        console.print(f"reference to measure: {name}", soft_wrap=True)
    print_damaged(counts[State.DAMAGED], arguments.command("run"), console)
    for line in view.lines():
        console.print(line, soft_wrap=True)
    if plan.differences:
        _print_question(plan, arguments.command("run"), console)


def _seeds_as_json(seeds: PointSeeds) -> dict[str, Any]:
    return {**seeds.limits.model_dump(), "may_grow": seeds.may_grow, "looks": seeds.records()}


def _print_question(plan: Plan, command: str, console: Console) -> None:
    """Print how the sweep differs from the question that its search started with."""
    name = plan.sweep.spec.name
    lines = [f"{name} will not run: it asks something else than its search began with:"]
    lines += [f"  {difference}" for difference in plan.differences]
    lines.append(describe_ways_to_continue(plan.sweep, command))
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _print_trials(plan: Plan, console: Console) -> None:
    """Print a line for each trial; on a terminal the label is shortened to fit."""
    labels = [trial.label for trial in plan.trials]
    widest = max(map(len, labels), default=0)
    if console.is_terminal:
        widest = min(widest, max(_NARROWEST_LABEL, console.width - _OTHER_COLUMNS))
    lines = []
    for trial, whole in zip(plan.trials, labels, strict=True):
        started = trial.epoch or trial.state == State.PAUSED
        progress = f"{trial.epoch}/{trial.config.training.epochs} epochs" if started else ""
        label = shorten(whole, widest)
        line = f"  {trial.state:8s} {trial.trial_id}  {label:{widest}s}  {progress}"
        lines.append(line.rstrip())
    if lines:
        print("\n".join(lines), file=console.file)  # rich would take as long as the plan


def _describe_order(plan: Plan) -> str:
    """Name the trials that start first, if the sweep declares an order; empty otherwise."""
    spec, missing = plan.sweep.spec, plan.missing()
    if not missing or (not spec.first and spec.order == "points"):
        return ""
    more = ", …" if len(missing) > _FIRST_SHOWN else ""
    return f"starts with: {', '.join(trial.label for trial in missing[:_FIRST_SHOWN])}{more}"
