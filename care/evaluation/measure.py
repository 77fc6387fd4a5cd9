"""The inputs of a measure of a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from care.config import TrialConfig
from care.data.dataset import Dataset
from care.evaluation.features import PlainFeatures
from care.evaluation.resume import Progress
from care.models import Network


@dataclass(frozen=True)
class Trained:
    """A trained network, its data and settings: the one argument of every measure.

    Attributes:
        network: The network, which no measure may change.
        dataset: The trial's data set, on any device.
        config: The trial.
        plain: Features of samples without augmentation, extracted once for all measures.
        transfer: The data sets of ``evaluation.transfer``, each loaded when it is needed.
        progress: Stores finished parts, and stops the evaluation.
    """

    network: Network
    dataset: Dataset
    config: TrialConfig
    plain: PlainFeatures
    transfer: Sequence[Dataset]
    progress: Progress
