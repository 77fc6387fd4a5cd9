"""Caltech-101 without its background class: 30 training images of each class, 5,647 to test.

It has no official split. The papers draw 30 images of each class at random, and so is done here,
once for all trials.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.fingerprints.image_folder import Files
from care.data.listed_images import ListedImages, Listing
from care.system.rng import generator
from care.system.torchvision import datasets

_FOLDER = "caltech101"
_TRAIN_IMAGES = 30
# torchvision has these within a method.
_URL = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
_MD5 = "3138e1922a9193bfa496528edbbc45d0"


def _list_files(root: Path) -> Listing:
    images: Any = datasets.Caltech101(root)
    by_class = defaultdict(list)
    for number, label in zip(images.index, images.y, strict=True):
        name = f"101_ObjectCategories/{images.categories[label]}/image_{number:04d}.jpg"
        by_class[label].append(name)
    train, test = (Files(root / _FOLDER, [], []) for _ in range(2))
    for label, names in sorted(by_class.items()):
        order = generator(0, "caltech101-split", label).permutation(len(names)).tolist()
        for part, chosen in ((train, order[:_TRAIN_IMAGES]), (test, order[_TRAIN_IMAGES:])):
            part.names.extend(names[index] for index in sorted(chosen))
            part.labels.extend(label for _ in chosen)
    return Listing(tuple(images.categories), train, test)


def _remotes() -> list[Remote]:
    return [Remote(_URL, _MD5, f"{_FOLDER}/caltech-101.zip", unpack=_FOLDER)]


_CALTECH = ListedImages("caltech101", _FOLDER, _list_files, _remotes)
load_caltech101, prepare_caltech101 = _CALTECH.load, _CALTECH.prepare
