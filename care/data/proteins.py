"""Proteins as point clouds for the protein experiment (docs/paper.md §7).

What the paper leaves out is chosen here [A]: the C-alpha atoms, centered on their mean, in
nanometers; a fifth of the proteins is held out, the same for every seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from care.augmentation import RotationAugmenter
from care.config import AugmentationConfig, DataConfig
from care.data.dataset import Dataset, ImageSet
from care.data.fingerprints.proteins import proteins_path
from care.data.protein_files import Structures, survey_structures
from care.data.reporter import Reporter
from care.data.residues import Points
from care.errors import ConfigError, Problem
from care.system.rng import generator

_NANOMETERS = 0.1  # of an ångström
_TEST_SHARE = 5
_FEWEST = 2


class PointDataset(Dataset):
    """A data set of point clouds [N,P,4]: x, y, z in nanometers and 1, or zeros as padding."""

    def augmenter(self, config: AugmentationConfig) -> RotationAugmenter:  # noqa: ARG002 - images'
        """Rotates them; the configured augmentations are for images."""
        return RotationAugmenter()


def load_proteins(config: DataConfig, root: Path) -> PointDataset:
    """The proteins in a folder or an .npz file, four fifths for training.

    Args:
        config: ``path`` names folder or file; without one it is ``proteins`` or ``proteins.npz``.
        root: Where it lies.

    Raises:
        ConfigError: There is one protein only, or both a folder and a file without ``path``; and
            see :func:`care.data.protein_files.survey_structures`.
    """
    return _dataset(_read(config, root))


def _read(config: DataConfig, root: Path) -> Structures:
    path = root / proteins_path(config, root)
    structures = survey_structures(path, config.skip_corrupt)
    if len(structures.points) < _FEWEST:
        allowed = f"allowed: {_FEWEST} proteins or more, of which one is held out"
        raise ConfigError(str(path), [Problem("proteins", len(structures.points), allowed)])
    return structures


def _dataset(structures: Structures) -> PointDataset:
    clouds = _padded(list(structures.points.values()))
    order = generator(0, "proteins-split").permutation(len(clouds))
    held_out = max(1, len(clouds) // _TEST_SHARE)
    parts = [_part(clouds, np.sort(part)) for part in (order[held_out:], order[:held_out])]
    return PointDataset("proteins", parts[0], parts[1], (), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def prepare_proteins(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Read them once before anything starts, and report what is left out."""
    for line in _read(config, root).remarks():
        reporter.say(line)


def _padded(structures: list[Points]) -> Tensor:
    longest = max(map(len, structures))
    clouds = torch.zeros(len(structures), longest, 4)
    for cloud, points in zip(clouds, structures, strict=True):
        centered = points - points.mean(0, dtype=np.float64)
        cloud[: len(points), :3] = torch.from_numpy(centered * _NANOMETERS)
        cloud[: len(points), 3] = 1
    return clouds


def _part(clouds: Tensor, index: NDArray[np.int64]) -> ImageSet:
    rows = torch.from_numpy(index)
    return ImageSet(clouds[rows], torch.full((len(rows),), -1), {})
