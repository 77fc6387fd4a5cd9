"""Stanford Cars: 8,144 training and 8,041 test images of 196 models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.listed_images import ListedImages, Listing, files_below
from care.system.torchvision import datasets

_FOLDER = "stanford_cars"
_ADVICE = (
    "its authors' server is gone, so copy it here: cars_train/, cars_test/, devkit/ with "
    "cars_meta.mat and cars_train_annos.mat, and cars_test_annos_withlabels.mat, as torchvision's "
    "StanfordCars reads them (github.com/pytorch/vision/issues/7545 names mirrors)"
)


def _list_files(root: Path) -> Listing:
    train, test = (_split(root, name) for name in ("train", "test"))
    files = [
        files_below(root / _FOLDER, *zip(*part._samples, strict=True)) for part in (train, test)
    ]
    return Listing(tuple(map(str, train.classes)), files[0], files[1])


def _split(root: Path, name: str) -> Any:
    return datasets.StanfordCars(root, split=name)


_CARS = ListedImages("cars", _FOLDER, _list_files, advice=_ADVICE)
load_cars, prepare_cars = _CARS.load, _CARS.prepare
