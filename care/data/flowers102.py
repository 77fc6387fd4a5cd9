"""Oxford Flowers-102: 2,040 training images (its train and val splits) and 6,149 test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.fingerprints.image_folder import Files
from care.data.listed_images import ListedImages, Listing, files_below
from care.system.torchvision import datasets

_CLASSES = tuple(f"class {number:03d}" for number in range(1, 103))
_IMAGES = 8189
_FOLDER = "flowers-102"


def _list_files(root: Path) -> Listing:
    folder = root / _FOLDER
    parts = [_split(root, name) for name in ("train", "val", "test")]
    train, val, test = (files_below(folder, part._image_files, part._labels) for part in parts)
    both = Files(folder, train.names + val.names, train.labels + val.labels)
    return Listing(_CLASSES, both, test, len(val.names))


def _split(root: Path, name: str) -> Any:
    return datasets.Flowers102(root, split=name)


def _remotes() -> list[Remote]:
    kind = datasets.Flowers102
    names = {key: name for key, (name, _) in kind._file_dict.items()}
    return [
        Remote(
            kind._download_url_prefix + name,
            md5,
            f"{_FOLDER}/{name}",
            unpack=_FOLDER if name == names["image"] else None,
        )
        for name, md5 in kind._file_dict.values()
    ]


def _is_unpacked(root: Path) -> bool:
    present = {path.name for path in (root / _FOLDER / "jpg").glob("image_*.jpg")}
    return present >= {f"image_{number:05d}.jpg" for number in range(1, _IMAGES + 1)}


_FLOWERS = ListedImages("flowers102", _FOLDER, _list_files, _remotes, is_unpacked=_is_unpacked)
load_flowers102, prepare_flowers102 = _FLOWERS.load, _FLOWERS.prepare
