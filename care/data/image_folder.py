"""Trees of class folders: ``train/`` and ``test/`` or ``val/``, in each a folder for each class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from care.config import DataConfig
from care.data.cache import build_caches, open_cache
from care.data.cache_parts import Block
from care.data.dataset import Dataset, ImageSet
from care.data.decoding import RULE, decode, regular_file
from care.data.fingerprints.fingerprint import hashed_files
from care.data.fingerprints.hashes import HashedFiles
from care.data.fingerprints.image_folder import Files, imagenet_config, list_image_folder
from care.data.reporter import Reporter


@dataclass
class FileSource:
    """Image files, to be cached; see :class:`care.data.cache.Source`.

    Attributes:
        hashed: Their hashes, and perhaps those of other files of the set.
    """

    name: str
    files: Files
    side: int
    hashed: HashedFiles
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        self.key = [RULE, *self._hashes()]

    def changed(self) -> bool:
        """Whether a file is another than it was."""
        return self.key != [RULE, *self._hashes()]

    def __len__(self) -> int:
        return len(self.files.names)

    def read(self, start: int, stop: int) -> Block:
        """Decode some of the files."""
        pixels = np.zeros((stop - start, 3, self.side, self.side), np.uint8)
        modes: Counter[str] = Counter()
        failures = {}
        for row, name in enumerate(self.files.names[start:stop]):
            try:
                pixels[row], mode = decode(regular_file(self.files.folder / name), self.side)
                modes[mode] += 1
            except OSError as error:
                failures[row] = f"{name}: {error}"
        return Block(pixels, dict(modes), failures)

    def _hashes(self) -> list[str]:
        below = self.files.folder.relative_to(self.hashed.folder).as_posix()
        return self.hashed.hashes([f"{below}/{name}" for name in self.files.names])


def load_images(config: DataConfig, root: Path) -> Dataset:
    """The tree at ``data.path``, from its cache."""
    classes, sources = _sources(config, root)
    return read_cached(config.name, classes, sources, root)


def prepare_images(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Decode the tree at ``data.path``."""
    left_out = list_image_folder(config, root).left_out
    if left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        reporter.say(f"{config.path}: passed over: {counts}")
    _, sources = _sources(config, root)
    build_caches(sources, root, reporter)


def load_imagenet100(config: DataConfig, root: Path) -> Dataset:
    """100 classes of an ImageNet tree, by default ``imagenet/`` with ``imagenet100.txt``."""
    return load_images(imagenet_config(config, root), root)


def prepare_imagenet100(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Decode them."""
    prepare_images(imagenet_config(config, root), root, reporter)


def read_cached(
    name: str, classes: tuple[str, ...], sources: tuple[FileSource, FileSource], root: Path
) -> Dataset:
    """Training and test images from their caches."""
    caches = [open_cache(source, root) for source in sources]
    parts = []
    for source, cache in zip(sources, caches, strict=True):
        labels = np.delete(np.array(source.files.labels, np.int64), list(cache.skipped))
        parts.append(ImageSet(cache.images, torch.from_numpy(labels), {}))
    return Dataset(name, parts[0], parts[1], classes, caches[0].mean, caches[0].std)


def _sources(
    config: DataConfig, root: Path
) -> tuple[tuple[str, ...], tuple[FileSource, FileSource]]:
    """Classes, and the files of the training and the test split."""
    tree = list_image_folder(config, root)
    hashed = hashed_files(root, tree.path, config.class_list)
    side = config.pixels
    assert side is not None
    label = tree.path.replace("/", "_").strip("._") or "images"
    train, held_out = (
        FileSource(f"{label}-{files.folder.name}-{side}", files, side, hashed, config.skip_corrupt)
        for files in (tree.train, tree.held_out.mixed())
    )
    return tree.classes, (train, held_out)
