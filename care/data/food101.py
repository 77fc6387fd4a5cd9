"""Food-101: 75,750 training and 25,250 test photographs of 101 dishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.listed_images import ListedImages, Listing, files_below
from care.system.torchvision import datasets

_FOLDER = "food-101"


def _list_files(root: Path) -> Listing:
    train, test = (_split(root, name) for name in ("train", "test"))
    files = [files_below(root / _FOLDER, part._image_files, part._labels) for part in (train, test)]
    return Listing(tuple(train.classes), files[0], files[1])


def _split(root: Path, name: str) -> Any:
    return datasets.Food101(root, split=name)


def _remotes() -> list[Remote]:
    kind = datasets.Food101
    return [Remote(kind._URL, kind._MD5, "food-101.tar.gz", unpack="")]


_FOOD = ListedImages("food101", _FOLDER, _list_files, _remotes)
load_food101, prepare_food101 = _FOOD.load, _FOOD.prepare
