"""Register the names that a configuration may use, with the import paths of their code.

A new data set, encoder, objective or measure is one new file and one entry here, or in a plugin's
module outside this repository (:mod:`care.plugins`, docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from care.data_sets import DATA, SUITES, DataEntry, Kind
from care.plugins import Entry, Registry

if TYPE_CHECKING:  # its checks look names up here
    from care.config import TrialConfig

__all__ = [
    "DATA",
    "ENCODERS",
    "MEASURES",
    "OBJECTIVES",
    "SPACES",
    "SUITES",
    "DataEntry",
    "EncoderEntry",
    "Kind",
    "MeasureEntry",
    "ObjectiveEntry",
    "always",
    "of_images",
    "of_points",
]


@dataclass(frozen=True)
class EncoderEntry(Entry):
    """An encoder.

    Attributes:
        factory: ``module:function`` that takes no argument and returns the encoder's module; see
            :mod:`care.models`.
        size: Side of the images in pixels, or number of points, to which ``flops`` applies.
        flops: Floating-point operations of one forward pass of one sample; a multiply-add counts as
            two.
        kind: Kind of the samples, ``images`` or ``points``.
    """

    factory: str
    size: int
    flops: float
    kind: Kind = "images"

    def flops_at(self, size: int) -> float:
        """Scale ``flops`` to a sample of another size, linearly in pixels or points."""
        ratio = size / self.size
        return self.flops * (ratio if self.kind == "points" else ratio**2)


@dataclass(frozen=True)
class ObjectiveEntry(Entry):
    """A base objective.

    Attributes:
        loss: ``module:class``, a :class:`care.objectives.base.BaseObjective`.
        config: ``module:class`` of its settings, a
            :class:`care.config.objective.BaseObjectiveConfig`, with its passes through the encoder,
            its terms and its checks.
    """

    loss: str
    config: str


def always(_: TrialConfig) -> bool:
    """Measure every trial."""
    return True


def of_images(config: TrialConfig) -> bool:
    """Measure trials on images."""
    return config.data.source.kind == "images"


def of_points(config: TrialConfig) -> bool:
    """Measure trials on point clouds."""
    return config.data.source.kind == "points"


@dataclass(frozen=True)
class MeasureEntry(Entry):
    """A measure of a trained network, or several that are computed together.

    Attributes:
        function: ``module:function`` from :class:`care.evaluation.measure.Trained` to
            :class:`care.evaluation.results.Results`.
        names: Names that it may report: ``encoder/…`` for the encoder's output or ``head/…`` for
            the head's output on the sphere.
        when: Decides from the configuration whether a trial is measured.
    """

    function: str
    names: tuple[str, ...]
    when: Callable[[TrialConfig], bool] = always

    def __post_init__(self) -> None:
        for name in self.names:
            if name.partition("/")[0] not in SPACES:
                raise ValueError(f"{name}: allowed: names that start with encoder/ or head/")


@dataclass(frozen=True)
class MonitorEntry(Entry):
    """A measure of a network while it trains, or several that are computed together.

    Attributes:
        function: ``module:function`` from :class:`care.evaluation.monitored.Monitored` to values
            by name, without ``heldout/``.
        names: Names that it may report: ``heldout/…``.
        classes: The data need classes.
        parts: It uses features of the parts of ``evaluation.monitor``.
    """

    function: str
    names: tuple[str, ...]
    classes: bool = False
    parts: bool = False

    def __post_init__(self) -> None:
        for name in self.names:
            if not name.startswith("heldout/"):
                raise ValueError(f"{name}: allowed: names that start with heldout/")


SPACES = ("encoder", "head")
"""The measured spaces: the encoder's output, and the head's output on the sphere."""


AUGMENTATION_KINDS = ("crop", "color", "grayscale", "blur", "flip")
"""Kinds of image augmentations; ``color`` is the color jitter."""
MEASURES_OF_KINDS = (
    "movement",
    "wahba_over_movement",
    "equivariance_over_random",
    "composition_on_data",
    "composition_over_movement",
)
"""Measures of each kind of augmentation; their names get the kind as last word."""

AUGMENTATION_TARGETS = ("crop", "jitter", "hue", "blur", "flip")
"""Parameters of an augmentation that are read from features."""
_AUGMENTATION_SCORES = tuple(
    f"augmentation_{target}_{'accuracy' if target == 'flip' else 'r2'}{probe}"
    for target in AUGMENTATION_TARGETS
    for probe in ("", "_mlp")
)


def _both(*measures: str) -> tuple[str, ...]:
    return tuple(f"{space}/{measure}" for space in SPACES for measure in measures)


ENCODERS: Registry[EncoderEntry] = Registry(
    "encoder",
    {
        "small": EncoderEntry("care.models.small:small_encoder", 16, 1.70e6),
        "resnet18": EncoderEntry("care.models.resnet:resnet18_encoder", 32, 1.11e9),
        "resnet50": EncoderEntry("care.models.resnet:resnet50_encoder", 32, 2.60e9),
        "resnet50_imagenet": EncoderEntry(
            "care.models.resnet:resnet50_imagenet_encoder", 224, 8.17e9
        ),
        "deep_sets": EncoderEntry("care.models.deep_sets:deep_sets_encoder", 100, 3.45e6, "points"),
    },
)

OBJECTIVES: Registry[ObjectiveEntry] = Registry(
    "objective",
    {
        "simclr": ObjectiveEntry(
            "care.objectives.simclr:SimCLR", "care.config.objective:SimclrConfig"
        ),
        "moco_v2": ObjectiveEntry("care.objectives.moco:MoCo", "care.config.objective:MocoConfig"),
        "barlow_twins": ObjectiveEntry(
            "care.objectives.barlow_twins:BarlowTwins", "care.config.objective:BarlowTwinsConfig"
        ),
        "byol": ObjectiveEntry("care.objectives.byol:BYOL", "care.config.objective:ByolConfig"),
        "vicreg": ObjectiveEntry(
            "care.objectives.vicreg:VICReg", "care.config.objective:VicregConfig"
        ),
        "augself": ObjectiveEntry(
            "care.objectives.augself:AugSelf", "care.config.equivariant:AugselfConfig"
        ),
        "essl": ObjectiveEntry("care.objectives.essl:ESSL", "care.config.equivariant:EsslConfig"),
        "sie": ObjectiveEntry("care.objectives.sie:SIE", "care.config.equivariant:SieConfig"),
        "sen": ObjectiveEntry("care.objectives.sen:SEN", "care.config.equivariant:SenConfig"),
        "stl": ObjectiveEntry("care.objectives.stl:STL", "care.config.equivariant:StlConfig"),
        "alignment": ObjectiveEntry(
            "care.objectives.ablations:AlignmentOnly", "care.config.objective:AlignmentConfig"
        ),
        "uniformity": ObjectiveEntry(
            "care.objectives.ablations:UniformityOnly", "care.config.objective:UniformityConfig"
        ),
        "none": ObjectiveEntry(
            "care.objectives.ablations:NoBase", "care.config.objective:NoBaseConfig"
        ),
    },
)

MEASURES: Registry[MeasureEntry] = Registry(
    "measure",
    {
        "geometry": MeasureEntry(
            "care.evaluation.geometry:measure_geometry",
            _both(
                "wahba",
                "wahba_per_sqrt_n",
                "wahba_o_per_sqrt_n",
                "gamma",
                "gamma_median",
                "composition",
                "composition_on_data",
                "positive_cosine",
                # evaluation.readouts has wahba:
                "movement",
                "mean_norm",
                "span_dim",
                "wahba_centered",
                "wahba_span",
                "wahba_random",
                "wahba_over_random",
                "wahba_over_movement",
                "wahba_over_movement_span",
                "equivariance_over_random",
                "composition_over_movement",
            ),
        ),
        "kinds": MeasureEntry(
            "care.evaluation.kinds:measure_kinds",
            _both(
                *(
                    f"{measure}_{kind}"
                    for kind in AUGMENTATION_KINDS
                    for measure in MEASURES_OF_KINDS
                )
            ),
            when=lambda config: "kinds" in config.evaluation.readouts,
        ),
        "augmentation": MeasureEntry(
            "care.evaluation.augmentation_readout:measure_augmentation",
            _both(*_AUGMENTATION_SCORES),
            when=lambda config: "augmentation" in config.evaluation.readouts,
        ),
        "ranking": MeasureEntry(
            "care.evaluation.ranking:measure_ranking",
            _both("ranking_mrr", "ranking_hit1", "ranking_hit5", "ranking_mrr_mean_movement"),
            when=lambda config: "ranking" in config.evaluation.readouts,
        ),
        "readout": MeasureEntry(
            "care.evaluation.probes:measure_readout",
            _both("knn_accuracy", "probe_accuracy", "probe_top5", "hue_r2", "color_r2"),
            when=of_images,
        ),
        "few_labels": MeasureEntry(
            "care.evaluation.few_labels:measure_few_labels",
            _both("probe_accuracy_1pct", "probe_accuracy_10pct", "few_shot_1", "few_shot_5"),
            when=lambda config: "few_labels" in config.evaluation.readouts,
        ),
        "transfer": MeasureEntry(
            "care.evaluation.transfer:measure_transfer",
            (),  # care.config.metrics names them after the data sets
            when=lambda config: bool(config.evaluation.transfer),
        ),
        "probe-paper": MeasureEntry(
            "care.evaluation.probes:measure_paper_probe",
            (
                "encoder/paper_probe_accuracy",
                "encoder/paper_probe_top5",
                "encoder/paper_probe_spread",
            ),
            when=lambda config: "paper" in config.evaluation.trained_probe.protocols,
        ),
        "probe-authors": MeasureEntry(
            "care.evaluation.probes:measure_authors_probe",
            (
                "encoder/authors_probe_accuracy",
                "encoder/authors_probe_top5",
                "encoder/authors_probe_spread",
            ),
            when=lambda config: "authors" in config.evaluation.trained_probe.protocols,
        ),
        "color": MeasureEntry(
            "care.evaluation.hue_retrieval:measure_color_following",
            _both("color_following"),
            when=of_images,
        ),
        "pose": MeasureEntry(
            "care.evaluation.pose:measure_pose",
            (*_both("axis_error"), "head/circularity"),
            when=of_points,
        ),
    },
)
"""The final measures, in the order of computation."""

MONITORED: Registry[MonitorEntry] = Registry(
    "monitored measure",
    {
        "gamma": MonitorEntry(
            "care.evaluation.monitor_measures:measure_gamma",
            ("heldout/gamma", "heldout/gamma_median"),
        ),
        "alignment": MonitorEntry(
            "care.evaluation.monitor_measures:measure_alignment",
            ("heldout/alignment",),
        ),
        "uniformity": MonitorEntry(
            "care.evaluation.monitor_measures:measure_uniformity",
            ("heldout/uniformity",),
        ),
        "positive_cosine": MonitorEntry(
            "care.evaluation.monitor_measures:measure_positive_cosine",
            ("heldout/positive_cosine",),
        ),
        "equivariance": MonitorEntry(
            "care.evaluation.monitor_measures:measure_equivariance",
            ("heldout/equivariance",),
        ),
        "knn_accuracy": MonitorEntry(
            "care.evaluation.monitor_measures:measure_knn",
            ("heldout/knn_accuracy",),
            classes=True,
            parts=True,
        ),
        "probe_accuracy": MonitorEntry(
            "care.evaluation.monitor_measures:measure_probe",
            ("heldout/probe_accuracy",),
            classes=True,
            parts=True,
        ),
        "rank": MonitorEntry(
            "care.evaluation.monitor_measures:measure_rank",
            ("heldout/encoder_rank", "heldout/head_rank"),
            parts=True,
        ),
    },
)
"""The measures while a network trains, in the order of computation."""
