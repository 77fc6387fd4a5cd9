"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32 × 32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from care.config import DataConfig
from care.data.dataset import Dataset, ImageSet
from care.data.download import Remote, fetch
from care.data.reporter import Reporter
from care.data.verified_files import are_intact, read_checked, unpickle
from care.errors import CareError
from care.system.torchvision import datasets

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
# docs/paper.md §4 [C].
_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_CIFAR100_MEAN, _CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def load_cifar10(config: DataConfig, root: Path) -> Dataset:
    """Load CIFAR-10 from files with the published checksums."""
    train, test, classes = _read(datasets.CIFAR10, config, root)
    return Dataset("cifar10", train, test, classes, _CIFAR10_MEAN, _CIFAR10_STD)


def prepare_cifar10(config: DataConfig, root: Path, reporter: Reporter) -> None:  # noqa: ARG001
    """Download CIFAR-10 unless its files are complete."""
    _fetch(datasets.CIFAR10, root, reporter)


def load_cifar100(config: DataConfig, root: Path) -> Dataset:
    """Load CIFAR-100 with its 100 fine classes from files with the published checksums."""
    train, test, classes = _read(datasets.CIFAR100, config, root)
    return Dataset("cifar100", train, test, classes, _CIFAR100_MEAN, _CIFAR100_STD)


def prepare_cifar100(config: DataConfig, root: Path, reporter: Reporter) -> None:  # noqa: ARG001
    """Download CIFAR-100 unless its files are complete."""
    _fetch(datasets.CIFAR100, root, reporter)


def _read(kind: Any, config: DataConfig, root: Path) -> tuple[ImageSet, ImageSet, tuple[str, ...]]:
    folder = root / kind.base_folder
    try:
        meta = unpickle(read_checked(folder / kind.meta["filename"], kind.meta["md5"]))
        classes = tuple(map(str, _value(meta, kind.meta["key"])))
        train, test = (
            _split(folder, files, len(classes)) for files in (kind.train_list, kind.test_list)
        )
    except CareError as error:
        raise CareError(
            f"{folder}: {config.name!r} is missing or damaged; "
            f"'care data get {config.name}' downloads it ({error})"
        ) from error
    return train, test, classes


def _split(folder: Path, files: Sequence[Sequence[str]], classes: int) -> ImageSet:
    images, labels = [], []
    for name, md5 in files:
        pixels, numbers = _batch(unpickle(read_checked(folder / name, md5)), classes)
        images.append(pixels)
        labels.append(numbers)
    return ImageSet(torch.from_numpy(np.concatenate(images)), torch.cat(labels), {})


def _batch(content: Any, classes: int) -> tuple[NDArray[np.uint8], torch.Tensor]:
    """Return images, uint8 [n,3,32,32], and labels, int64 [n], of one unpickled file.

    Raises:
        CareError: Images have another type or shape, or labels are not in [0, ``classes``).
    """
    pixels = _value(content, "data")
    labels = _value(content, "labels" if "labels" in content else "fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise CareError("its images are not a 2-d array of bytes")
    if pixels.shape[1] != _PIXELS or len(pixels) != len(labels):
        raise CareError(f"{len(labels)} labels for images {list(pixels.shape)}")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise CareError(f"its labels are not integers from 0 to {classes - 1}")
    return pixels.reshape(-1, 3, _SIDE, _SIDE), torch.tensor(labels, dtype=torch.int64)


def _value(content: Any, key: str) -> Any:
    if not isinstance(content, dict) or not isinstance(content.get(key), list | np.ndarray):
        raise CareError(f"no list or array {key!r}")
    return content[key]


def _fetch(kind: Any, root: Path, reporter: Reporter) -> None:
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    folder = root / kind.base_folder
    archive = Remote(kind.url, kind.tgz_md5, kind.filename, unpack="")
    fetch([archive], lambda: are_intact(folder, files), root, reporter)
