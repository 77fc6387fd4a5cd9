"""CIFAR, STL-10 and Flowers-102 from small files that are damaged in every way."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings

from care.config import DataConfig
from care.data.dataset import Dataset, load_dataset
from care.data.prepare import prepare
from care.data.verified_files import md5_of, unpickle
from care.errors import CareError
from care.system.torchvision import datasets
from tests.helpers.archives import pack_stl10, write_flowers, write_stl10
from tests.helpers.damage import damaged
from tests.helpers.listener import Listener
from tests.helpers.network import no_network

CIFAR10 = DataConfig(name="cifar10")
STL10 = DataConfig(name="stl10")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 3072), np.uint8)
BATCH = {b"labels": [3, 1, 4, 1, 5, 9], b"data": PIXELS}


def dumped(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, batch: bytes) -> None:
    """Six images a batch, whose checksums are the expected ones."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)
    kind = datasets.CIFAR10
    for name in ("train_list", "test_list"):
        for file, _ in getattr(kind, name):
            (folder / file).write_bytes(batch)
        listed = [[file, md5_of(folder / file)] for file, _ in getattr(kind, name)]
        monkeypatch.setattr(kind, name, listed)
    (folder / "batches.meta").write_bytes(dumped({"label_names": [f"c{n}" for n in range(10)]}))
    meta = {**kind.meta, "md5": md5_of(folder / "batches.meta")}
    monkeypatch.setattr(kind, "meta", meta)


def as_text(batch: dict[bytes, Any]) -> dict[str, Any]:
    """Python 2 wrote text, which ``encoding="latin1"`` makes of its bytes."""
    return {key.decode(): value for key, value in batch.items()}


def test_cifar_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path, monkeypatch, dumped(as_text(BATCH)))
    dataset = load_dataset(CIFAR10, tmp_path)
    assert np.array_equal(dataset.test.images.flatten(1), PIXELS)
    assert dataset.train.labels.tolist() == [3, 1, 4, 1, 5, 9] * 5
    assert dataset.classes[9] == "c9"


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({"labels": [1] * 6, "data": Trap(Path("sprung"))}, "no pickle that can be read"),
        ([1, 2], "no list or array 'data'"),
        ({"labels": [1] * 6}, "no list or array 'data'"),
        ({"labels": [1] * 5, "data": PIXELS}, r"5 labels for images \[6, 3072\]"),
        ({"labels": [1] * 6, "data": PIXELS[:, :9]}, r"6 labels for images \[6, 9\]"),
        (
            {"labels": [1] * 6, "data": PIXELS.astype(float)},
            "its images are not a 2-d array of bytes",
        ),
        ({"labels": [10] * 6, "data": PIXELS}, "its labels are not integers from 0 to 9"),
        ({"labels": [None] * 6, "data": PIXELS}, "its labels are not integers from 0 to 9"),
    ],
)
def test_batches_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: object, reason: str
) -> None:
    """Even if their checksum were the expected one: nothing of a file is run."""
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path, monkeypatch, dumped(batch))
    with pytest.raises(CareError, match=reason):
        load_dataset(CIFAR10, tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("index", [b"r\xff\xff\xff\x7f", b"p99999999999\n"])
def test_a_pickle_cannot_ask_for_more_memory_than_there_is(index: bytes) -> None:
    """C makes room for every index of the memo up to the largest."""
    with pytest.raises(CareError, match=r"memo index \d+ in \d+ bytes"):
        unpickle(b"\x80\x02}" + index + b".")


@given(damage=damaged(dumped(as_text({**BATCH, b"data": PIXELS[:, :30]}))))
@example(damage=b"\x80\x02cnumpy\nndarray\n.")
@settings(max_examples=300, deadline=None)
def test_a_damaged_pickle_gives_data_or_an_error(damage: bytes) -> None:
    try:
        content = unpickle(damage)
    except CareError:
        return
    plain = (dict, list, tuple, set, str, bytes, int, float, bool, type(None), np.ndarray)
    assert isinstance(content, plain)


def whole_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Dataset]:
    """A small STL-10 with its archive beside it, decoded."""
    folder = write_stl10(root, monkeypatch)
    pack_stl10(folder, root / "stl10_binary.tar.gz", monkeypatch)
    no_network(monkeypatch)
    prepare(STL10, root, Listener())
    return folder, load_dataset(STL10, root)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("train_y.bin", b"\x01\x02", "2 labels for 6 images"),
        ("train_y.bin", b"\x01" * 7, "7 labels for 6 images"),
        ("test_y.bin", b"", "0 labels for 4 images"),
        ("test_y.bin", b"\x01\x00\x01\x01", "labels that are not from 1 to 10"),
        ("train_y.bin", b"\x0b" * 6, "labels that are not from 1 to 10"),
        ("class_names.txt", b"airplane bird", "2 names of 10 classes"),
        ("class_names.txt", b"", "0 names of 10 classes"),
    ],
)
def test_labels_are_checked_though_the_images_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, reason: str
) -> None:
    folder, before = whole_stl10(tmp_path, monkeypatch)
    (folder / file).write_bytes(content)
    with pytest.raises(CareError, match=f"{file}: damaged, {reason}; 'care data get stl10'"):
        load_dataset(STL10, tmp_path)
    prepare(STL10, tmp_path, Listener())  # as the message says, from the archive
    assert torch.equal(load_dataset(STL10, tmp_path).train.labels, before.train.labels)


@pytest.mark.parametrize("file", ["class_names.txt", "test_y.bin", "unlabeled_X.bin"])
def test_a_missing_file_is_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    folder, before = whole_stl10(tmp_path, monkeypatch)
    (folder / file).unlink()
    prepare(STL10, tmp_path, Listener())
    assert torch.equal(load_dataset(STL10, tmp_path).train.images, before.train.images)
    assert not list(folder.glob(".*"))


@given(damage=damaged(bytes(range(1, 7))))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_labels_give_labels_or_an_error(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (tmp_path / "stl10_binary").exists():
        whole_stl10(tmp_path, monkeypatch)
    (tmp_path / "stl10_binary" / "train_y.bin").write_bytes(damage)
    try:
        labels = load_dataset(STL10, tmp_path).train.labels[:6]
    except CareError:
        return
    assert labels.tolist() == [byte - 1 for byte in damage]


def test_missing_flowers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_flowers(tmp_path, monkeypatch)
    config = DataConfig(name="flowers102", side=16)
    prepare(config, tmp_path, Listener())
    (folder / "jpg" / "image_00004.jpg").unlink()
    with pytest.raises(CareError, match=r"1 of 5 images are missing, e.g. jpg/image_00004.jpg"):
        load_dataset(config, tmp_path)
    shutil.rmtree(folder / "jpg")
    (folder / "jpg").write_text("no folder")
    with pytest.raises(CareError, match="flowers-102: missing or damaged"):
        load_dataset(config, tmp_path)
