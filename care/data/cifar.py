"""CIFAR-10 and CIFAR-100, 50,000 training and 10,000 test images of 32 × 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from care.config import DataConfig
from care.data import Dataset, ImageSet
from care.data.download import Remote, fetch
from care.data.preparation import Reporter
from care.errors import CareError
from care.vision import datasets

# CARE.md section 4 [C].
_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_CIFAR100_MEAN, _CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def load_cifar10(config: DataConfig, root: Path) -> Dataset:
    """CIFAR-10, read by torchvision, checksums and all."""
    train, test, classes = _read(datasets.CIFAR10, config, root)
    return Dataset("cifar10", train, test, classes, _CIFAR10_MEAN, _CIFAR10_STD)


def prepare_cifar10(config: DataConfig, root: Path, reporter: Reporter) -> None:  # noqa: ARG001
    """Download it where it is not there."""
    _fetch(datasets.CIFAR10, root, reporter)


def load_cifar100(config: DataConfig, root: Path) -> Dataset:
    """CIFAR-100 with its 100 fine classes."""
    train, test, classes = _read(datasets.CIFAR100, config, root)
    return Dataset("cifar100", train, test, classes, _CIFAR100_MEAN, _CIFAR100_STD)


def prepare_cifar100(config: DataConfig, root: Path, reporter: Reporter) -> None:  # noqa: ARG001
    """Download it where it is not there."""
    _fetch(datasets.CIFAR100, root, reporter)


def _read(kind: Any, config: DataConfig, root: Path) -> tuple[ImageSet, ImageSet, tuple[str, ...]]:
    try:
        splits = [kind(root, train=train) for train in (True, False)]
    except RuntimeError as error:
        raise CareError(
            f"{root / kind.base_folder}: {config.name!r} is not there, or damaged; "
            f"'care data get {config.name}' downloads it"
        ) from error
    train, test = map(_as_set, splits)
    return train, test, tuple(splits[0].classes)


def _as_set(split: Any) -> ImageSet:
    images = np.ascontiguousarray(split.data.transpose(0, 3, 1, 2))
    return ImageSet(torch.from_numpy(images), torch.tensor(split.targets), {})


def _fetch(kind: Any, root: Path, reporter: Reporter) -> None:
    remote = Remote(kind.url, kind.tgz_md5, kind.filename)
    fetch(lambda download: kind(root, download=download), [remote], root, reporter)
