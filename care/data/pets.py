"""Oxford-IIIT Pets: 3,680 training (its trainval split) and 3,669 test images of 37 breeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.listed_images import ListedImages, Listing, files_below
from care.system.torchvision import datasets

_FOLDER = "oxford-iiit-pet"


def _list_files(root: Path) -> Listing:
    train, test = (_split(root, name) for name in ("trainval", "test"))
    files = [files_below(root / _FOLDER, part._images, part._labels) for part in (train, test)]
    return Listing(tuple(train.classes), files[0], files[1])


def _split(root: Path, name: str) -> Any:
    return datasets.OxfordIIITPet(root, split=name)


def _remotes() -> list[Remote]:
    return [
        Remote(url, md5, f"{_FOLDER}/{url.rpartition('/')[2]}", unpack=_FOLDER)
        for url, md5 in datasets.OxfordIIITPet._RESOURCES
    ]


_PETS = ListedImages("pets", _FOLDER, _list_files, _remotes)
load_pets, prepare_pets = _PETS.load, _PETS.prepare
