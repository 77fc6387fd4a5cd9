"""Flowers-102 from small files in its own format, against torchvision and PIL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from care.config import DataConfig
from care.data.dataset import load_dataset
from care.data.prepare import prepare
from care.errors import CareError
from care.system.rng import generator
from care.system.torchvision import datasets
from tests.helpers.archives import FLOWERS, write_flowers
from tests.helpers.listener import Listener
from tests.helpers.network import no_network

CONFIG = DataConfig(name="flowers102", side=16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_flowers(tmp_path, monkeypatch)


def in_the_middle(image: Image.Image, side: int) -> np.ndarray:
    """PIL's own antialiased bilinear, the longer side rounded down, and the middle of it."""
    short = min(image.size)
    width, height = (side * length // short for length in image.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small.crop((left, top, left + side, top + side)))


def test_order_labels_and_pixels(folder: Path) -> None:
    prepare(CONFIG, folder.parent, Listener())
    dataset = load_dataset(CONFIG, folder.parent)
    for part, splits in ((dataset.train, ("train", "val")), (dataset.test, ("test",))):
        oracle = [pair for name in splits for pair in datasets.Flowers102(folder.parent, name)]
        if splits == ("test",):  # held-out ones are in a fixed random order
            order = generator(0, "held-out-order").permutation(len(oracle)).tolist()
            oracle = [oracle[place] for place in order]
        assert part.labels.tolist() == [label for _, label in oracle]
        for image, (photo, _) in zip(part.images, oracle, strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), in_the_middle(photo, 16))
    assert dataset.train.labels.tolist() == [2, 6, 101, 8]
    assert len(dataset.classes) == 102


def test_a_folder_that_was_half_unpacked_is_unpacked_again(folder: Path) -> None:
    (folder / "jpg" / "image_00004.jpg").unlink()
    listener = Listener()
    prepare(CONFIG, folder.parent, listener)
    assert len(list((folder / "jpg").iterdir())) == FLOWERS
    assert listener.lines[0] == f"checking {folder / '102flowers.tgz'}"
    assert len(load_dataset(CONFIG, folder.parent).test) == 5


def test_missing_images_without_their_archive_need_a_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    (folder / "jpg" / "image_00004.jpg").unlink()
    (folder / "102flowers.tgz").unlink()
    with pytest.raises(CareError, match="cannot be downloaded"):
        prepare(CONFIG, folder.parent, Listener())


def test_damaged_labels_are_not_read(folder: Path) -> None:
    prepare(CONFIG, folder.parent, Listener())
    content = bytearray((folder / "imagelabels.mat").read_bytes())
    content[-1] ^= 1
    (folder / "imagelabels.mat").write_bytes(content)
    with pytest.raises(CareError, match="damaged; 'care data get flowers102' downloads it"):
        load_dataset(CONFIG, folder.parent)
