"""Evaluate a trained network once, at the end of the training, by all registered measures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import overload

import torch

from care.config import TrialConfig
from care.config.metrics import is_final_measure
from care.data.dataset import Dataset, load_dataset, note_constant_channels
from care.errors import CareError
from care.evaluation.features import PlainFeatures, computing_in
from care.evaluation.measure import Trained
from care.evaluation.results import Results, UndefinedError
from care.evaluation.resume import Progress
from care.models import Network
from care.plugins import load
from care.registry import MEASURES, MeasureEntry


class TransferSets(Sequence[Dataset]):
    """The data sets of ``evaluation.transfer``, each loaded when it is asked for.

    Args:
        config: The trial; its data must be prepared.
        device: The data sets' device.
    """

    def __init__(self, config: TrialConfig, device: torch.device) -> None:
        self._data, self._root = config.transfer_data, Path(config.runtime.data_root)
        self._device = device

    def __len__(self) -> int:
        return len(self._data)

    @overload
    def __getitem__(self, index: int) -> Dataset: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Dataset]: ...
    def __getitem__(self, index: int | slice) -> Dataset | Sequence[Dataset]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return load_dataset(self._data[index], self._root).to(self._device)


def evaluate(
    network: Network,
    dataset: Dataset,
    config: TrialConfig,
    transfer: Sequence[Dataset] = (),
    progress: Progress | None = None,
) -> Results:
    """Measure frozen features in two spaces, ``encoder`` and ``head`` on the unit sphere.

    Args:
        network: On any device; unchanged.
        dataset: On any device.
        config: The trial: distribution of the augmentations, settings of the measures.
        transfer: The data sets of ``evaluation.transfer``.
        progress: Stores finished parts, and stops the evaluation.

    Raises:
        care.evaluation.resume.Paused: ``progress`` stopped the evaluation.
        CareError: A measure returned a name that its entry in the registry does not list.
        ConfigError: The device lacks ``evaluation.precision``.
        DivergedError: Embeddings are not finite or not of unit length.

    Returns:
        Measures by the names of :func:`care.config.metrics.final_measures`, defined in
        ``docs/method.md``, as far as the data admit them. Details, for A augmentations, M named
        ones, B bins: ``rotation/names`` [A], ``*/wahba`` and ``*/wahba_o`` [A] divided by √n,
        ``named/names`` [M], ``*/named_wahba``, ``*/named_wahba_o``, ``*/named_gamma`` [M],
        ``cosine/edges`` [B+1], ``*/cosine_shared`` and ``*/cosine_positive`` [B]; of images
        ``*/retrieval`` uint8 [Q,2,6,3,h,w] and ``retrieval/shift`` [Q]; of point clouds
        ``head/trajectories`` [3,3,100,2]. The readout ``wahba`` adds ``*/movement``,
        ``*/wahba_centered``, ``*/wahba_random`` and ``*/wahba_over_movement`` [A]; each transfer
        ``transfer/<name>`` [P,2], penalties and validation accuracies.
    """
    progress = progress or Progress()
    with computing_in(network, "evaluation.precision", config.evaluation.precision):
        plain = PlainFeatures(network, dataset.augmenter(config.augmentation))
        trained = Trained(network, dataset, config, plain, transfer, progress)
        results = Results(notes=note_constant_channels(dataset))
        for name, entry in MEASURES.items():
            if entry.when(config):
                results.add(progress.part(name, partial(_measure, name, entry, trained)))
        return results


def _measure(name: str, entry: MeasureEntry, trained: Trained) -> Results:
    try:
        results = load(entry.function)(trained)
    except UndefinedError as reason:
        return Results(notes=[f"{name}: {reason}"])
    if not isinstance(results, Results):
        raise CareError(f"{entry.function} returned {results!r}; it must return a Results")
    unknown = sorted(measure for measure in results.measures if not is_final_measure(measure))
    if unknown:
        raise CareError(
            f"{entry.function} returned {', '.join(unknown)}; add it to the entry of {name!r} in "
            "the registry"
        )
    return results
