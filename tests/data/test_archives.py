"""STL-10 and Flowers-102 in their own file formats, written small; and no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from care.config import DataConfig
from care.data import load_dataset, prepare
from care.data.preparation import Silent
from care.data.stl10 import BinarySource
from care.errors import CareError
from care.vision import datasets
from care.vision import functional as tv

SIZES = {"train": 6, "unlabeled": 10, "test": 4}


def write_stl10(root: Path) -> Path:
    folder = root / "stl10_binary"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in SIZES.items():
        (folder / f"{split}_X.bin").write_bytes(rng.bytes(count * 3 * 96 * 96))
        labels = np.arange(count, dtype=np.uint8) % 10 + 1
        (folder / f"{split}_y.bin").write_bytes(labels.tobytes())
    (folder / "class_names.txt").write_text("\n".join(f"class{n}" for n in range(10)))
    return folder


def torchvisions(folder: Path, *splits: str) -> torch.Tensor:
    """As torchvision's reader gives them, without its checksums."""
    reader = object.__new__(datasets.STL10)
    reader.root, reader.base_folder = str(folder.parent), folder.name
    parts = [reader._STL10__loadfile(f"{split}_X.bin")[0] for split in splits]
    return torch.from_numpy(np.concatenate(parts))


def test_stl10_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    folder = write_stl10(tmp_path)
    config = DataConfig(name="stl10", side=96)
    prepare(config, tmp_path, Silent())
    dataset = load_dataset(config, tmp_path)
    assert torch.equal(dataset.train.images, torchvisions(folder, "train", "unlabeled"))
    assert torch.equal(dataset.test.images, torchvisions(folder, "test"))
    assert dataset.train.labels.tolist() == [0, 1, 2, 3, 4, 5] + [-1] * 10
    assert dataset.test.labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(dataset.train.labelled().images, dataset.train.images[:6])


def test_stl10_at_the_authors_side(tmp_path: Path) -> None:
    folder = write_stl10(tmp_path)
    config = DataConfig(name="stl10")
    prepare(config, tmp_path, Silent())
    train = load_dataset(config, tmp_path).train
    oracle = tv.resize(torchvisions(folder, "train", "unlabeled"), [32, 32], antialias=True)
    assert torch.equal(train.images, oracle)


def test_stl10_is_read_in_parts_across_its_files(tmp_path: Path) -> None:
    folder = write_stl10(tmp_path)
    source = BinarySource("stl10", folder, ("train_X.bin", "unlabeled_X.bin"), 96)
    whole = torchvisions(folder, "train", "unlabeled").numpy()
    for start, stop in ((0, 3), (4, 9), (6, 16), (15, 16)):
        assert np.array_equal(source.read(start, stop).pixels, whole[start:stop])


def test_a_cut_stl10_is_damaged(tmp_path: Path) -> None:
    folder = write_stl10(tmp_path)
    (folder / "unlabeled_X.bin").write_bytes(b"x" * 1000)
    with pytest.raises(CareError, match=r"unlabeled_X.bin: damaged"):
        prepare(DataConfig(name="stl10"), tmp_path, Silent())


def write_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine flowers in the archive's own layout; the checksums are theirs."""
    from scipy.io import savemat
    from torchvision.datasets.utils import calculate_md5

    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for number in range(1, 10):
        color = (20 * number, 5, 255 - 20 * number)
        Image.new("RGB", (30, 20), color).save(folder / "jpg" / f"image_{number:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.arange(1, 10)[None]})
    splits = {"trnid": [[3, 1]], "valid": [[2, 9]], "tstid": [[4, 5, 6, 7, 8]]}
    savemat(folder / "setid.mat", {name: np.array(ids) for name, ids in splits.items()})
    files = dict(datasets.Flowers102._file_dict)
    for key in ("label", "setid"):
        name = files[key][0]
        files[key] = (name, calculate_md5(folder / name))
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    monkeypatch.setattr("care.data.flowers102._IMAGES", 9)


def test_flowers_train_on_train_and_val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flowers(tmp_path, monkeypatch)
    config = DataConfig(name="flowers102", side=16)
    prepare(config, tmp_path, Silent())
    dataset = load_dataset(config, tmp_path)
    assert dataset.train.labels.tolist() == [2, 0, 1, 8]
    assert dataset.test.labels.tolist() == [3, 4, 5, 6, 7]
    red = dataset.train.images.float().mean((2, 3))[:, 0]
    assert red.round().tolist() == pytest.approx([60, 20, 40, 180], abs=2)


@pytest.mark.parametrize(
    ("name", "file", "md5"),
    [
        ("cifar10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        ("cifar100", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
        ("stl10", "stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),
        ("flowers102", "flowers-102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
    ],
)
def test_without_a_network_one_is_told_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, md5: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(CareError) as caught:
        prepare(DataConfig(name=name), tmp_path, Silent())
    message = str(caught.value)
    assert f"to {tmp_path / file} (md5 {md5})" in message
    assert "://" in message
    with pytest.raises(CareError, match=f"care data get {name}"):
        load_dataset(DataConfig(name=name), tmp_path)
