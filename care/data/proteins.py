"""Proteins as point clouds for the protein experiment (docs/paper.md §7).

The paper leaves the details open. Chosen here [A]: C-alpha atoms, centered on their mean, in
nanometers; a fifth of the proteins is held out, one split for all seeds.
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
from care.data.reporter import Reporter
from care.data.residues import Points
from care.data.structures import Structures, survey_structures
from care.errors import ConfigError, Problem
from care.system.rng import generator

_NANOMETERS = 0.1  # of an ångström
_TEST_SHARE = 5  # one of so many proteins is held out
_FEWEST = 2


class PointDataset(Dataset):
    """A data set of point clouds [N,P,4]: x, y, z in nanometers and 1, or zeros as padding."""

    def augmenter(self, config: AugmentationConfig) -> RotationAugmenter:  # noqa: ARG002 - images
        """Build the augmenter that rotates point clouds; the configured ones are for images."""
        return RotationAugmenter()


def load_proteins(config: DataConfig, root: Path) -> PointDataset:
    """Load the proteins of a folder or an .npz file, four fifths for training.

    Args:
        config: ``path`` names the folder or file; by default ``proteins`` or ``proteins.npz``.
        root: Folder of the data sets' files.

    Raises:
        ConfigError: Fewer than two proteins, or both a folder and a file without ``path``. Also
            see :func:`care.data.structures.survey_structures`.
    """
    return _build_dataset(_read(config, root))


def _read(config: DataConfig, root: Path) -> Structures:
    path = root / proteins_path(config, root)
    structures = survey_structures(path, config.skip_corrupt)
    if len(structures.points) < _FEWEST:
        allowed = f"allowed: {_FEWEST} proteins or more, of which one is held out"
        raise ConfigError(str(path), [Problem("proteins", len(structures.points), allowed)])
    return structures


def _build_dataset(structures: Structures) -> PointDataset:
    clouds = _pad(list(structures.points.values()))
    order = generator(0, "proteins-split").permutation(len(clouds))
    held_out = max(1, len(clouds) // _TEST_SHARE)
    train, test = (_select(clouds, np.sort(part)) for part in (order[held_out:], order[:held_out]))
    return PointDataset("proteins", train, test, (), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def prepare_proteins(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Read the proteins once before a trial starts, and report left out files."""
    for line in _read(config, root).remarks():
        reporter.log(line)


def _pad(structures: list[Points]) -> Tensor:
    longest = max(map(len, structures))
    clouds = torch.zeros(len(structures), longest, 4)
    for cloud, points in zip(clouds, structures, strict=True):
        centered = points - points.mean(0, dtype=np.float64)
        cloud[: len(points), :3] = torch.from_numpy(centered * _NANOMETERS)
        cloud[: len(points), 3] = 1
    return clouds


def _select(clouds: Tensor, index: NDArray[np.int64]) -> ImageSet:
    rows = torch.from_numpy(index)
    return ImageSet(clouds[rows], torch.full((len(rows),), -1), {})
