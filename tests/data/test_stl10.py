"""STL-10 from small files in its own format, against torchvision's reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from care.config import DataConfig, TrialConfig
from care.data.dataset import check_dataset, load_dataset
from care.data.fingerprints.hashes import HashedFiles
from care.data.prepare import prepare
from care.data.stl10 import BinarySource
from care.errors import CareError, ConfigError
from care.system.torchvision import datasets
from care.system.torchvision import functional as tv
from tests.conftest import TINY
from tests.helpers.archives import write_stl10
from tests.helpers.listener import Listener

LARGE = DataConfig(name="stl10", side=96)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_stl10(tmp_path, monkeypatch)


def test_it_is_read_as_torchvision_reads_it(folder: Path) -> None:
    prepare(LARGE, folder.parent, Listener())
    dataset = load_dataset(LARGE, folder.parent)
    for part, split in ((dataset.train, "train+unlabeled"), (dataset.test, "test")):
        oracle = datasets.STL10(folder.parent, split=split)
        assert np.array_equal(part.images.numpy(), oracle.data)
        # torchvision counts the labels down in unsigned bytes.
        assert part.labels.tolist() == oracle.labels.astype(np.int8).tolist()
    assert dataset.classes == tuple(f"class{n}" for n in range(10))
    assert torch.equal(dataset.train.labelled().images, dataset.train.images[:6])


def test_a_pixel_is_where_the_format_puts_it(folder: Path) -> None:
    """Channel by channel, column by column: https://cs.stanford.edu/~acoates/stl10/."""
    prepare(LARGE, folder.parent, Listener())
    content = (folder / "unlabeled_X.bin").read_bytes()
    images = load_dataset(LARGE, folder.parent).train.images[6:]
    for image, channel, row, column in ((0, 0, 0, 1), (2, 1, 30, 4), (9, 2, 95, 94)):
        place = ((image * 3 + channel) * 96 + column) * 96 + row
        assert int(images[image, channel, row, column]) == content[place]


def test_at_the_authors_side(folder: Path) -> None:
    config = DataConfig(name="stl10")
    prepare(config, folder.parent, Listener())
    train = load_dataset(config, folder.parent).train
    whole = torch.from_numpy(datasets.STL10(folder.parent, split="train+unlabeled").data)
    assert torch.equal(train.images, tv.resize(whole, [32, 32], antialias=True))


def test_it_is_read_in_parts_across_its_files(folder: Path) -> None:
    source = BinarySource(
        "stl10",
        HashedFiles(folder, folder.parent / "hashes.json"),
        ("train_X.bin", "unlabeled_X.bin"),
        96,
    )
    whole = datasets.STL10(folder.parent, split="train+unlabeled").data
    for start, stop in ((0, 3), (4, 9), (6, 16), (15, 16)):
        assert np.array_equal(source.read(start, stop).pixels, whole[start:stop])


@pytest.mark.parametrize("name", ["unlabeled_X.bin", "train_y.bin", "class_names.txt"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    prepare(LARGE, folder.parent, Listener())
    (folder / name).unlink()
    with pytest.raises(CareError, match=f"{name}: missing; 'care data get stl10'"):
        load_dataset(LARGE, folder.parent)


@pytest.mark.parametrize("content", [b"", b"x" * 1000])
def test_a_cut_file_is_damaged(folder: Path, content: bytes) -> None:
    (folder / "unlabeled_X.bin").write_bytes(content)
    with pytest.raises(CareError, match=r"unlabeled_X.bin: damaged"):
        load_dataset(LARGE, folder.parent)


def test_more_neighbors_than_labelled_images_are_refused(folder: Path) -> None:
    prepare(LARGE, folder.parent, Listener())
    dataset = load_dataset(LARGE, folder.parent)
    tree = {**TINY, "data": {"name": "stl10"}, "training": {"epochs": 1, "batch_size": 16}}
    tree["evaluation"] = {"knn_neighbors": 7}
    tree["objective"] = {"equivariance": {"splits": 4}}
    with pytest.raises(ConfigError) as caught:
        check_dataset(TrialConfig.model_validate(tree), dataset)
    (problem,) = caught.value.problems
    assert (problem.field, problem.value) == ("evaluation.knn_neighbors", 7)
    assert problem.allowed == "allowed: at most 6, the number of labelled training samples"
