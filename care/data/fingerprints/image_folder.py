"""List the files of image folders: ``train/`` and ``test/`` or ``val/``, one folder per class."""

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
        folder: Folder of the split.
        names: Paths relative to the folder.
        labels: Class index of each file.
    """

    folder: Path
    names: list[str]
    labels: list[int]

    def shuffled(self) -> Files:
        """Return the files in a fixed random order, so that the first samples show all classes."""
        order = generator(0, "held-out-order").permutation(len(self.names)).tolist()
        names, labels = ([values[index] for index in order] for values in (self.names, self.labels))
        return Files(self.folder, names, labels)


class ImageFolder(NamedTuple):
    """The files of an image folder.

    Attributes:
        path: Path relative to the data root.
        classes: Class names by label.
        train: Training files.
        held_out: Test files, sorted within each class.
        left_out: Number of skipped files and folders by reason.
    """

    path: str
    classes: tuple[str, ...]
    train: Files
    held_out: Files
    left_out: Counter[str]


def list_image_folder(config: DataConfig, root: Path) -> ImageFolder:
    """List the files of the image folder at ``data.path``.

    Raises:
        ConfigError: The folder is missing, its splits or the class list disagree about the
            classes, or a link leads to a folder above it.
        CareError: A folder cannot be listed.
    """
    path, left_out = config.path or "", Counter[str]()
    folder = root / path
    train = folder / "train"
    if not train.is_dir():
        raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")
    train_folders = _class_folders(train, left_out)
    listed = (
        _read_class_list(root / config.class_list, train_folders) if config.class_list else None
    )
    classes = listed or train_folders
    held_out = _choose_held_out(folder, classes, left_out)
    held_out_folders = _class_folders(held_out, left_out)
    splits = [
        _list_split(split, folders, classes, listed is not None, left_out)
        for split, folders in ((train, train_folders), (held_out, held_out_folders))
    ]
    return ImageFolder(path, tuple(classes), splits[0], splits[1], left_out)


def imagenet_config(config: DataConfig, root: Path) -> DataConfig:
    """Fill in the default paths of ImageNet and the list of its 100 classes.

    Raises:
        CareError: One of them is missing; states how to get it.
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


def _choose_held_out(folder: Path, classes: Collection[str], left_out: Counter[str]) -> Path:
    """Choose test/, or val/ if test/ has none of the classes: ImageNet's test/ has no labels."""
    splits = [folder / name for name in _HELD_OUT if (folder / name).is_dir()]
    if not splits:
        raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")
    labelled = [split for split in splits if any((split / name).is_dir() for name in classes)]
    chosen = (labelled or splits)[0]
    for other in splits[: splits.index(chosen)]:
        left_out[f"folder {other.name}/, as it has none of the classes"] += 1
    return chosen


def _read_class_list(path: Path, folders: list[str]) -> list[str]:
    """Read the names of class folders, one per line: the line or its first word."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        allowed = f"a readable text file with a class folder a line ({error})"
        raise _refuse("data.class_list", str(path), allowed) from error
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = [line if line in folders else line.split()[0] for line in lines]
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
            raise _refuse(f"{split.name}/{entry.name}", "a dangling link", "a class folder")
        else:
            left_out[f"in {split.name}/ itself, not in a class folder"] += 1
    if not names:
        raise _refuse("data.path", str(split), "a folder for each class, with images in it")
    return sorted(names)


def _list_split(
    split: Path, folders: list[str], classes: list[str], listed: bool, left_out: Counter[str]
) -> Files:
    """List the image files of the classes in a split.

    Args:
        split: Folder of the split.
        folders: Names of its class folders; without a class list each must be a class.
        classes: Class names by label.
        listed: The classes come from a class list; each must have a folder.
        left_out: Counts skipped files by reason.
    """
    problems = [
        unknown_name("data.class_list", name, folders)
        for name in classes
        if listed and name not in folders
    ]
    if not listed:
        unknown = sorted(set(folders) - set(classes))
        allowed = "allowed: only classes that train/ has too"
        problems = [Problem(f"{split.name}/", name, allowed) for name in unknown]
    names, labels = [], []
    for label, name in enumerate(classes):
        files = _list_images(split, name, left_out) if name in folders else []
        if name in folders and not files:
            allowed = f"allowed: one image or more ({', '.join(SUFFIXES)})"
            problems.append(Problem(f"{split.name}/{name}", "an empty class folder", allowed))
        names += [f"{name}/{file}" for file in files]
        labels += [label] * len(files)
    if problems:
        raise ConfigError(str(split), problems)
    return Files(split, names, labels)


def _list_images(split: Path, name: str, left_out: Counter[str]) -> list[str]:
    """List the image files of a class, with those in subfolders, in torchvision's order."""
    names = []
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        below, ancestors = pending.pop()
        folder = split / name / below
        identity = _identity(folder)
        if identity in ancestors:
            link = f"{split.name}/{name}/{below}"
            raise _refuse(link, "a link to a folder above it", "links to folders elsewhere")
        for entry in _entries(folder):
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif _is_folder(entry):
                pending.append((f"{below}{entry.name}/", ancestors | {identity}))
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
    """Return device and inode: equal for all paths to one folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refuse(field_name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError("data", [Problem(field_name, value, f"allowed: {allowed}")])
