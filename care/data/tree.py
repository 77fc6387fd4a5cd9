"""Trees of class folders: ``train/`` and ``test/`` or ``val/``, in each a folder for each class."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from care.config import DataConfig
from care.data import Dataset, ImageSet
from care.data.cache import Block, build_cache, open_cache
from care.data.decoding import RULE, SUFFIXES, decode
from care.data.preparation import Reporter
from care.errors import CareError, ConfigError, Problem, unknown_name
from care.randomness import generator

_HELD_OUT = ("test", "val")
_IMAGENET_CLASSES = "imagenet100.txt"


class Files(NamedTuple):
    """Image files of one split, sorted within each class.

    Attributes:
        folder: Where they lie.
        names: Relative to it.
        labels: Class of each.
    """

    folder: Path
    names: list[str]
    labels: list[int]

    def mixed(self) -> Files:
        """The same in a fixed random order: what looks at the first samples sees all classes."""
        order = generator(0, "held-out-order").permutation(len(self.names)).tolist()
        names, labels = ([values[place] for place in order] for values in (self.names, self.labels))
        return Files(self.folder, names, labels)


@dataclass
class FileSource:
    """Image files, to be cached; see :class:`care.data.cache.Source`."""

    name: str
    files: Files
    side: int
    skip_corrupt: bool = False
    key: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.key:
            self.key = [RULE, *map(self._stamp, self.files.names)]

    def __len__(self) -> int:
        return len(self.files.names)

    def read(self, start: int, stop: int) -> Block:
        """Decode some of the files."""
        pixels = np.zeros((stop - start, 3, self.side, self.side), np.uint8)
        modes: Counter[str] = Counter()
        failures = {}
        for row, name in enumerate(self.files.names[start:stop]):
            try:
                pixels[row], mode = decode(self.files.folder / name, self.side)
                modes[mode] += 1
            except OSError as error:
                failures[row] = f"{name}: {error}"
        return Block(pixels, dict(modes), failures)

    def _stamp(self, name: str) -> str:
        try:
            status = (self.files.folder / name).stat()
        except OSError:  # a link to nothing, which reading it will tell
            return f"{name}\tgone"
        return f"{name}\t{status.st_size}\t{status.st_mtime_ns}"


def load_images(config: DataConfig, root: Path) -> Dataset:
    """The tree at ``data.path``, from its cache."""
    classes, sources = _sources(config, root, config.path or "", config.class_list)
    return read_cached(config.name, classes, sources, root)


def prepare_images(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Decode the tree at ``data.path``."""
    _, sources = _sources(config, root, config.path or "", config.class_list)
    for source in sources:
        build_cache(source, root, reporter)


def load_imagenet100(config: DataConfig, root: Path) -> Dataset:
    """100 classes of an ImageNet tree, by default ``imagenet/`` with ``imagenet100.txt``."""
    return load_images(_imagenet(config, root), root)


def prepare_imagenet100(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Decode them."""
    prepare_images(_imagenet(config, root), root, reporter)


def _imagenet(config: DataConfig, root: Path) -> DataConfig:
    given = config.class_list or _IMAGENET_CLASSES
    path = config.path or "imagenet"
    if not (root / path).is_dir() or not (root / given).is_file():
        raise CareError(
            f"{root}: ImageNet-100 needs the folders {root / path}/train and {root / path}/val of "
            f"ImageNet (its licence admits no download from here) and the list of its classes, "
            f"{root / given}; the paper's is imagenet100.txt of the repository HobbitLong/CMC"
        )
    return config.model_copy(update={"path": path, "class_list": given})


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
    config: DataConfig, root: Path, path: str, class_list: str | None
) -> tuple[tuple[str, ...], tuple[FileSource, FileSource]]:
    """Classes, and the files of the training and the test split."""
    folder = root / path
    train, held_out = folder / "train", _held_out(folder)
    if not train.is_dir():
        raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")
    there = _folders(train)
    listed = _listed(root / class_list, there) if class_list else None
    classes = listed or there
    side = config.pixels
    assert side is not None
    label = path.replace("/", "_").strip("._") or "images"
    found = [
        FileSource(
            f"{label}-{split.name}-{side}",
            files if split == train else files.mixed(),
            side,
            config.skip_corrupt,
        )
        for split in (train, held_out)
        for files in [_files(split, classes, listed is not None)]
    ]
    return tuple(classes), (found[0], found[1])


def _held_out(folder: Path) -> Path:
    for name in _HELD_OUT:
        if (folder / name).is_dir():
            return folder / name
    raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")


def _listed(path: Path, there: list[str]) -> list[str]:
    """Class folders named in a file, each by a line or by the first word of it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        allowed = f"a readable text file with a class folder a line ({error})"
        raise _refuse("data.class_list", str(path), allowed) from error
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = [line if line in there else line.split()[0] for line in lines]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice or not names:
        given = f"{', '.join(twice)} twice" if twice else "an empty file"
        raise _refuse("data.class_list", given, "a class folder a line, each once")
    return sorted(names)


def _folders(split: Path) -> list[str]:
    folders = [entry.name for entry in split.iterdir() if entry.is_dir()]
    names = sorted(name for name in folders if not name.startswith("."))
    if not names:
        raise _refuse("data.path", str(split), "a folder for each class, with images in it")
    return names


def _files(split: Path, classes: list[str], listed: bool) -> Files:
    """The image files of ``classes``; all folders of the split must be among them, or listed."""
    there = _folders(split)
    problems = [
        unknown_name("data.class_list", name, there)
        for name in classes
        if listed and name not in there
    ]
    if not listed:
        strange = sorted(set(there) - set(classes))
        allowed = "allowed: only classes that train/ has too"
        problems = [Problem(f"{split.name}/", name, allowed) for name in strange]
    names, labels = [], []
    for label, name in enumerate(classes):
        files = _images_in(split / name) if name in there else []
        if name in there and not files:
            allowed = f"allowed: one image or more ({', '.join(SUFFIXES)})"
            problems.append(Problem(f"{split.name}/{name}", "an empty class folder", allowed))
        names += [f"{name}/{file}" for file in files]
        labels += [label] * len(files)
    if problems:
        raise ConfigError(str(split), problems)
    return Files(split, names, labels)


def _images_in(folder: Path) -> list[str]:
    """Image files in a folder and those below it, in torchvision's order; hidden ones are none."""
    names = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(where).relative_to(folder)
        images = [name for name in files if name.lower().endswith(SUFFIXES)]
        names += [(below / name).as_posix() for name in images if not name.startswith(".")]
    return sorted(names, key=lambda name: name.rpartition("/")[::2])


def _refuse(field_name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError("data", [Problem(field_name, value, f"allowed: {allowed}")])
