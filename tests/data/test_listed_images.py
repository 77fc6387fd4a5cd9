"""Data sets of photographs from miniatures in their official layouts, against torchvision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from care.config import DataConfig
from care.data.dataset import Dataset, load_dataset
from care.data.decoding import decode
from care.data.fingerprints.fingerprint import fingerprints
from care.data.fingerprints.sources import NotHereError
from care.data.prepare import prepare
from care.errors import CareError
from care.system.torchvision import datasets
from tests.helpers.listener import Listener
from tests.helpers.network import no_network
from tests.helpers.photographs import WRITERS, write_caltech101

SIDE = 8
SETS = sorted(WRITERS)


def opened(name: str, root: Path) -> Dataset:
    config = DataConfig(name=name, side=SIDE)
    prepare(config, root, Listener())
    return load_dataset(config, root)


def samples(images: torch.Tensor, labels: torch.Tensor) -> list[tuple[bytes, int]]:
    """Pixels and labels, in an order that does not depend on that of the files."""
    pixels = [image.numpy().tobytes() for image in images]
    return sorted(zip(pixels, labels.tolist(), strict=True))


def of_torchvision(parts: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The photographs of torchvision's data sets, decoded by the rule of this project."""
    pairs = [pair for part in parts for pair in listed(part)]
    pixels = np.stack([decode(path, SIDE).pixels for path, _ in pairs])
    return torch.from_numpy(pixels), torch.tensor([label for _, label in pairs])


def listed(part: Any) -> Iterator[tuple[Path, int]]:
    files = getattr(part, "_image_files", getattr(part, "_images", None))
    if files is None:
        yield from ((Path(path), int(label)) for path, label in part._samples)
    else:
        yield from zip(map(Path, files), part._labels, strict=True)


ORACLES: dict[str, Any] = {
    "food101": lambda root: [
        [datasets.Food101(root, split="train")],
        [datasets.Food101(root, split="test")],
    ],
    "pets": lambda root: [
        [datasets.OxfordIIITPet(root, split="trainval")],
        [datasets.OxfordIIITPet(root, split="test")],
    ],
    "cars": lambda root: [
        [datasets.StanfordCars(root, split="train")],
        [datasets.StanfordCars(root, split="test")],
    ],
    "aircraft": lambda root: [
        [datasets.FGVCAircraft(root, split="trainval")],
        [datasets.FGVCAircraft(root, split="test")],
    ],
    "dtd": lambda root: [
        [datasets.DTD(root, split="train"), datasets.DTD(root, split="val")],
        [datasets.DTD(root, split="test")],
    ],
}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_images_and_labels_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    if name == "aircraft":  # torchvision reads its trainval from a file of its own
        data = tmp_path / "fgvc-aircraft-2013b" / "data"
        parts = [(data / f"images_variant_{split}.txt").read_text() for split in ("train", "val")]
        (data / "images_variant_trainval.txt").write_text("".join(parts))
    dataset = opened(name, tmp_path)
    oracles = ORACLES[name](tmp_path)
    for split, parts in zip((dataset.train, dataset.test), oracles, strict=True):
        images, labels = of_torchvision(parts)
        assert samples(split.images, split.labels) == samples(images, labels)
    assert dataset.classes == tuple(oracles[0][0].classes)


def test_scenes_of_the_first_partition(tmp_path: Path) -> None:
    WRITERS["sun397"](tmp_path)
    dataset = opened("sun397", tmp_path)
    assert dataset.classes == ("abbey", "apartment_building/outdoor", "zoo")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    first = tmp_path / "SUN397" / "a" / "abbey" / "sun_5.jpg"
    assert np.array_equal(dataset.train.images[0].numpy(), decode(first, SIDE).pixels)
    assert sorted(dataset.test.labels.tolist()) == [0, 1, 2]


def test_indoor_scenes_from_their_lists(tmp_path: Path) -> None:
    WRITERS["mit67"](tmp_path)
    dataset = opened("mit67", tmp_path)
    assert dataset.classes == ("attic", "kitchen")
    assert dataset.train.labels.tolist() == [1, 0, 1, 0]
    first = tmp_path / "mit67" / "Images" / "kitchen" / "kitchen_2.jpg"
    assert np.array_equal(dataset.train.images[0].numpy(), decode(first, SIDE).pixels)


def test_caltech_trains_on_thirty_images_of_each_class(tmp_path: Path) -> None:
    write_caltech101(tmp_path)
    dataset = opened("caltech101", tmp_path)
    assert dataset.classes == ("accordion", "yin_yang")
    assert torch.bincount(dataset.train.labels).tolist() == [30, 30]
    assert torch.bincount(dataset.test.labels).tolist() == [4, 1]
    seen = {pixels for pixels, _ in samples(dataset.train.images, dataset.train.labels)}
    unseen = {pixels for pixels, _ in samples(dataset.test.images, dataset.test.labels)}
    assert (len(seen), len(unseen), len(seen & unseen)) == (60, 5, 0)


@pytest.mark.parametrize(("name", "count"), [("aircraft", 3), ("dtd", 2)])
def test_the_official_validation_part_is_marked(name: str, count: int, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    train = opened(name, tmp_path).train
    assert train.validation is not None
    assert train.validation.tolist() == [False] * count + [True] * count
    part = train.part(torch.tensor([0, count]))
    assert part.validation is not None
    assert part.validation.tolist() == [False, True]


@pytest.mark.parametrize("name", SETS)
def test_absent_files_are_named_with_the_way_to_get_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    config = DataConfig(name=name, side=SIDE)
    with pytest.raises(NotHereError, match=r"missing|no images"):
        fingerprints(config, tmp_path)
    with pytest.raises(CareError, match=r"https?://|torchvision's StanfordCars"):
        prepare(config, tmp_path, Listener())
    with pytest.raises(CareError, match="missing"):
        load_dataset(config, tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_an_image_that_is_missing_or_changed_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    WRITERS[name](tmp_path)
    opened(name, tmp_path)
    config = DataConfig(name=name, side=SIDE)
    before = fingerprints(config, tmp_path)
    photographs = [path for path in tmp_path.rglob("*.jpg") if "BACKGROUND" not in str(path)]
    photographs = [path for path in photographs if path.name != "sun_unused.jpg"]
    content = photographs[0].read_bytes()
    photographs[0].write_bytes(content + b"more")
    assert fingerprints(config, tmp_path) != before
    photographs[0].write_bytes(content)
    assert fingerprints(config, tmp_path) == before
    photographs[0].unlink()
    with pytest.raises(CareError, match=r"missing|cannot be read|damaged"):
        prepare(config, tmp_path, Listener())


@pytest.mark.parametrize(
    ("name", "lists"),
    [
        ("cars", "stanford_cars/devkit/cars_train_annos.mat"),
        ("food101", "food-101/meta/test.json"),
        ("pets", "oxford-iiit-pet/annotations/test.txt"),
        ("sun397", "SUN397/Testing_01.txt"),
        ("mit67", "mit67/TestImages.txt"),
    ],
)
def test_a_damaged_list_is_named(name: str, lists: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    opened(name, tmp_path)
    (tmp_path / lists).write_bytes(b"\x00{[ 1 2 3 \n")
    with pytest.raises(CareError, match=r"missing or damaged|images are missing"):
        load_dataset(DataConfig(name=name, side=SIDE), tmp_path)
