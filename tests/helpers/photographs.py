"""The data sets of suite11 in miniature, each in its official layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def write_photograph(path: Path, seed: int) -> None:
    """A JPEG of random pixels, wider than it is high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20 + seed % 9, 3), np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_food101(root: Path) -> None:
    folder = root / "food-101"
    for split, numbers in (("train", (3, 1)), ("test", (2,))):
        listed = {name: [f"{name}/{number}" for number in numbers] for name in ("waffles", "beet")}
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for names in listed.values():
            for name in names:
                write_photograph(folder / "images" / f"{name}.jpg", len(name))


def write_mit67(root: Path) -> None:
    folder = root / "mit67"
    for split, numbers in (("Train", (2, 1)), ("Test", (3,))):
        names = [f"{name}/{name}_{n}.jpg" for n in numbers for name in ("kitchen", "attic")]
        _write_lines(folder / f"{split}Images.txt", names)
        for number, name in enumerate(names):
            write_photograph(folder / "Images" / name, number)


def write_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    breeds = {"Abyssinian": "1 1 1", "american_bulldog": "2 2 1"}
    for split, numbers in (("trainval", (7, 4)), ("test", (5,))):
        lines = [f"{name}_{n} {rest}" for name, rest in breeds.items() for n in numbers]
        _write_lines(folder / "annotations" / f"{split}.txt", lines)
        for line in lines:
            write_photograph(folder / "images" / f"{line.split()[0]}.jpg", len(line))


def write_caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    for name, count in (("BACKGROUND_Google", 2), ("accordion", 34), ("yin_yang", 31)):
        for number in range(1, count + 1):
            write_photograph(folder / name / f"image_{number:04d}.jpg", 100 * count + number)


def write_cars(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array(["Acura RL 2012", "Audi TT 2011"], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    kind = np.dtype([("class", "u1"), ("fname", "O")])
    parts = {
        "train": (folder / "devkit" / "cars_train_annos.mat", (2, 1, 1)),
        "test": (folder / "cars_test_annos_withlabels.mat", (1, 2)),
    }
    for split, (listed, classes) in parts.items():
        rows = [(label, f"{number:05d}.jpg") for number, label in enumerate(classes, 1)]
        savemat(listed, {"annotations": np.array(rows, dtype=kind)})
        for _, name in rows:
            write_photograph(folder / f"cars_{split}" / name, int(name[:5]))


def write_aircraft(root: Path) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    variants = ["707-320", "DC-3", "Falcon 900"]
    _write_lines(folder / "variants.txt", variants)
    for split, first in (("train", 1), ("val", 11), ("test", 21)):
        lines = [f"{first + n:07d} {name}" for n, name in enumerate(reversed(variants))]
        _write_lines(folder / f"images_variant_{split}.txt", lines)
        for line in lines:
            write_photograph(folder / "images" / f"{line.split()[0]}.jpg", int(line.split()[0]))


def write_dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    for number, split in enumerate(("train", "val", "test")):
        names = [f"{name}/{name}_{number:04d}.jpg" for name in ("zigzagged", "banded")]
        _write_lines(folder / "labels" / f"{split}1.txt", names)
        for name in names:
            write_photograph(folder / "images" / name, number)


def write_sun397(root: Path) -> None:
    folder = root / "SUN397"
    scenes = ["/a/abbey", "/a/apartment_building/outdoor", "/z/zoo"]
    _write_lines(folder / "ClassName.txt", scenes)
    for split, numbers in (("Training", (5, 3)), ("Testing", (4,))):
        names = [f"{scene}/sun_{number}.jpg" for scene in scenes for number in numbers]
        _write_lines(folder / f"{split}_01.txt", names)
        for name in names:
            write_photograph(folder / name[1:], len(name))
    write_photograph(folder / "z" / "zoo" / "sun_unused.jpg", 1)


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "food101": write_food101,
    "mit67": write_mit67,
    "pets": write_pets,
    "caltech101": write_caltech101,
    "cars": write_cars,
    "aircraft": write_aircraft,
    "dtd": write_dtd,
    "sun397": write_sun397,
}
