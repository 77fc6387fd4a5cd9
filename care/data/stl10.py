"""STL-10: 5,000 labelled and 100,000 unlabelled training and 8,000 test images of 96 × 96."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from care.config import DataConfig
from care.data.cache import build_caches, open_cache
from care.data.cache_parts import Block
from care.data.dataset import Dataset, ImageSet
from care.data.download import Remote, fetch
from care.data.fingerprints.fingerprint import hashed_files
from care.data.fingerprints.hashes import HashedFiles
from care.data.reporter import Reporter
from care.data.verified_files import are_intact
from care.errors import CareError
from care.system.torchvision import datasets, functional

_SIDE = 96
_FOLDER = datasets.STL10.base_folder
_TRAIN = ("train_X.bin", "unlabeled_X.bin")
_TEST = ("test_X.bin",)
_CLASSES = 10
_ADVICE = "; 'care data get stl10' unpacks it again"
_NAMES = "class_names.txt"
_OTHERS = ("train_y.bin", "test_y.bin", _NAMES)
# docs/paper.md §4 [C].
_MEAN, _STD = (0.4406, 0.4273, 0.3858), (0.2312, 0.2265, 0.2237)


@dataclass
class BinarySource:
    """STL-10's binary files as a source of a cache; see :class:`care.data.cache_parts.Source`."""

    name: str
    hashed: HashedFiles
    files: tuple[str, ...]
    side: int
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        self.key = self.hashed.hashes(self.files)
        self._images = [_map_images(self.hashed.folder / name) for name in self.files]

    def changed(self) -> bool:
        """Check whether a file's content changed since the source was created."""
        return self.key != self.hashed.hashes(self.files)

    def __len__(self) -> int:
        return sum(map(len, self._images))

    def read(self, start: int, stop: int) -> Block:
        """Read images ``start`` to ``stop`` (exclusive), resized with antialiasing."""
        pixels = np.concatenate(self._slices(start, stop))
        # The files are column-major: channels, columns, rows.
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 1, 3, 2)))
        if self.side != _SIDE:
            images = functional.resize(images, [self.side, self.side], antialias=True)
        return Block(images.numpy(), {}, {})

    def _slices(self, start: int, stop: int) -> list[NDArray[np.uint8]]:
        slices, first = [], 0
        for images in self._images:
            slices.append(np.asarray(images[max(0, start - first) : max(0, stop - first)]))
            first += len(images)
        return slices


def load_stl10(config: DataConfig, root: Path) -> Dataset:
    """Load STL-10 from its cache; unlabelled training images follow the labelled ones, as -1.

    Raises:
        CareError: Files are missing, not decoded yet, or disagree about the number of images.
    """
    folder = root / _FOLDER
    train, test = (open_cache(source, root) for source in _sources(config, root))
    classes = _read_classes(folder / _NAMES)
    train_labels = torch.full((len(train.images),), -1)
    labelled = _read_labels(folder / "train_y.bin", folder / "train_X.bin", len(classes))
    train_labels[: len(labelled)] = labelled
    test_labels = _read_labels(folder / "test_y.bin", folder / "test_X.bin", len(classes))
    splits = ImageSet(train.images, train_labels, {}), ImageSet(test.images, test_labels, {})
    return Dataset("stl10", *splits, classes, _MEAN, _STD)


def prepare_stl10(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Download STL-10 unless it is complete, and build its cache."""
    try:
        load_stl10(config, root)
    except CareError:  # only without a cache: checksums of 3 GB take long
        kind = datasets.STL10
        archive = Remote(kind.url, kind.tgz_md5, kind.filename, unpack="")
        fetch([archive], lambda: _is_unpacked(root / _FOLDER), root, reporter)
    build_caches(_sources(config, root), root, reporter)


def _is_unpacked(folder: Path) -> bool:
    try:
        _read_classes(folder / _NAMES)  # the one file whose checksum torchvision does not know
    except CareError:
        return False
    return are_intact(folder, [*datasets.STL10.train_list, *datasets.STL10.test_list])


def _sources(config: DataConfig, root: Path) -> list[BinarySource]:
    folder, side = root / _FOLDER, config.pixels
    assert side is not None
    for name in (*_TRAIN, *_TEST, *_OTHERS):
        if not (folder / name).is_file():
            raise CareError(f"{folder / name}: missing; 'care data get stl10' downloads it")
    hashed = hashed_files(root, _FOLDER)
    return [
        BinarySource(f"stl10-{split}-{side}", hashed, files, side)
        for split, files in (("train", _TRAIN), ("test", _TEST))
    ]


def _map_images(path: Path) -> NDArray[np.uint8]:
    image = 3 * _SIDE * _SIDE
    size = path.stat().st_size
    if size == 0 or size % image:
        what = f"damaged, its {size} bytes are no multiple of an image's {image}"
        raise CareError(f"{path}: {what}{_ADVICE}")
    return np.memmap(path, np.uint8, "r").reshape(-1, 3, _SIDE, _SIDE)


def _read_labels(path: Path, images: Path, classes: int) -> torch.Tensor:
    """Read labels from 0 on, int64 [n]; the file counts from 1.

    Raises:
        CareError: The labels are not one per image, or not in [1, ``classes``].
    """
    numbers = np.fromfile(path, np.uint8)
    count = len(_map_images(images))
    if len(numbers) != count:
        raise CareError(f"{path}: damaged, {len(numbers)} labels for {count} images{_ADVICE}")
    if numbers.min() < 1 or numbers.max() > classes:
        raise CareError(f"{path}: damaged, labels that are not from 1 to {classes}{_ADVICE}")
    return torch.from_numpy(numbers.astype(np.int64)) - 1


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(path.read_bytes().decode("utf-8", "replace").split())
    except OSError as error:
        raise CareError(f"{path}: {error.strerror}{_ADVICE}") from error
    if len(names) != _CLASSES:
        raise CareError(f"{path}: damaged, {len(names)} names of {_CLASSES} classes{_ADVICE}")
    return names
