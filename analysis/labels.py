"""Readable labels of metrics, axes and their values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from care.registry import (
    AUGMENTATION_KINDS,
    AUGMENTATION_TARGETS,
    MEASURES_OF_KINDS,
    SPACES,
    SUITES,
)

VARIANT = "variant"
"""The axis whose values are names of methods."""
CODE = "code"
"""The axis whose values are revisions of the code."""
UNUSED = "unused"
"""The level of a conditional axis at points where it does not exist."""

SPACE_LABELS = {"encoder": "head's input", "head": "head's output, on the sphere"}
SHORT_SPACE_LABELS = {"encoder": "input", "head": "sphere"}


@dataclass(frozen=True)
class Label:
    """The label of a measure.

    Attributes:
        title: Its name.
        better: ``↑`` or ``↓``, the better direction; empty if there is none.
        short: Its name in the head of a narrow column.
    """

    title: str
    better: str = ""
    short: str = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.better})" if self.better else self.title


_PARAMETERS = {
    "crop": "crop box",
    "jitter": "color jitter",
    "hue": "hue shift",
    "blur": "blur σ",
    "flip": "flip",
}


def _augmentation_labels() -> dict[str, Label]:
    """Label the scores of an augmentation's parameters, by a linear probe and a perceptron."""
    labels = {}
    for target in AUGMENTATION_TARGETS:
        score, word = ("accuracy", "accuracy") if target == "flip" else ("r2", "R²")
        for suffix, probe in (("", "linear"), ("_mlp", "MLP")):
            title = f"{_PARAMETERS[target]} of the augmentation, {probe} {word}"
            short = f"{_PARAMETERS[target]}, {probe}"
            labels[f"augmentation_{target}_{score}{suffix}"] = Label(title, "↑", short)
    return labels


MEASURE_LABELS = {
    "gamma": Label("γ_f, relative rotational equivariance", "↓", "γ_f"),
    "gamma_median": Label("median of γ_f's ratios", "↓", "γ_f median"),
    "wahba_per_sqrt_n": Label("Wahba residual / √n", "↓", "Wahba/√n"),
    "wahba": Label("Wahba residual", "↓", "Wahba"),
    "wahba_o_per_sqrt_n": Label("Wahba residual / √n over O(d)", "↓", "Wahba O(d)/√n"),
    "composition": Label("composition error", "↓", "composition"),
    "composition_on_data": Label("composition error on the embeddings / √n", "↓", "comp. on data"),
    "composition_over_movement": Label(
        "composition error relative to movement", "↓", "comp. / movement"
    ),
    "wahba_over_movement": Label(
        "movement that no rotation explains, held out", "↓", "Wahba / movement"
    ),
    "wahba_over_movement_span": Label(
        "movement that no rotation explains, leading directions", "↓", "Wahba / mov., span"
    ),
    "equivariance_over_random": Label(
        "L_equi relative to random directions of movement", "↓", "L_equi / random"
    ),
    "wahba_over_random": Label(
        "squared Wahba residual relative to a random pairing", "↓", "Wahba / random"
    ),
    "wahba_centered": Label("Wahba residual / √n, centered", "↓", "Wahba centered"),
    "wahba_span": Label("Wahba residual / √n, leading directions", "↓", "Wahba span"),
    "wahba_random": Label("Wahba residual / √n of a random pairing", "", "Wahba random"),
    "movement": Label("mean squared movement by an augmentation", "", "movement"),
    "mean_norm": Label("norm of the mean embedding", "", "‖mean‖"),
    "span_dim": Label("dimensions with 90 % of the variance", "", "span dim."),
    "ranking_mrr": Label("MRR of views by Wahba rotations", "↑", "MRR"),
    "ranking_hit1": Label("hit@1 of views by Wahba rotations", "↑", "hit@1"),
    "ranking_hit5": Label("hit@5 of views by Wahba rotations", "↑", "hit@5"),
    "ranking_mrr_mean_movement": Label("MRR of views by the mean movement", "", "MRR, mean"),
    **_augmentation_labels(),
    "hue_r2": Label("hue, linear R²", "↑", "hue R²"),
    "color_r2": Label("mean color, linear R²", "↑", "color R²"),
    "color_following": Label("neighbors' hue follows the query's", "↑", "color following"),
    "positive_cosine": Label("cosine of positive pairs", "↑", "positive cosine"),
    "object_rotation_r2": Label("rotation between views, linear R²", "↑", "rotation R²"),
    "object_rotation_r2_mlp": Label("rotation between views, MLP R²", "↑", "rotation R², MLP"),
    "object_color_r2": Label("hues of floor and light, linear R²", "↑", "light R²"),
    "object_color_r2_mlp": Label("hues of floor and light, MLP R²", "↑", "light R², MLP"),
    "object_pose_r2": Label("rotation of a view, linear R²", "↑", "pose R²"),
    "object_mrr": Label("predicted view, mean reciprocal rank", "↑", "view MRR"),
    "object_hit1": Label("predicted view is the nearest", "↑", "view H@1"),
    "object_hit5": Label("predicted view is among five", "↑", "view H@5"),
    "object_pre": Label("rotation error of the nearest view, PRE", "↓", "view PRE"),
    "axis_error": Label("principal axis, error in degrees", "↓", "axis error, °"),
    "circularity": Label("circularity of trajectories", "↑", "circularity"),
    "probe_accuracy": Label("class, linear probe accuracy", "↑", "class, probe"),
    "probe_top5": Label("class, linear probe top-5 accuracy", "↑", "class, probe top 5"),
    "probe_accuracy_1pct": Label("class, linear probe of 1 % of the labels", "↑", "class, 1 %"),
    "probe_accuracy_10pct": Label("class, linear probe of 10 % of the labels", "↑", "class, 10 %"),
    "few_shot_1": Label("5-way 1-shot accuracy", "↑", "1 shot"),
    "few_shot_5": Label("5-way 5-shot accuracy", "↑", "5 shots"),
    "knn_accuracy": Label("class, kNN accuracy", "↑", "class, kNN"),
    "paper_probe_accuracy": Label("class, the paper's probe", "↑", "class, paper's probe"),
    "paper_probe_top5": Label("class, the paper's probe, top 5", "↑", "paper's probe top 5"),
    "paper_probe_spread": Label("the paper's probe, std over its starts", "", "paper's probe std"),
    "authors_probe_accuracy": Label("class, the authors' probe", "↑", "class, authors' probe"),
    "authors_probe_top5": Label("class, the authors' probe, top 5", "↑", "authors' probe top 5"),
    "authors_probe_spread": Label("the authors' probe, std over its starts", "", "authors' std"),
}
"""The measures of a trained encoder, in the order of every table."""

_TRANSFER = "transfer_"
_LONG = 8

CURVES = {
    "train/loss": Label("training loss"),
    "train/infonce": Label("InfoNCE, training", "↓"),
    "train/equivariance": Label("L_equi, training", "↓"),
    "heldout/gamma": Label("γ_f, held out", "↓"),
    "heldout/gamma_median": Label("median of γ_f's ratios, held out", "↓"),
    "heldout/equivariance": Label("L_equi, held out", "↓"),
    "heldout/positive_cosine": Label("cosine of positive pairs, held out", "↑"),
    "heldout/alignment": Label("alignment L_inv, held out", "↓"),
    "heldout/uniformity": Label("uniformity, held out; 1 is collapse", "↓"),
    "heldout/knn_accuracy": Label("class, kNN accuracy, held out", "↑"),
    "heldout/probe_accuracy": Label("class, linear probe accuracy, held out", "↑"),
    "heldout/encoder_rank": Label("effective rank, head's input, held out"),
    "heldout/head_rank": Label("effective rank, sphere, held out"),
}

CURVE_PARTS = ("mean", "low", "high", "n", "difference")
"""Last words of the names of a measure's curves over the points of a sweep."""

_SYMBOLS = {"objective.equivariance.weight": "λ", "objective.temperature": "τ"}
SPELLED = {"lambda": "λ", "tau": "τ"}
"""Symbols of axes by their names in ASCII."""


def axis_name(field: str) -> str:
    """Return the name of an axis within a point's name: a symbol, or the field's last part."""
    return _SYMBOLS.get(field, field.rpartition(".")[2])


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Map short names to the fields that have one: symbols always, e.g. ``λ``."""
    return {axis_name(field): field for field in fields if field in _SYMBOLS}


def axis_label(field: str) -> str:
    """Return the heading of an axis: ``λ``, ``learning rate``; that of variants is ``method``."""
    return "method" if field == VARIANT else axis_name(field).replace("_", " ")


def measure_label(measure: str) -> Label:
    """Return the label of a measure of the end; of a plugin's measure, its name."""
    if measure.startswith(_TRANSFER):
        dataset = measure.removeprefix(_TRANSFER)
        of = f"mean over {dataset}" if dataset in SUITES else f"class of {dataset}"
        return Label(f"{of}, transfer accuracy", "↑", of)
    base, _, kind = measure.rpartition("_")
    if kind in AUGMENTATION_KINDS and base in MEASURES_OF_KINDS:
        label = MEASURE_LABELS[base]
        return Label(f"{label.title}, {kind}", label.better, f"{label.short}, {kind}")
    name = measure.replace("_", " ")
    return MEASURE_LABELS.get(measure, Label(name, short=name))


def metric_label(name: str) -> str:
    """Return the label of a metric with its space."""
    space, _, measure = name.partition("/")
    label = measure_label(measure) if space in SPACES else None
    return f"{label}, {SPACE_LABELS[space]}" if label else str(CURVES.get(name, name))


def short_metric_label(name: str) -> str:
    """Return the label of a metric for the head of a narrow column: ``γ_f, sphere``."""
    space, _, measure = name.partition("/")
    label = measure_label(measure) if space in SPACES else None
    return f"{label.short}, {SHORT_SPACE_LABELS[space]}" if label else str(CURVES.get(name, name))


def value_label(value: object) -> str:
    """Format a value of an axis as in a YAML file.

    A number that is long in decimal notation has four digits. Control characters become spaces, so
    that a name stays on one line.
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            short = f"{value:.4g}"
            return short if float(short) == value or len(repr(value)) > _LONG else repr(value)
        case list() | tuple():
            return f"[{', '.join(map(value_label, value))}]"
        case dict():
            inner = (f"{name}: {value_label(inner)}" for name, inner in value.items())
            return f"{{{', '.join(inner)}}}"
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def shorten(text: str, limit: int = 30) -> str:
    """Shorten a name to its two ends if it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[: limit - 1 - half]}…{text[-half:]}"


def point_name(axes: Iterable[str], values: Iterable[object]) -> str:
    """Return the name of a point: ``λ=0.1 splits=4``; a variant is its bare name.

    The terminal, MLflow and the report print it, and ``--only`` takes its parts.
    """
    return " ".join(
        value_label(value) if axis == VARIANT else f"{axis_name(axis)}={value_label(value)}"
        for axis, value in zip(axes, values, strict=True)
    )
