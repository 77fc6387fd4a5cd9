"""Describable Textures (DTD), 47 classes: its first partition of ten.

3,760 training (its train and val splits) and 1,880 test images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.fingerprints.image_folder import Files
from care.data.listed_images import ListedImages, Listing, files_below
from care.system.torchvision import datasets

_FOLDER = "dtd/dtd"


def _list_files(root: Path) -> Listing:
    folder = root / _FOLDER
    parts = [_split(root, name) for name in ("train", "val", "test")]
    # torchvision numbers the classes of each split by itself.
    if len({tuple(part.classes) for part in parts}) > 1:
        raise ValueError("its splits have different classes")
    train, val, test = (files_below(folder, part._image_files, part._labels) for part in parts)
    both = Files(folder, train.names + val.names, train.labels + val.labels)
    return Listing(tuple(parts[0].classes), both, test, len(val.names))


def _split(root: Path, name: str) -> Any:
    return datasets.DTD(root, split=name, partition=1)


def _remotes() -> list[Remote]:
    kind = datasets.DTD
    return [Remote(kind._URL, kind._MD5, "dtd/dtd-r1.0.1.tar.gz", unpack="dtd")]


_DTD = ListedImages("dtd", _FOLDER, _list_files, _remotes)
load_dtd, prepare_dtd = _DTD.load, _DTD.prepare
