"""The saved views: one of a sweep by its axis, one of its trials, one of all sweeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.labels import VARIANT, axis_label, axis_name
from sweeps.tracking.run_record import SYSTEM_METRICS
from sweeps.tracking.views import Section, View

_CURVES = ("train/infonce", "train/loss", "train/equivariance")
_MONITORED = (
    "heldout/gamma",
    "heldout/uniformity",
    "heldout/positive_cosine",
    "heldout/knn_accuracy",
    "heldout/probe_accuracy",
    "heldout/encoder_rank",
)
_TRIAL, _SWEEP = "tags.`care.kind` = 'trial'", "tags.`care.kind` = 'sweep'"
_MEAN = re.compile(r"(?P<measure>.+) mean$")
_MOST_CHARTS = 8  # of each section
_WITHOUT_NUMBERS = ("head/gamma", "head/hue_r2", "encoder/probe_accuracy")


@dataclass(frozen=True)
class ViewNames:
    """The identities of a store's views.

    Attributes:
        store: Start of the store's identity where stores share an experiment; empty otherwise.
    """

    store: str = ""

    @property
    def sweeps(self) -> str:
        """The view of all sweeps."""
        return self._name("sweeps")

    def by_axis(self, sweep: str) -> str:
        """Return the view of a sweep by its axis."""
        return self._name("by-axis", sweep)

    def trials(self, sweep: str) -> str:
        """Return the view of a sweep's trials."""
        return self._name("trials", sweep)

    def _name(self, *words: str) -> str:
        return "-".join(word for word in ("care", self.store[:8], *words) if word)


def views_of_sweep(
    names: ViewNames,
    sweep: str,
    axes: Sequence[str],
    numeric: bool,
    chief: Sequence[str],
    monitored: Sequence[str] = _MONITORED,
) -> dict[str, View]:
    """Make a sweep's views, by identity.

    Args:
        names: The identities of the views.
        sweep: The sweep's name.
        axes: Its axes, the one on x first.
        numeric: Whether the values on x are numbers.
        chief: The main measures, the sweep's metric first; empty before there are any.
        monitored: The metrics of held-out samples while a trial trains.
    """
    query = f"{_TRIAL} and tags.`{member_tag(sweep)}` LIKE '%'{_of_store(names)}"
    metrics = list(chief or _WITHOUT_NUMBERS)
    params = [axis_name(axis) for axis in axes if axis != VARIANT]
    # A variant is no parameter: sweeps may give one trial different names.
    by_param = bool(params) and VARIANT not in axes
    group = [("param", name) for name in params] if by_param else [("tag", member_tag(sweep))]
    x = params[0] if numeric and params else ""
    order = f"params.`{x}`" if x else ""
    title = axis_label(axes[0]) if axes else "point"
    columns = [*(f"params.`{name}`" for name in params), "params.`seed`"]
    columns += [f"metrics.`{metric}`" for metric in metrics]
    curves = [*_CURVES, *(name for name in _MONITORED if name in monitored), "images_per_second"]
    return {
        names.by_axis(sweep): View(
            f"{sweep} by {title}",
            query,
            _sections(title, x, params, metrics, curves),
            order,
            group,  # type: ignore[arg-type]
            columns,
        ),
        names.trials(sweep): View(
            f"{sweep}: every trial",
            query,
            _sections(title, x, params, metrics, curves),
            order,
            (),
            columns,
        ),
    }


def _sections(
    title: str, x: str, params: list[str], metrics: list[str], curves: list[str]
) -> list[Section]:
    effect, tradeoff = Section(f"1 What {title} does"), Section("2 Trade-offs", columns=2)
    training = Section("3 Training: mean and range over seeds")
    system = Section("4 Machine")
    for metric in metrics[:6] if x else ():
        effect.scatter(("PARAM", x), ("METRIC", metric))
    for metric in metrics[: 3 if x else _MOST_CHARTS]:
        effect.bars(metric)
    tradeoff.parallel(params, metrics[:5])
    probe = next((name for name in metrics if name.endswith("probe_accuracy")), "")
    if probe and probe != metrics[0]:
        tradeoff.scatter(("METRIC", metrics[0]), ("METRIC", probe))
    for metric in curves:
        training.lines([metric])
    for metric in SYSTEM_METRICS.values():
        system.lines([metric])
    return [effect, tradeoff, training, system]


def view_of_sweeps(names: ViewNames, curves: set[str]) -> dict[str, View]:
    """Make the view of all sweeps, by identity.

    Args:
        names: The identities of the views.
        curves: Names of the metrics of all sweeps' runs.
    """
    measures = [match["measure"] for name in sorted(curves) if (match := _MEAN.match(name))]
    logs = sorted(name for name in curves if name.startswith("log10 "))
    plain = {name.removeprefix("log10 ").partition(" ")[0] for name in logs}
    others = sorted(name for name in curves if "/" not in name and " " not in name)
    sections = []
    for number, x in enumerate([*logs, *(name for name in others if name not in plain)], start=1):
        section = Section(f"{number} {x}: mean and 95 % limits")
        for measure in measures[:_MOST_CHARTS]:
            parts = [part for part in ("mean", "low", "high") if f"{measure} {part}" in curves]
            section.lines([f"{measure} {part}" for part in parts], over=x)
        sections.append(section)
    columns = ["tags.`answer`", "tags.`stopped`", "tags.`hours`", "attributes.`Duration`"]
    view = View("all sweeps", f"{_SWEEP}{_of_store(names)}", sections, columns=columns)
    return {names.sweeps: view}


def held_tag(sweep: str) -> str:
    """Return the tag of a trial's run that names the user who holds it in a sweep, and the time."""
    return f"held.{sweep}"


def member_tag(sweep: str) -> str:
    """Return the tag of a sweep's trials, whose value is the trial's point."""
    return f"sweep.{sweep}"


def front_tag(sweep: str) -> str:
    """Return the tag of the trials on a sweep's Pareto front."""
    return f"front.{sweep}"


def _of_store(names: ViewNames) -> str:
    return f" and tags.`care.store` = '{names.store}'" if names.store else ""
