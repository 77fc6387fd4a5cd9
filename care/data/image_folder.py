"""Image folders: ``train/`` and ``test/`` or ``val/``, each with one folder per class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

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
    """Image files as a source of a cache; see :class:`care.data.cache_parts.Source`.

    Attributes:
        files: The image files and their labels.
        hashed: Hashes of the data set's files.
    """

    name: str
    files: Files
    side: int
    hashed: HashedFiles
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        self.key = [RULE, *self._hashes()]

    def changed(self) -> bool:
        """Check whether a file's content changed since the source was created."""
        return self.key != [RULE, *self._hashes()]

    def __len__(self) -> int:
        return len(self.files.names)

    def read(self, start: int, stop: int) -> Block:
        """Decode files ``start`` to ``stop`` (exclusive)."""
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
        prefix = "" if below == "." else f"{below}/"
        return self.hashed.hashes([f"{prefix}{name}" for name in self.files.names])


def load_images(config: DataConfig, root: Path) -> Dataset:
    """Load the image folder at ``data.path`` from its cache."""
    classes, sources = _sources(config, root)
    return read_cached(config.name, classes, sources, root)


def prepare_images(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Build the cache of the image folder at ``data.path``, and report skipped files."""
    left_out = list_image_folder(config, root).left_out
    if left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        reporter.log(f"{config.path}: skipped: {counts}")
    _, sources = _sources(config, root)
    build_caches(sources, root, reporter)


def load_imagenet100(config: DataConfig, root: Path) -> Dataset:
    """Load 100 classes of an ImageNet folder, by default ``imagenet/`` with ``imagenet100.txt``."""
    return load_images(imagenet_config(config, root), root)


def prepare_imagenet100(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Build the cache of the 100 classes of ImageNet."""
    prepare_images(imagenet_config(config, root), root, reporter)


def read_cached(
    name: str,
    classes: tuple[str, ...],
    sources: tuple[FileSource, FileSource],
    root: Path,
    validation: NDArray[np.bool_] | None = None,
) -> Dataset:
    """Assemble a data set from the caches of its training and test images.

    Args:
        name: Name of the data set.
        classes: Class names by label.
        sources: Training and test images.
        root: The data root.
        validation: True for training images of the official validation part; None without one.
    """
    caches = [open_cache(source, root) for source in sources]
    splits = []
    for source, cache in zip(sources, caches, strict=True):
        labels = np.delete(np.array(source.files.labels, np.int64), list(cache.skipped))
        splits.append(ImageSet(cache.images, torch.from_numpy(labels), {}))
    train = splits[0]
    if validation is not None:
        kept = np.delete(validation, list(caches[0].skipped))
        train = replace(train, validation=torch.from_numpy(kept))
    return Dataset(name, train, splits[1], classes, caches[0].mean, caches[0].std)


def _sources(
    config: DataConfig, root: Path
) -> tuple[tuple[str, ...], tuple[FileSource, FileSource]]:
    """Return the class names, and the training and test files."""
    tree = list_image_folder(config, root)
    hashed = hashed_files(root, tree.path, config.class_list)
    side = config.pixels
    assert side is not None
    label = tree.path.replace("/", "_").strip("._") or "images"
    train, held_out = (
        FileSource(f"{label}-{files.folder.name}-{side}", files, side, hashed, config.skip_corrupt)
        for files in (tree.train, tree.held_out.shuffled())
    )
    return tree.classes, (train, held_out)
