"""The report of a sweep in the store: its summary, and whether it needs to be written."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from analysis.pareto import Objective
from analysis.summary import ANSWER, AddedSeeds, Member, Reproduction, SweepSummary
from care.errors import ConfigError, unknown_name
from care.system.files import DamagedFileError
from care.system.libraries import library_versions
from care.trials.code_version import code_version
from care.trials.identity import canonical, flatten
from care.trials.records import ProvenanceRecord
from care.trials.staleness import Versions
from care.trials.state import State
from care.trials.trial_files import StoreFiles
from sweeps.account import describe_end, read_account
from sweeps.event_log import describe_ways_to_continue
from sweeps.plan import Plan, make_plan
from sweeps.plan_remarks import describe_held_points, describe_stopped_points, find_mixtures
from sweeps.process.imports import large_imports
from sweeps.question import OtherQuestionError
from sweeps.references import reference_encoders
from sweeps.spec.sweep import Sweep, load_sweep, restore_sweep
from sweeps.store import Store
from sweeps.sweep_command import format_command
from sweeps.warm_start import describe_warm_start

if TYPE_CHECKING:
    from analysis.importance import Axes


def find_sweep(name: str, profile: str | None, store: Store) -> Sweep:
    """Find a sweep by its YAML file, or by its name in the store.

    Raises:
        ConfigError: No started sweep has this name, or the file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        return load_sweep(Path(name), profile=profile)
    name = f"{name}-{profile}" if profile else name
    declaration = store.sweep(name).read()
    if declaration is None:
        known = [folder.name for folder in store.all_sweeps()]
        raise ConfigError(str(store.root), [unknown_name("sweep", name, known or ["a YAML file"])])
    return restore_sweep(declaration)


def write_sweep_report(
    sweep: Sweep, store: Store, *, if_current: bool = True, work: Path | None = None
) -> Path:
    """Write the report of a sweep and return its page.

    Args:
        sweep: The sweep.
        store: The store of its trials.
        if_current: Whether to write a report that is up to date, which takes seconds.
        work: Parent of the temporary folder; the report's parent when None.

    Raises:
        OtherQuestionError: The search that was run under the sweep's name asked something else.
    """
    from analysis.freshness import fingerprint, is_current

    out = store.sweep(sweep.spec.name).report
    files = StoreFiles(store.trials, kept=True)
    if if_current:
        summary = sweep_summary(sweep, Store(store.root, files))
    else:  # kept files would fill the memory for nothing where the report is up to date
        summary = sweep_summary(sweep, store)
        if is_current(out, fingerprint(StoreFiles(store.trials), summary)):
            return out / "report.html"
    with large_imports():
        from analysis.report import write_report

    evaluate = functools.partial(evaluate_importance, sweep)
    return write_report(files, summary, out, work, evaluate)


def evaluate_importance(sweep: Sweep, *arguments: Any) -> list[dict[Axes, float]]:
    """Compute the importance of a sweep's axes; see :data:`analysis.importance.Evaluate`."""
    from sweeps.tune.importance import StudyImportance  # Optuna, which few reports need

    return StudyImportance(sweep.space)(*arguments)


def _importance_version() -> tuple[str, ...]:
    """Return what the importance of axes depends on beside the package ``analysis``."""
    code = (Path(__file__).parent / "tune" / "importance.py").read_bytes()
    return hashlib.sha256(code).hexdigest(), *library_versions("optuna", "scikit-learn")


def read_answer(page: Path) -> list[str]:
    """Read the answer of a written report, line by line; empty before a trial is finished."""
    try:
        return (page.parent / ANSWER).read_text(encoding="utf-8").splitlines()
    except OSError:  # a report of an earlier version, or one that is being replaced
        return []


def sweep_summary(sweep: Sweep, store: Store) -> SweepSummary:
    """Summarize a sweep for its report, without the trials' numbers.

    Raises:
        OtherQuestionError: The search that was run under the sweep's name asked something else.
    """
    plan: Plan = make_plan(sweep, store)
    spec = sweep.spec
    command = _command(sweep, store)
    if plan.differences:
        advice = describe_ways_to_continue(sweep, command)
        raise OtherQuestionError(sweep, plan.differences, advice)
    return SweepSummary(
        name=spec.name,
        description=spec.description,
        members=[
            Member(
                trial.trial_id,
                trial.group_id,
                trial.config.seed,
                trial.point,
                trial.state,
                trial.reason,
            )
            for trial in plan.trials
        ],
        metric=spec.metric.name,
        mode=spec.metric.mode,
        spec_yaml=_yaml(spec.model_dump(mode="json")),
        experiment_yaml=_yaml(sweep.base_config().model_dump(mode="json")),
        command=command,
        code_version=code_version(),
        mixed=tuple(find_mixtures(plan)),
        reproduction=_reproduction(sweep),
        references=reference_encoders(sweep, store, _finished_records(plan, store)),
        seeds=_added_seeds(plan),
        notes=tuple(f"{line[:1].upper()}{line[1:]}." for line in _notes(plan, store)),
        objectives=tuple(Objective(one.name, one.mode) for one in spec.metrics),
        zips=spec.zip,
        searched=spec.search.suggests,
        raced=spec.scheduler.by_seed,
        computed_by=_importance_version(),
    )


def _notes(plan: Plan, store: Store) -> Iterator[str]:
    """Yield how points were chosen, why the last run stopped early, and the hours."""
    spec, account = plan.sweep.spec, read_account(store.sweep(plan.sweep.spec.name))
    yield from describe_warm_start(plan.sweep, store, Versions())
    yield from describe_held_points(plan)
    if stopped := describe_stopped_points(plan):
        yield from (f"stopped early: {line}" for line in stopped)
        yield (
            "the mean of a point that was stopped early tends to be too bad: with other first "
            "seeds it might have gone on"
        )
    yield from describe_end(account, spec, complete=plan.complete).lines()


def _added_seeds(plan: Plan) -> AddedSeeds | None:
    seeds = plan.seeds
    if seeds is None:
        return None
    rows = [(dict(seeds.points[index]), one) for index, one in seeds.choice.verdicts.items()]
    return AddedSeeds(tuple(seeds.looks), seeds.compared, seeds.describe(), tuple(rows))


def _finished_records(plan: Plan, store: Store) -> Iterator[ProvenanceRecord | None]:
    for trial in plan.trials:
        if trial.state == State.FINISHED:
            with contextlib.suppress(DamagedFileError):  # damaged since the plan
                yield store.trial(trial.trial_id).read_provenance()


def _reproduction(sweep: Sweep) -> Reproduction | None:
    reproduces = sweep.spec.reproduces
    if reproduces is None:
        return None
    values = {name: (given.value, given.spread) for name, given in reproduces.values.items()}
    return Reproduction(
        what=reproduces.what,
        figure=reproduces.figure,
        metric=reproduces.metric,
        percent=reproduces.unit == "%",
        values=values,
        differing=_differing(sweep),
        assumed=reproduces.assumed,
        missing=reproduces.missing,
    )


def _differing(sweep: Sweep) -> list[tuple[str, str, str]]:
    """List (field, the paper's value, the value here) of each field that differs."""
    paper = dict(flatten(canonical(sweep.paper_config())))
    here = dict(flatten(canonical(sweep.base_config())))
    names = sorted({*paper, *here} - {"seed"})
    return [
        (name, _format_setting(name, paper), _format_setting(name, here))
        for name in names
        if paper.get(name) != here.get(name)
    ]


def _format_setting(name: str, fields: dict[str, Any]) -> str:
    """Format a field's value; numbers of images default to all."""
    value = fields.get(name)
    if value is None:
        return "all" if name.endswith("_images") else "–"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _command(sweep: Sweep, store: Store) -> str:
    with contextlib.suppress(DamagedFileError):
        if declaration := store.sweep(sweep.spec.name).read():
            return format_command(declaration)
    return shlex.join(["care", "sweep", "run", sweep.source])


def _yaml(tree: object) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
