"""List the files of 3DIEBench in its official layout: fifty views of each of 52,472 objects.

``<synset>/<object>/`` has ``image_0.jpg`` to ``image_49.jpg`` and ``latent_0.npy`` to
``latent_49.npy``. The official split is in four lists beside the synsets, ``train_images.npy``,
``train_labels.npy``, ``val_images.npy`` and ``val_labels.npy``, from the repository
facebookresearch/SIE. The split 3DIEBench-OOD has other views of the held-out objects.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from care.config import DataConfig
from care.data.fingerprints.sources import DataFiles, NotHereError
from care.errors import CareError, ConfigError, Problem
from care.system.rng import generator

FOLDER, OOD_FOLDER = "3DIEBench", "3DIEBench-OOD"
VIEWS = 50
LISTS = ("train_images.npy", "train_labels.npy", "val_images.npy", "val_labels.npy")
_ADVICE = (
    "unpack https://dl.fbaipublicfiles.com/SIE/3DIEBench.tar.gz (17 GB, CC BY-NC) there, and copy "
    f"{', '.join(LISTS)} of data/ in github.com/facebookresearch/SIE beside the synsets"
)
_OOD_ADVICE = (
    "get the views out of the training's range from huggingface.co/datasets/Hafez/3DIEBench-OOD, "
    "as <synset>/<object>/image_0.jpg, latent_0.npy …"
)


class View(NamedTuple):
    """A view of an object.

    Attributes:
        object: Index of the object in its list.
        number: Number in the file's name.
        image: Path of the image, relative to the folder of the views.
    """

    object: int
    number: int
    image: str

    @property
    def latent(self) -> str:
        """Path of the latents, relative to the folder of the views."""
        folder, _, name = self.image.rpartition("/")
        number = name.removeprefix("image_").removesuffix(".jpg")
        return f"{folder}/latent_{number}.npy"

    @property
    def names(self) -> tuple[str, str]:
        """Paths of image and latents, relative to the folder of the views."""
        return self.image, self.latent


class ViewList(NamedTuple):
    """The views of a split, sorted by object and number.

    Attributes:
        folder: Folder below the data root.
        views: The views.
        labels: Class of each view.
    """

    folder: str
    views: list[View]
    labels: list[int]


class ObjectViews(NamedTuple):
    """The files of the data set.

    Attributes:
        classes: Synset of each class.
        train: Views of the training objects.
        test: Views of the held-out objects.
    """

    classes: tuple[str, ...]
    train: ViewList
    test: ViewList


def object_view_files(config: DataConfig, root: Path) -> DataFiles:
    """List the lists, images and latents that a configuration uses."""
    listed = list_object_views(config, root)
    if config.name == "3diebench":  # the hashes are those of the caches
        views = [*listed.train.views, *listed.test.views]
        return DataFiles(FOLDER, [*LISTS, *(name for view in views for name in view.names)])
    names = [f"{FOLDER}/{name}" for name in LISTS]
    for part in (listed.train, listed.test):
        names += [f"{part.folder}/{name}" for view in part.views for name in view.names]
    return DataFiles("", names)


def list_object_views(config: DataConfig, root: Path) -> ObjectViews:
    """List the views of the objects that a configuration uses.

    Raises:
        ConfigError: A number of images is no number of whole objects.
        NotHereError: The folder or a list is missing; states how to get it.
        CareError: A list is damaged, or views are missing.
    """
    folder = root / FOLDER
    absent = [name for name in LISTS if not (folder / name).is_file()]
    if absent:
        raise NotHereError(f"{folder / absent[0]}: missing; {_ADVICE}")
    train, train_labels = _read_split(folder, "train")
    test, test_labels = _read_split(folder, "val")
    classes = _name_classes([*train, *test], np.concatenate([train_labels, test_labels]), folder)
    seen = _choose(train_labels, config.train_images, "train_images")
    if config.name == "3diebench":
        unseen = _choose(test_labels, config.test_images, "test_images")
        held_out = _list_views(folder, test, test_labels, unseen)
    else:
        held_out = _list_ood_views(config, root, test, test_labels)
    return ObjectViews(classes, _list_views(folder, train, train_labels, seen), held_out)


def _read_split(folder: Path, split: str) -> tuple[list[str], NDArray[np.int64]]:
    """Read the objects of a split, ``<synset>/<object>``, and their classes.

    Raises:
        CareError: The lists are damaged.
    """
    try:
        objects = np.load(folder / f"{split}_images.npy", allow_pickle=False)
        labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        what = f"the lists of {split} are damaged ({error})"
        raise CareError(f"{folder}: {what}; {_ADVICE}") from error
    names = [str(name).strip("/") for name in objects.ravel()]
    fits = objects.dtype.kind == "U" and labels.dtype.kind in "iu" and len(names) == labels.size
    if not fits or not names or any(len(name.split("/")) != 2 or ".." in name for name in names):
        what = f"{objects.dtype} {list(objects.shape)} and {labels.dtype} {list(labels.shape)}"
        raise CareError(
            f"{folder}: the lists of {split} are {what}, not names <synset>/<object> and classes; "
            f"{_ADVICE}"
        )
    return names, labels.ravel().astype(np.int64)


def _name_classes(objects: list[str], labels: NDArray[np.int64], folder: Path) -> tuple[str, ...]:
    synsets: dict[int, str] = {}
    for name, label in zip(objects, labels.tolist(), strict=True):
        synset = name.partition("/")[0]
        if synsets.setdefault(label, synset) != synset:
            raise CareError(f"{folder}: class {label} is {synsets[label]} and {synset}; {_ADVICE}")
    if sorted(synsets) != list(range(len(synsets))):
        raise CareError(f"{folder}: classes are not numbered from 0 on; {_ADVICE}")
    return tuple(synsets[label] for label in range(len(synsets)))


def _choose(labels: NDArray[np.int64], images: int | None, field: str) -> list[int]:
    """Choose whole objects, equally many of each class up to one; contained in larger choices.

    Raises:
        ConfigError: ``images`` is no multiple of the views of an object, or too large.
    """
    if images is None:
        return list(range(len(labels)))
    count, rest = divmod(images, VIEWS)
    if rest or not 0 < count <= len(labels):
        low = min(max(count, 1), len(labels)) * VIEWS
        allowed = f"allowed: a multiple of {VIEWS}, the views of an object, up to "
        nearest = f"{len(labels) * VIEWS}; the nearest are {low} and {low + VIEWS}"
        raise ConfigError("data", [Problem(f"data.{field}", images, allowed + nearest)])
    order = generator(0, "part-of-objects").permutation(len(labels))
    taken: dict[int, int] = {}
    ranks = []
    for position, index in enumerate(order.tolist()):
        label = int(labels[index])
        ranks.append((taken.get(label, 0), position, index))
        taken[label] = taken.get(label, 0) + 1
    return sorted(index for _, _, index in sorted(ranks)[:count])


def _list_views(
    folder: Path, objects: list[str], labels: NDArray[np.int64], chosen: list[int]
) -> ViewList:
    """List the views of the chosen objects, all of which exist.

    Raises:
        CareError: Views are missing; names one and counts all.
    """
    listed, missing = ViewList(FOLDER, [], []), list[str]()
    for index in chosen:
        present = _entries(folder / objects[index])
        views = [
            View(index, number, f"{objects[index]}/image_{number}.jpg") for number in range(VIEWS)
        ]
        names = [name for view in views for name in view.names]
        missing += [name for name in names if name.rpartition("/")[2] not in present]
        listed.views.extend(views)
        listed.labels.extend([int(labels[index])] * VIEWS)
    if missing:
        what = f"{len(missing)} of {2 * VIEWS * len(chosen)} images and latents are missing"
        raise CareError(f"{folder}: {what}, e.g. {missing[0]}; {_ADVICE}")
    return listed


def _list_ood_views(
    config: DataConfig, root: Path, objects: list[str], labels: NDArray[np.int64]
) -> ViewList:
    """List the views of 3DIEBench-OOD: those of each held-out object that has two or more."""
    path = root / OOD_FOLDER
    if not path.is_dir():
        raise NotHereError(f"{path}: missing; {_OOD_ADVICE}")
    if config.test_images is not None:
        allowed = "allowed: none, as the objects have different numbers of views"
        raise ConfigError("data", [Problem("data.test_images", config.test_images, allowed)])
    listed = ViewList(OOD_FOLDER, [], [])
    for index, name in enumerate(objects):
        present = _entries(path / name)
        numbers = sorted(int(entry[6:-4]) for entry in present if _is_image(entry))
        views = [View(index, number, f"{name}/image_{number}.jpg") for number in numbers]
        absent = [view.latent for view in views if view.latent.rpartition("/")[2] not in present]
        if absent:
            raise CareError(f"{path / absent[0]}: missing; {_OOD_ADVICE}")
        if len(views) > 1:
            listed.views.extend(views)
            listed.labels.extend([int(labels[index])] * len(views))
    if not listed.views:
        raise CareError(f"{path}: no object of val_images.npy has two views; {_OOD_ADVICE}")
    return listed


def _is_image(name: str) -> bool:
    return name.startswith("image_") and name.endswith(".jpg") and name[6:-4].isdecimal()


def _entries(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - fast for 50,000 folders
    except OSError:
        return set()
