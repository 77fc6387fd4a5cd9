"""The files of trees of class folders: ``train/`` and ``test/`` or ``val/``, each with classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from care.config import DataConfig
from care.errors import CareError, ConfigError, Problem, unknown_name
from care.system.rng import generator

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
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


class ImageFolder(NamedTuple):
    """A tree of class folders.

    Attributes:
        path: Relative to the data root.
        classes: Names by label.
        train: Training files.
        held_out: Test files, sorted within each class.
        left_out: Why files and folders are passed over, with their number.
    """

    path: str
    classes: tuple[str, ...]
    train: Files
    held_out: Files
    left_out: Counter[str]


def list_image_folder(config: DataConfig, root: Path) -> ImageFolder:
    """List the files of the tree at ``data.path``.

    Raises:
        ConfigError: There is no such tree, or its folders do not fit each other or the class list,
            or a link leads back to a folder above it.
        CareError: A folder cannot be listed.
    """
    path, left_out = config.path or "", Counter[str]()
    folder = root / path
    train = folder / "train"
    if not train.is_dir():
        raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")
    there = _class_folders(train, left_out)
    listed = _listed(root / config.class_list, there) if config.class_list else None
    classes = listed or there
    held_out = _held_out(folder, classes, left_out)
    inside = _class_folders(held_out, left_out)
    parts = [
        _files(split, folders, classes, listed is not None, left_out)
        for split, folders in ((train, there), (held_out, inside))
    ]
    return ImageFolder(path, tuple(classes), parts[0], parts[1], left_out)


def imagenet_config(config: DataConfig, root: Path) -> DataConfig:
    """Fill in where ImageNet and the list of its 100 classes lie.

    Raises:
        CareError: One of them is not there; says where to get it.
    """
    given = config.class_list or _IMAGENET_CLASSES
    path = config.path or "imagenet"
    if not (root / path).is_dir() or not (root / given).is_file():
        raise CareError(
            f"{root}: ImageNet-100 needs the folders {root / path}/train and {root / path}/val of "
            f"ImageNet (its licence admits no download from here) and the list of its classes, "
            f"{root / given}; the paper's is imagenet100.txt of the repository HobbitLong/CMC"
        )
    return config.model_copy(update={"path": path, "class_list": given})


def _held_out(folder: Path, classes: Collection[str], left_out: Counter[str]) -> Path:
    """Choose test/, or val/ where test/ has none of the classes: ImageNet's test/ has no labels."""
    there = [folder / name for name in _HELD_OUT if (folder / name).is_dir()]
    if not there:
        raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")
    labelled = [split for split in there if any((split / name).is_dir() for name in classes)]
    chosen = (labelled or there)[0]
    for other in there[: there.index(chosen)]:
        left_out[f"folder {other.name}/, as it has none of the classes"] += 1
    return chosen


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


def _class_folders(split: Path, left_out: Counter[str]) -> list[str]:
    names = []
    for entry in _entries(split):
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif _is_folder(entry):
            names.append(entry.name)
        elif entry.is_symlink() and not Path(entry.path).is_file():
            raise _refuse(f"{split.name}/{entry.name}", "a link to nothing", "a class folder")
        else:
            left_out[f"in {split.name}/ itself, not in a class folder"] += 1
    if not names:
        raise _refuse("data.path", str(split), "a folder for each class, with images in it")
    return sorted(names)


def _files(
    split: Path, there: list[str], classes: list[str], listed: bool, left_out: Counter[str]
) -> Files:
    """The image files of ``classes``; all folders of the split must be among them, or listed."""
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
        files = _images_in(split, name, left_out) if name in there else []
        if name in there and not files:
            allowed = f"allowed: one image or more ({', '.join(SUFFIXES)})"
            problems.append(Problem(f"{split.name}/{name}", "an empty class folder", allowed))
        names += [f"{name}/{file}" for file in files]
        labels += [label] * len(files)
    if problems:
        raise ConfigError(str(split), problems)
    return Files(split, names, labels)


def _images_in(split: Path, name: str, left_out: Counter[str]) -> list[str]:
    """Image files of a class and the folders below it, in torchvision's order."""
    names = []
    todo: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while todo:
        below, above = todo.pop()
        folder = split / name / below
        here = _identity(folder)
        if here in above:
            link = f"{split.name}/{name}/{below}"
            raise _refuse(link, "a link to a folder above it", "links to folders elsewhere")
        for entry in _entries(folder):
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif _is_folder(entry):
                todo.append((f"{below}{entry.name}/", above | {here}))
            elif entry.name.lower().endswith(SUFFIXES):
                names.append(f"{below}{entry.name}")
            else:
                left_out["no image by their suffix"] += 1
    return sorted(names, key=lambda name: name.rpartition("/")[::2])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise CareError(f"{folder}: cannot be listed ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    """The folder itself, by whatever path it is reached."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refuse(field_name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError("data", [Problem(field_name, value, f"allowed: {allowed}")])
