"""The configuration of a trial: a tree of frozen models, validated before anything starts.

Every field can change a number and is part of a trial's identity (:mod:`care.trials.identity`),
except those of :class:`RuntimeConfig`. Values cite their source in docs/paper.md: [P] the paper
(arXiv 2306.13924), [C] the authors' code, [A] our choice if both are silent.
"""

from __future__ import annotations

from care.config.augmentation import (
    AugmentationConfig,
    ColorJitterConfig,
    CropConfig,
    GaussianBlurConfig,
)
from care.config.base import Model, Positive, PositiveInt
from care.config.data import DataConfig
from care.config.equivariant import (
    AugselfConfig,
    EsslConfig,
    SenConfig,
    SieConfig,
    StlConfig,
)
from care.config.evaluation import (
    EvaluationConfig,
    MonitorConfig,
    Protocol,
    Readout,
    TrainedProbeConfig,
)
from care.config.model import HeadConfig, ModelConfig
from care.config.objective import (
    AlignmentConfig,
    BarlowTwinsConfig,
    ByolConfig,
    EquimodConfig,
    EquivarianceConfig,
    MocoConfig,
    NoBaseConfig,
    ObjectiveConfig,
    SimclrConfig,
    UniformityConfig,
    VicregConfig,
)
from care.config.training import (
    OptimizerConfig,
    Precision,
    PrecisionChoice,
    RuntimeConfig,
    TrainingConfig,
)
from care.config.trial import TrialConfig

__all__ = [
    "AlignmentConfig",
    "AugmentationConfig",
    "AugselfConfig",
    "BarlowTwinsConfig",
    "ByolConfig",
    "ColorJitterConfig",
    "CropConfig",
    "DataConfig",
    "EquimodConfig",
    "EquivarianceConfig",
    "EsslConfig",
    "EvaluationConfig",
    "GaussianBlurConfig",
    "HeadConfig",
    "MocoConfig",
    "Model",
    "ModelConfig",
    "MonitorConfig",
    "NoBaseConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Positive",
    "PositiveInt",
    "Precision",
    "PrecisionChoice",
    "Protocol",
    "Readout",
    "RuntimeConfig",
    "SenConfig",
    "SieConfig",
    "SimclrConfig",
    "StlConfig",
    "TrainedProbeConfig",
    "TrainingConfig",
    "TrialConfig",
    "UniformityConfig",
    "VicregConfig",
]
