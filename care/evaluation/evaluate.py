"""What is measured once, when a training has ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch

from care.augmentation import ImageAugmenter
from care.config import TrialConfig
from care.data.dataset import Dataset, constant_channels, load_dataset
from care.evaluation.features import PlainFeatures, computing_in
from care.evaluation.geometry import geometry
from care.evaluation.hue_retrieval import color_outcome
from care.evaluation.pose import pose_outcome
from care.evaluation.probes import readout
from care.evaluation.results import Outcome
from care.evaluation.resume import Progress
from care.models import Network


def transfer_sets(config: TrialConfig, device: torch.device) -> Iterator[Dataset]:
    """The data sets of ``evaluation.transfer``, each loaded when it is its turn."""
    root = Path(config.runtime.data_root)
    return (load_dataset(data, root).to(device) for data in config.transfer_data)


def evaluate(
    network: Network,
    dataset: Dataset,
    config: TrialConfig,
    transfer: Iterable[Dataset] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Measure frozen features of the head's input, ``encoder``, and output on the sphere, ``head``.

    Args:
        network: On any device; left as it was.
        dataset: On any device.
        config: The trial: distribution of the augmentations, settings of the measures.
        transfer: The data sets of ``evaluation.transfer``.
        progress: What was measured before, and whether to stop.

    Raises:
        care.evaluation.resume.Paused: ``progress`` said so.
        ConfigError: The device lacks ``evaluation.precision``.
        DivergedError: Embeddings are not finite or not of unit length.

    Returns:
        Measures by the names of :data:`care.config.metrics.final_measures`, for each space those
        that the data admit: ``docs/method.md`` says what each is. Details, A augmentations, M named
        ones, B bins: ``rotation/names`` [A], ``*/wahba`` and ``*/wahba_o`` [A] by √n,
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
        whole = Outcome(notes=constant_channels(dataset))
        moved = partial(geometry, network, test, augmenter, count, plain)
        whole.add(progress.part("geometry", moved))
        if dataset.classes:
            whole.add(readout(network, dataset, config, transfer, progress, plain))
        if isinstance(augmenter, ImageAugmenter):
            followed = partial(color_outcome, network, test, augmenter, plain)
            whole.add(progress.part("color", followed))
        else:
            clouds, l2 = (dataset.train.images, test), config.evaluation.probe_l2
            whole.add(progress.part("pose", lambda: pose_outcome(*clouds, network, l2)))
        return whole
