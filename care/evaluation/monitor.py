"""Measure a network while it trains, after every few epochs."""

from __future__ import annotations

from functools import partial
from typing import Any

from care.augmentation import Augmenter
from care.config import EvaluationConfig
from care.data.dataset import Dataset
from care.errors import CareError
from care.evaluation.features import computing_in
from care.evaluation.monitored import Monitored, MonitoredSamples
from care.evaluation.results import Results
from care.models import Network
from care.plugins import load
from care.registry import MONITORED, MonitorEntry


class Monitor:
    """Measures fixed samples under fixed augmentations, independent of trial and seed.

    For measures of augmented samples an epoch costs A + 3 forward passes of the n monitored images
    (A + 4 if A = 1) and no augmentation. Those of features cost one pass of each part's images.
    """

    def __init__(
        self, dataset: Dataset, augmenter: Augmenter[Any], evaluation: EvaluationConfig
    ) -> None:
        """Remember the samples; they are augmented when a measure first needs them.

        Args:
            dataset: Data set; its first ``monitor_images`` test images, or all, are augmented.
            augmenter: Draws and applies the augmentations.
            evaluation: ``monitor``: the measures; numbers of images and augmentations.
        """
        self._precision = evaluation.precision
        self._samples = MonitoredSamples(dataset, augmenter, evaluation)
        chosen = evaluation.monitor.measures
        self._measures = [entry for name, entry in MONITORED.items() if name in chosen]

    def __call__(self, network: Network) -> Results:
        """Measure with eval-mode BatchNorm; the network is unchanged.

        Returns:
            The configured measures by the names of their entries in the registry, defined in
            ``docs/method.md``. An undefined one is absent, with a note.

        Raises:
            DivergedError: Embeddings are not finite or not of unit length.
            CareError: A measure returned a name that its entry does not list.
        """
        results = Results()
        with computing_in(network, "evaluation.precision", self._precision):
            monitored = Monitored(network, self._samples)
            for entry in self._measures:
                results.measure("heldout", partial(_measure, entry, monitored))
        return results


def _measure(entry: MonitorEntry, monitored: Monitored) -> dict[str, float]:
    values: dict[str, float] = load(entry.function)(monitored)
    unknown = sorted(name for name in values if f"heldout/{name}" not in entry.names)
    if unknown:
        raise CareError(
            f"{entry.function} returned {', '.join(unknown)}; its entry in the registry lists "
            f"{', '.join(entry.names)}"
        )
    return values
