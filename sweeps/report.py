"""``care report``."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

import yaml

from analysis.summary import Member, Reproduction, SweepSummary
from care.errors import ConfigError, unknown_name
from care.system.files import DamagedFileError
from care.trials.code_version import code_version
from care.trials.identity import canonical, flatten
from sweeps.event_log import ways_on
from sweeps.plan import Plan, make_plan
from sweeps.plan_remarks import mixed
from sweeps.process.imports import large_imports
from sweeps.question import OtherQuestionError
from sweeps.spec.sweep import Sweep, load_sweep, restore_sweep
from sweeps.store import Store


def find_sweep(name: str, profile: str | None, store: Store) -> Sweep:
    """A sweep by its file, or by the name under which it was started.

    Raises:
        ConfigError: Neither a file nor a started sweep.
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
    sweep: Sweep, store: Store, *, again: bool = True, work: Path | None = None
) -> Path:
    """The report's page, from what the store holds now.

    Args:
        sweep: The sweep.
        store: Where its trials are.
        again: Write it also when it is up to date, which takes seconds for the plots.
        work: Folder in which it is made; beside the report when None.

    Raises:
        OtherQuestionError: The search that was run under the sweep's name asked something else.
    """
    from analysis.freshness import fingerprint, is_current

    summary = sweep_summary(sweep, store)
    out = store.sweep(sweep.spec.name).report
    if not again and is_current(out, fingerprint(store.trials, summary)):
        return out / "report.html"
    with large_imports():
        from analysis.report import write_report

    return write_report(store.trials, summary, out, work)


def sweep_summary(sweep: Sweep, store: Store) -> SweepSummary:
    """Return what a report needs to know of a sweep besides its trials' numbers."""
    plan: Plan = make_plan(sweep, store)
    if plan.differences:
        ways = ways_on(sweep, f"care sweep run {sweep.source}")
        raise OtherQuestionError(sweep, plan.differences, ways)
    spec = sweep.spec
    declared: dict[str, Any] = {}
    with contextlib.suppress(DamagedFileError):  # it only says how the sweep was called
        declared = store.sweep(spec.name).read() or {}
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
        command=shlex.join(["care", "sweep", "run", *_arguments(sweep, declared)]),
        code_version=code_version(),
        mixed=tuple(mixed(plan)),
        reproduction=_reproduction(sweep),
    )


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
    """(field, the paper's value, the value here) of each field of the base that differs."""
    paper = dict(flatten(canonical(sweep.paper_config())))
    here = dict(flatten(canonical(sweep.base_config())))
    names = sorted({*paper, *here} - {"seed"})
    return [
        (name, _setting(name, paper), _setting(name, here))
        for name in names
        if paper.get(name) != here.get(name)
    ]


def _setting(name: str, fields: dict[str, Any]) -> str:
    """A field's value for people; a part of the data that is not given is the whole."""
    value = fields.get(name)
    if value is None:
        return "all" if name.endswith("_images") else "–"
    return str(value)


def _arguments(sweep: Sweep, declared: dict[str, Any]) -> list[str]:
    profile = declared.get("profile")
    chosen = ["--profile", profile] if profile else []
    return [declared.get("file", sweep.source), *declared.get("overrides", []), *chosen]


def _yaml(tree: object) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
