"""Register the names that a configuration may use, with the import paths of their code.

A new encoder, objective or measure is one new file and one entry here, a new data set one in
:mod:`care.data_sets`; or in a plugin's module outside this repository (:mod:`care.plugins`,
docs/extending.md).
"""

from __future__ import annotations

from care.data_sets import DATA, SUITES
from care.entries import (
    SPACES,
    DataEntry,
    EncoderEntry,
    Kind,
    MeasureEntry,
    MonitorEntry,
    ObjectiveEntry,
    always,
    of_images,
    of_points,
)
from care.plugins import Registry

__all__ = [
    "AUGMENTATION_KINDS",
    "AUGMENTATION_TARGETS",
    "DATA",
    "ENCODERS",
    "MEASURES",
    "MEASURES_OF_KINDS",
    "MONITORED",
    "OBJECTIVES",
    "READOUTS",
    "SPACES",
    "SUITES",
    "DataEntry",
    "EncoderEntry",
    "Kind",
    "MeasureEntry",
    "MonitorEntry",
    "ObjectiveEntry",
    "always",
    "measures_of_kind",
    "of_images",
    "of_points",
]

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


def measures_of_kind(kind: str) -> tuple[str, ...]:
    """List the measures of a kind of augmentation.

    Grayscale applied twice is grayscale, and only R = I has R R = R. So its composition error is
    how far R moves embeddings, for every encoder, and is left out.
    """
    idempotent = kind == "grayscale"
    return tuple(
        name for name in MEASURES_OF_KINDS if not (idempotent and name.startswith("composition"))
    )


AUGMENTATION_TARGETS = ("crop", "jitter", "hue", "blur", "flip")
"""Parameters of an augmentation that are read from features."""


def _both(*measures: str) -> tuple[str, ...]:
    return tuple(f"{space}/{measure}" for space in SPACES for measure in measures)


READOUTS: dict[str, tuple[str, ...]] = {
    "wahba": _both(
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
    "kinds": _both(
        *(f"{measure}_{kind}" for kind in AUGMENTATION_KINDS for measure in measures_of_kind(kind))
    ),
    "augmentation": _both(
        *(
            f"augmentation_{target}_{'accuracy' if target == 'flip' else 'r2'}{probe}"
            for target in AUGMENTATION_TARGETS
            for probe in ("", "_mlp")
        )
    ),
    "ranking": _both("ranking_mrr", "ranking_hit1", "ranking_hit5", "ranking_mrr_mean_movement"),
    "few_labels": _both("probe_accuracy_1pct", "probe_accuracy_10pct", "few_shot_1", "few_shot_5"),
}
"""Measures of each name of ``evaluation.readouts``."""


def _readout(name: str, function: str) -> MeasureEntry:
    return MeasureEntry(
        function, READOUTS[name], when=lambda config: name in config.evaluation.readouts
    )


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
            )
            + READOUTS["wahba"],
        ),
        "kinds": _readout("kinds", "care.evaluation.kinds:measure_kinds"),
        "augmentation": _readout(
            "augmentation", "care.evaluation.augmentation_readout:measure_augmentation"
        ),
        "ranking": _readout("ranking", "care.evaluation.ranking:measure_ranking"),
        "readout": MeasureEntry(
            "care.evaluation.probes:measure_readout",
            _both("knn_accuracy", "probe_accuracy", "probe_top5", "hue_r2", "color_r2"),
            when=of_images,
        ),
        "few_labels": _readout("few_labels", "care.evaluation.few_labels:measure_few_labels"),
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
        "objects": MeasureEntry(
            "care.evaluation.object_views:measure_object_views",
            _both(
                "object_rotation_r2",
                "object_rotation_r2_mlp",
                "object_color_r2",
                "object_color_r2_mlp",
                "object_pose_r2",
                "object_mrr",
                "object_hit1",
                "object_hit5",
                "object_pre",
            ),
            when=lambda config: config.data.name in ("3diebench", "3diebench_ood"),
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
