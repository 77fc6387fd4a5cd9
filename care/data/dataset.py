"""Data sets with a fixed split: images or point clouds, labels, and known factors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from care.augmentation import Augmenter, ImageAugmenter
from care.config import AugmentationConfig, DataConfig, TrialConfig
from care.data.subset import select_balanced
from care.errors import ConfigError, Problem
from care.plugins import load
from care.registry import MONITORED

_RESIZE_BATCH = 1000
# The rest of an accelerator's memory is for the training.
_DEVICE_SHARE = 0.5
_FEWEST_HELD_OUT = 2
_CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class ImageSet:
    """Samples of one split.

    Attributes:
        images: uint8 [N,3,H,W], in memory or mapped from a file; or point clouds, float32 [N,P,4].
        labels: Classes, int64 [N]; -1 without a label.
        factors: Known factors by name, float32 [N]; ``hue`` in turns of the circle, [0, 1).
        validation: True for samples of the data set's official validation part, bool [N]; None
            without one. They are training samples like the others, except where a setting of a
            probe is chosen.
    """

    images: Tensor
    labels: Tensor
    factors: dict[str, Tensor]
    validation: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> ImageSet:
        """Copy the split to ``device``, except images that would fill half of its memory."""
        factors = {name: values.to(device) for name, values in self.factors.items()}
        images = self.images.to(device) if _fits(self.images, device) else self.images
        return ImageSet(images, self.labels.to(device), factors, self.validation)

    def batch(self, index: Tensor, device: torch.device) -> Tensor:
        """Return the images at ``index`` [B] on ``device``.

        A copy from host memory to a GPU is asynchronous: it may still run on return.
        """
        if device.type != "cuda" or self.images.is_cuda:
            return self.images[index.to(self.images.device)].to(device)
        shape = (len(index), *self.images.shape[1:])
        pinned = torch.empty(shape, dtype=self.images.dtype, pin_memory=True)
        torch.index_select(self.images, 0, index.cpu(), out=pinned)
        return pinned.to(device, non_blocking=True)

    def part(self, index: Tensor) -> ImageSet:
        """Select the samples at ``index`` [n]."""
        factors = {name: values[index] for name, values in self.factors.items()}
        validation = None if self.validation is None else self.validation[index.cpu()]
        return ImageSet(self.images[index], self.labels[index], factors, validation)

    def labelled(self) -> ImageSet:
        """Select the samples with a label."""
        known = self.labels >= 0
        return self if bool(known.all()) else self.part(known.nonzero().flatten().cpu())


@dataclass(frozen=True)
class Dataset:
    """A data set with its fixed split.

    Attributes:
        name: Name in the configuration.
        train: Training samples.
        test: Held-out samples.
        classes: Names of the classes, by label.
        mean: Mean of each channel over the training images, in [0, 1].
        std: Standard deviation of each channel over the training images, in [0, 1].
    """

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def augmenter(self, config: AugmentationConfig) -> Augmenter[Any]:
        """Build the augmenter of the data set's images from the configured distribution."""
        height, width = self.train.images.shape[-2:]
        red, green, blue = (std or 1.0 for std in self.std)  # 0 of a constant channel: not divided
        return ImageAugmenter(config, (height, width), self.mean, (red, green, blue))

    def to(self, device: torch.device | str) -> Dataset:
        """Copy both splits to ``device``; see :meth:`ImageSet.to`."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def note_constant_channels(dataset: Dataset) -> list[str]:
    """Return a note for the user if a channel is constant over the training images.

    Its standard deviation, 0, is replaced by 1: normalization only subtracts the channel's mean.
    """
    channels = [name for name, std in zip(_CHANNELS, dataset.std, strict=True) if std == 0]
    if not channels:
        return []
    what = "channel" if len(channels) == 1 else "channels"
    return [
        f"data: the {what} {', '.join(channels)} of the training images never "
        f"{'changes' if len(channels) == 1 else 'change'}, so a standard deviation of 1 is used"
    ]


def load_dataset(config: DataConfig, root: Path) -> Dataset:
    """Load a data set, or a part of it, on the CPU; reads files and writes none.

    Args:
        config: Name, size of the images and number of samples.
        root: Folder of the data sets' files.

    Raises:
        ConfigError: ``train_images`` or ``test_images`` exceeds the data set.
        CareError: Files are missing or damaged; names them and the command that gets them.
    """
    dataset: Dataset = load(config.source.loader)(config, root)
    train = _part(dataset.train, config.train_images, "train")
    test = _part(dataset.test, config.test_images, "test")
    side = config.pixels
    if side is not None and dataset.train.images.shape[-1] != side:
        train, test = _resized(train, side), _resized(test, side)
    return replace(dataset, train=train, test=test)


def content_hash(dataset: Dataset) -> str:
    """Hash every sample, label, factor and class name to 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for split in (dataset.train, dataset.test):
        tensors = {"images": split.images, "labels": split.labels, **split.factors}
        for name, values in tensors.items():
            digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
            digest.update(np.ascontiguousarray(values.cpu().numpy()).data)
    digest.update("\n".join(dataset.classes).encode())
    return digest.hexdigest()


def check_dataset(config: TrialConfig, dataset: Dataset) -> None:
    """Check that a loaded data set has enough samples and classes for a trial.

    A configuration alone shows this only for data sets of known size.

    Raises:
        ConfigError: Names each wrong field.
    """
    samples, labelled = len(dataset.train), int((dataset.train.labels >= 0).sum())
    needs = [("training.batch_size", config.training.batch_size, samples, "")]
    if config.data.source.kind == "images":
        neighbors = config.evaluation.knn_neighbors
        needs.append(("evaluation.knn_neighbors", neighbors, labelled, "labelled "))
    problems = [
        Problem(field, value, f"allowed: at most {most}, the number of {kind}training samples")
        for field, value, most, kind in needs
        if value > most
    ]
    problems += _single_class(config.data, dataset, "data")
    problems += _unfit_monitor(config, dataset)
    if not problems and len(dataset.test) < _FEWEST_HELD_OUT:
        allowed = f"allowed: data with {_FEWEST_HELD_OUT} held-out samples or more, to compare"
        problems.append(Problem("data.name", config.data.name, allowed))
    if problems:
        raise ConfigError("data", problems)


def _unfit_monitor(config: TrialConfig, dataset: Dataset) -> Iterator[Problem]:
    """Yield the problems of ``evaluation.monitor`` with a loaded data set."""
    monitor, field = config.evaluation.monitor, "evaluation.monitor"
    labels = dataset.train.labels[dataset.train.labels >= 0]
    needing = [name for name in monitor.measures if MONITORED[name].classes]
    if needing and not (dataset.classes and bool((dataset.test.labels >= 0).any())):
        allowed = f"allowed: measures without classes, which {config.data.name!r} have not"
        yield Problem(f"{field}.measures", needing[0], allowed)
        return
    sizes = (
        ("train_images", monitor.train_images, len(labels), "labelled training samples"),
        ("test_images", monitor.test_images, len(dataset.test), "test samples"),
    )
    for name, part, size, kind in sizes:
        if part is not None and monitor.uses_parts and part > size:
            yield Problem(f"{field}.{name}", part, f"allowed: at most {size}, the number of {kind}")
    classes = len(torch.unique(labels))
    if needing and monitor.train_part < classes:
        allowed = f"allowed: at least {classes}, one of each class"
        yield Problem(f"{field}.train_images", monitor.train_part, allowed)


def check_transfer(data: DataConfig, dataset: Dataset, field: str) -> None:
    """Check that a linear probe can be trained on a transfer data set.

    Args:
        data: Configuration of the data set.
        dataset: The data set.
        field: Dotted path of ``data`` in the trial's configuration.

    Raises:
        ConfigError: The labelled training samples have fewer than two classes.
    """
    problems = _single_class(data, dataset, field)
    if problems:
        raise ConfigError("data", problems)


def _single_class(data: DataConfig, dataset: Dataset, field: str) -> list[Problem]:
    """Return the problem of a data set with classes whose training samples have fewer than two."""
    labels = dataset.train.labels
    present = torch.unique(labels[labels >= 0]).tolist()
    if not dataset.classes or len(present) > 1:
        return []
    choices = ("train_images", "class_list", "name")
    cause = next(name for name in choices if getattr(data, name) is not None)
    only = f"are all of {dataset.classes[present[0]]!r}" if present else "have no labels"
    allowed = f"allowed: two classes or more, for a linear probe; the training samples {only}"
    return [Problem(f"{field}.{cause}", getattr(data, cause), allowed)]


def _part(split: ImageSet, count: int | None, name: str) -> ImageSet:
    if count is None or count == len(split):
        return split
    if count > len(split):
        allowed = f"allowed: at most {len(split)}, the number of {name} images"
        raise ConfigError("data", [Problem(f"data.{name}_images", count, allowed)])
    return split.part(select_balanced(split.labels, count))


def _resized(split: ImageSet, side: int) -> ImageSet:
    return replace(split, images=resize_images(split.images, side))


def resize_images(images: Tensor, side: int) -> Tensor:
    """Resize images [N,3,H,W] to ``side`` × ``side``, antialiased bilinear."""
    from care.system.torchvision import functional  # takes seconds

    parts = torch.split(images, _RESIZE_BATCH)
    return torch.cat([functional.resize(part, [side, side], antialias=True) for part in parts])


def _fits(images: Tensor, device: torch.device | str) -> bool:
    if torch.device(device).type != "cuda":
        return True
    # Not the free memory: it changes while trials run, and where the images lie changes last bits.
    _, total = torch.cuda.mem_get_info(torch.device(device))
    return images.nbytes < _DEVICE_SHARE * total
