"""Evaluate a trained network once, at the end of the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch

from care.augmentation import ImageAugmenter
from care.config import TrialConfig
from care.data.dataset import Dataset, load_dataset, note_constant_channels
from care.evaluation.features import PlainFeatures, computing_in
from care.evaluation.geometry import measure_geometry
from care.evaluation.hue_retrieval import measure_color
from care.evaluation.pose import measure_pose
from care.evaluation.probes import measure_readout
from care.evaluation.results import Outcome
from care.evaluation.resume import Progress
from care.models import Network


def transfer_sets(config: TrialConfig, device: torch.device) -> Iterator[Dataset]:
    """Load the data sets of ``evaluation.transfer`` one after the other, when needed."""
    root = Path(config.runtime.data_root)
    return (load_dataset(data, root).to(device) for data in config.transfer_data)


def evaluate(
    network: Network,
    dataset: Dataset,
    config: TrialConfig,
    transfer: Iterable[Dataset] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Measure frozen features in two spaces, ``encoder`` and ``head`` on the unit sphere.

    Args:
        network: On any device; unchanged.
        dataset: On any device.
        config: The trial: distribution of the augmentations, settings of the measures.
        transfer: The data sets of ``evaluation.transfer``.
        progress: Stores finished parts, and stops the evaluation.

    Raises:
        care.evaluation.resume.Paused: ``progress`` stopped the evaluation.
        ConfigError: The device lacks ``evaluation.precision``.
        DivergedError: Embeddings are not finite or not of unit length.

    Returns:
        Measures by the names of :data:`care.config.metrics.FINAL_MEASURES`, defined in
        ``docs/method.md``, as far as the data admit them. Details, for A augmentations, M named
        ones, B bins: ``rotation/names`` [A], ``*/wahba`` and ``*/wahba_o`` [A] divided by √n,
        ``named/names`` [M], ``*/named_wahba``, ``*/named_wahba_o``, ``*/named_gamma`` [M],
        ``cosine/edges`` [B+1], ``*/cosine_shared`` and ``*/cosine_positive`` [B]; of images
        ``*/retrieval`` uint8 [Q,2,6,3,h,w] and ``retrieval/shift`` [Q]; of point clouds
        ``head/trajectories`` [3,3,100,2].
    """
    progress = progress or Progress()
    with computing_in(network, "evaluation.precision", config.evaluation.precision):
        augmenter = dataset.augmenter(config.augmentation)
        plain = PlainFeatures(network, augmenter)
        test = dataset.test.images
        count = config.evaluation.rotation_augmentations
        outcome = Outcome(notes=note_constant_channels(dataset))
        measure = partial(measure_geometry, network, test, augmenter, count, plain)
        outcome.add(progress.part("geometry", measure))
        if dataset.classes:
            outcome.add(measure_readout(network, dataset, config, transfer, progress, plain))
        if isinstance(augmenter, ImageAugmenter):
            measure = partial(measure_color, network, test, augmenter, plain)
            outcome.add(progress.part("color", measure))
        else:
            clouds, l2 = (dataset.train.images, test), config.evaluation.probe_l2
            outcome.add(progress.part("pose", lambda: measure_pose(*clouds, network, l2)))
        return outcome
