"""What the names of metrics and axes mean, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

VARIANT = "variant"
"""The axis whose values are names of methods."""

SPACES = {"encoder": "head's input", "head": "head's output, on the sphere"}
SHORT_SPACES = {"encoder": "input", "head": "sphere"}


@dataclass(frozen=True)
class Label:
    """How a measure is shown.

    Attributes:
        title: What it is.
        better: ``↑``, ``↓``, or nothing where neither is better.
        short: For the head of a narrow column.
    """

    title: str
    better: str = ""
    short: str = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.better})" if self.better else self.title


MEASURES = {
    "gamma": Label("γ_f, relative rotational equivariance", "↓", "γ_f"),
    "gamma_median": Label("median of γ_f's ratios", "↓", "γ_f median"),
    "wahba_per_sqrt_n": Label("Wahba residual / √n", "↓", "Wahba/√n"),
    "wahba": Label("Wahba residual", "↓", "Wahba"),
    "probe_accuracy": Label("class, linear probe accuracy", "↑", "class, probe"),
    "knn_accuracy": Label("class, kNN accuracy", "↑", "class, kNN"),
    "hue_r2": Label("hue, linear R²", "↑", "hue R²"),
}

CURVES = {
    "train/loss": Label("training loss"),
    "train/infonce": Label("InfoNCE, training", "↓"),
    "train/equivariance": Label("L_equi, training", "↓"),
    "heldout/gamma": Label("γ_f, held out", "↓"),
    "heldout/gamma_median": Label("median of γ_f's ratios, held out", "↓"),
    "heldout/equivariance": Label("L_equi, held out", "↓"),
    "heldout/positive_cosine": Label("cosine of positive pairs, held out", "↑"),
    "heldout/alignment": Label("alignment, held out", "↓"),
    "heldout/uniformity": Label("uniformity, held out; 1 is collapse", "↓"),
}

_AXES = {
    "objective.equivariance.weight": "λ",
    "objective.equivariance.splits": "splits",
    "objective.temperature": "τ",
    VARIANT: "method",
    "optimizer.learning_rate": "learning rate",
    "training.batch_size": "batch size",
}


def axis_label(field: str) -> str:
    """A short name of an axis: λ, or the last part of the dotted field."""
    return _AXES.get(field, field.rpartition(".")[2].replace("_", " "))


def metric_label(name: str) -> str:
    """What a metric is and in which space it is measured."""
    space, _, measure = name.partition("/")
    if measure in MEASURES and space in SPACES:
        return f"{MEASURES[measure]}, {SPACES[space]}"
    return str(CURVES.get(name, name))


def short_metric_label(name: str) -> str:
    """The same for the head of a narrow column: ``γ_f, sphere``."""
    space, _, measure = name.partition("/")
    if measure in MEASURES and space in SPACES:
        return f"{MEASURES[measure].short}, {SHORT_SPACES[space]}"
    return str(CURVES.get(name, name))


def value_label(value: object) -> str:
    """A value of an axis, without needless zeros."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def point_name(axes: Sequence[str], point: Sequence[object]) -> str:
    """For people: ``λ = 0.1, splits = 4``; a variant's name stands for itself."""
    pairs = zip(axes, point, strict=True)
    return ", ".join(
        str(value) if axis == VARIANT else f"{axis_label(axis)} = {value_label(value)}"
        for axis, value in pairs
    )
