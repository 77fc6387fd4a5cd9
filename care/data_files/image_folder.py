"""The files of trees of class folders: ``train/`` and ``test/`` or ``val/``, each with classes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from care.config import DataConfig
from care.errors import CareError, ConfigError, Problem, unknown_name
from care.randomness import generator

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
    """

    path: str
    classes: tuple[str, ...]
    train: Files
    held_out: Files


def list_image_folder(config: DataConfig, root: Path) -> ImageFolder:
    """List the files of the tree at ``data.path``.

    Raises:
        ConfigError: There is no such tree, or its folders do not fit each other or the class list.
    """
    path = config.path or ""
    folder = root / path
    train, held_out = folder / "train", _held_out(folder)
    if not train.is_dir():
        raise _refuse("data.path", str(folder), "a folder with train/ and test/ or val/")
    there = _folders(train)
    listed = _listed(root / config.class_list, there) if config.class_list else None
    classes = listed or there
    parts = [_files(split, classes, listed is not None) for split in (train, held_out)]
    return ImageFolder(path, tuple(classes), parts[0], parts[1])


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
        below = Path(where).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        images = [name for name in files if name.lower().endswith(SUFFIXES)]
        names += [f"{prefix}{name}" for name in images if not name.startswith(".")]
    return sorted(names, key=lambda name: name.rpartition("/")[::2])


def _refuse(field_name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError("data", [Problem(field_name, value, f"allowed: {allowed}")])
