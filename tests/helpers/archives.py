"""STL-10 and Flowers-102 in their own file formats, small, and known to torchvision as whole."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from care.data.verified_files import md5_of
from care.system.torchvision import datasets

STL10_SIZES = {"train": 6, "unlabeled": 10, "test": 4}
FLOWERS = 9


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write random images with classes 1, 2, 3 …; torchvision gets their checksums."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in STL10_SIZES.items():
        (folder / f"{split}_X.bin").write_bytes(rng.bytes(count * 3 * 96 * 96))
        if split != "unlabeled":
            labels = np.arange(count, dtype=np.uint8) % 10 + 1
            (folder / f"{split}_y.bin").write_bytes(labels.tobytes())
    (folder / "class_names.txt").write_text("\n".join(f"class{n}" for n in range(10)))
    for name in ("train_list", "test_list"):
        listed = [[file, md5_of(folder / file)] for file, _ in getattr(datasets.STL10, name)]
        monkeypatch.setattr(datasets.STL10, name, listed)
    return folder


def pack_stl10(folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the archive; torchvision gets its checksum."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    monkeypatch.setattr(datasets.STL10, "tgz_md5", md5_of(archive))


def write_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs of several sizes, in shuffled classes and splits."""
    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, FLOWERS + 1):
        pixels = rng.integers(0, 256, (20 + 3 * number, 50 - 3 * number, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "jpg" / f"image_{number:05d}.jpg", quality=95)
    labels = np.array([[7, 102, 3, 1, 50, 3, 7, 102, 9]])
    savemat(folder / "imagelabels.mat", {"labels": labels})
    splits = {"trnid": [[3, 1]], "valid": [[2, 9]], "tstid": [[8, 4, 6, 5, 7]]}
    savemat(folder / "setid.mat", {name: np.array(ids) for name, ids in splits.items()})
    with tarfile.open(folder / "102flowers.tgz", "w:gz") as tar:
        tar.add(folder / "jpg", "jpg")
    names = {key: name for key, (name, _) in datasets.Flowers102._file_dict.items()}
    files = {key: (name, md5_of(folder / name)) for key, name in names.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    monkeypatch.setattr("care.data.flowers102._IMAGES", FLOWERS)
    return folder
