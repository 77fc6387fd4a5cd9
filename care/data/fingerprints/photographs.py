"""List the files of data sets of photographs in their official layouts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from care.config import DataConfig
from care.data.fingerprints.sources import DataFiles, NotHereError


class Layout(NamedTuple):
    """The files of a data set.

    Attributes:
        folder: Folder below the data root.
        lists: Files with classes and splits, relative to the folder.
        images: Patterns of the images' paths, relative to the folder.
    """

    folder: str
    lists: tuple[str, ...]
    images: tuple[str, ...]


_LAYOUTS = {
    "food101": Layout("food-101", ("meta/train.json", "meta/test.json"), ("images/*/*.jpg",)),
    "mit67": Layout("mit67", ("TrainImages.txt", "TestImages.txt"), ("Images/*/*.*",)),
    "pets": Layout(
        "oxford-iiit-pet", ("annotations/trainval.txt", "annotations/test.txt"), ("images/*.jpg",)
    ),
    "flowers102": Layout("flowers-102", ("imagelabels.mat", "setid.mat"), ("jpg/image_*.jpg",)),
    "caltech101": Layout("caltech101", (), ("101_ObjectCategories/*/image_*.jpg",)),
    "cars": Layout(
        "stanford_cars",
        ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"),
        ("cars_train/*.jpg", "cars_test/*.jpg"),
    ),
    "aircraft": Layout(
        "fgvc-aircraft-2013b",
        (
            "data/variants.txt",
            *(f"data/images_variant_{split}.txt" for split in ("train", "val", "test")),
        ),
        ("data/images/*.jpg",),
    ),
    "dtd": Layout(
        "dtd/dtd",
        tuple(f"labels/{split}1.txt" for split in ("train", "val", "test")),
        ("images/*/*.jpg",),
    ),
    "sun397": Layout(
        "SUN397", ("ClassName.txt", "Training_01.txt", "Testing_01.txt"), ("?/**/sun_*.jpg",)
    ),
}


def photograph_files(config: DataConfig, root: Path) -> DataFiles:
    """List the images of a data set, and the lists that state their classes and splits."""
    layout = _LAYOUTS[config.name]
    folder = root / layout.folder
    absent = [name for name in layout.lists if not (folder / name).is_file()]
    if absent:
        raise NotHereError(f"{folder / absent[0]}: missing")
    images = sorted(
        path.relative_to(folder).as_posix()
        for pattern in layout.images
        for path in folder.glob(pattern)
    )
    if not images:
        raise NotHereError(f"{folder}: no images")
    return DataFiles(layout.folder, (*layout.lists, *images), images)
