"""STL-10: 5,000 labelled and 100,000 unlabelled training and 8,000 test images of 96 × 96."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from care.config import DataConfig
from care.data import Dataset, ImageSet
from care.data.cache import Block, build_cache, open_cache
from care.data.download import Remote, fetch
from care.data.preparation import Reporter
from care.data_files.fingerprint import hashed_files
from care.data_files.hashes import HashedFiles
from care.errors import CareError
from care.vision import datasets, functional

_SIDE = 96
_FOLDER = datasets.STL10.base_folder
_TRAIN = ("train_X.bin", "unlabeled_X.bin")
_TEST = ("test_X.bin",)
_OTHERS = ("train_y.bin", "test_y.bin", "class_names.txt")
# CARE.md section 4 [C].
_MEAN, _STD = (0.4406, 0.4273, 0.3858), (0.2312, 0.2265, 0.2237)


@dataclass
class BinarySource:
    """Images of STL-10's own files, to be cached; see :class:`care.data.cache.Source`."""

    name: str
    hashed: HashedFiles
    files: tuple[str, ...]
    side: int
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        self.key = self.hashed.hashes(self.files)
        self._images = [_mapped(self.hashed.folder / name) for name in self.files]

    def changed(self) -> bool:
        """Whether a file is another than it was."""
        return self.key != self.hashed.hashes(self.files)

    def __len__(self) -> int:
        return sum(map(len, self._images))

    def read(self, start: int, stop: int) -> Block:
        """Some of the images, resized with antialiasing."""
        pixels = np.concatenate(list(self._pieces(start, stop)))
        # The files are column-major: channels, columns, rows.
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 1, 3, 2)))
        if self.side != _SIDE:
            images = functional.resize(images, [self.side, self.side], antialias=True)
        return Block(images.numpy(), {}, {})

    def _pieces(self, start: int, stop: int) -> list[NDArray[np.uint8]]:
        pieces, first = [], 0
        for images in self._images:
            pieces.append(np.asarray(images[max(0, start - first) : max(0, stop - first)]))
            first += len(images)
        return pieces


def load_stl10(config: DataConfig, root: Path) -> Dataset:
    """Training images with labels where they have any, from the cache."""
    folder = root / _FOLDER
    train, test = (open_cache(source, root) for source in _sources(config, root))
    labels = torch.full((len(train.images),), -1)
    known = _labels(folder / "train_y.bin")
    labels[: len(known)] = known
    classes = tuple((folder / "class_names.txt").read_text().split())
    parts = (
        ImageSet(train.images, labels, {}),
        ImageSet(test.images, _labels(folder / "test_y.bin"), {}),
    )
    return Dataset("stl10", *parts, classes, _MEAN, _STD)


def prepare_stl10(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Download it where it is not there, and bring its images to their side."""
    try:
        load_stl10(config, root)
    except CareError:  # not decoded, so that the checksums of its 3 GB are to be looked at
        kind = datasets.STL10
        remote = Remote(kind.url, kind.tgz_md5, kind.filename)
        fetch(lambda download: kind(root, download=download), [remote], root, reporter)
    for source in _sources(config, root):
        build_cache(source, root, reporter)


def _sources(config: DataConfig, root: Path) -> list[BinarySource]:
    folder, side = root / _FOLDER, config.pixels
    assert side is not None
    for name in (*_TRAIN, *_TEST, *_OTHERS):
        if not (folder / name).is_file():
            raise CareError(f"{folder / name}: not there; 'care data get stl10' downloads it")
    hashed = hashed_files(root, _FOLDER)
    return [
        BinarySource(f"stl10-{split}-{side}", hashed, files, side)
        for split, files in (("train", _TRAIN), ("test", _TEST))
    ]


def _mapped(path: Path) -> NDArray[np.uint8]:
    image = 3 * _SIDE * _SIDE
    size = path.stat().st_size
    if size == 0 or size % image:
        raise CareError(f"{path}: damaged, its {size} bytes are no multiple of an image's {image}")
    return np.memmap(path, np.uint8, "r").reshape(-1, 3, _SIDE, _SIDE)


def _labels(path: Path) -> torch.Tensor:
    """Classes from 0 on; the file counts from 1."""
    return torch.from_numpy(np.fromfile(path, np.uint8).astype(np.int64)) - 1
