"""What is measured once, when a training has ended."""

from __future__ import annotations

from collections.abc import Iterable

from care.augmentation import ImageAugmenter
from care.config import TrialConfig
from care.data import Dataset
from care.evaluation.color import color_outcome
from care.evaluation.geometry import geometry
from care.evaluation.outcome import Outcome
from care.evaluation.pose import pose_outcome
from care.evaluation.readout import readout
from care.models import Network


def evaluate(
    network: Network, dataset: Dataset, config: TrialConfig, transfer: Iterable[Dataset] = ()
) -> Outcome:
    """Measure frozen features of the head's input, ``encoder``, and output on the sphere, ``head``.

    Args:
        network: On any device; left as it was.
        dataset: On any device.
        config: The trial: distribution of the augmentations, settings of the measures.
        transfer: The data sets of ``evaluation.transfer``.

    Returns:
        Measures by the names of :data:`care.measures.FINAL_MEASURES`, for each space those that
        the data admit: ``docs/method.md`` says what each is. Details, A augmentations, M named
        ones, B bins: ``rotation/names`` [A], ``*/wahba`` and ``*/wahba_o`` [A] by √n,
        ``named/names`` [M], ``*/named_wahba``, ``*/named_wahba_o``, ``*/named_gamma`` [M],
        ``cosine/edges`` [B+1], ``*/cosine_shared`` and ``*/cosine_positive`` [B]; of images
        ``*/retrieval`` uint8 [Q,2,6,3,h,w] and ``retrieval/shift`` [Q]; of point clouds
        ``head/trajectories`` [3,3,100,2].
    """
    augmenter = dataset.augmenter(config.augmentation)
    count = config.evaluation.rotation_augmentations
    whole = geometry(network, dataset.test.images, augmenter, count)
    if dataset.classes:
        whole.add(readout(network, dataset, config, transfer))
    if isinstance(augmenter, ImageAugmenter):
        whole.add(color_outcome(network, dataset.test.images, augmenter))
    else:
        clouds = dataset.train.images, dataset.test.images
        whole.add(pose_outcome(*clouds, network, config.evaluation.probe_l2))
    return whole
