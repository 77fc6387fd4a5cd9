"""SUN397: 50 training and 50 test images of each of 397 scenes, the first of its ten partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.fingerprints.image_folder import Files
from care.data.listed_images import ListedImages, Listing
from care.system.torchvision import datasets

_FOLDER = "SUN397"
_PARTITIONS = "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip"


def _list_files(root: Path) -> Listing:
    folder = root / _FOLDER
    images: Any = datasets.SUN397(root)
    names = (path.relative_to(folder).as_posix() for path in images._image_files)
    labels = dict(zip(names, images._labels, strict=True))
    train, test = (
        _partition(folder, f"{split}_01.txt", labels) for split in ("Training", "Testing")
    )
    return Listing(tuple(images.classes), train, test)


def _partition(folder: Path, name: str, labels: dict[str, int]) -> Files:
    lines = (folder / name).read_text(encoding="utf-8").split()
    names = [line.removeprefix("/") for line in lines]
    missing = [name for name in names if name not in labels]
    if missing:
        raise ValueError(f"{len(missing)} of {len(names)} images are missing, e.g. {missing[0]}")
    return Files(folder, names, [labels[name] for name in names])


def _remotes() -> list[Remote]:
    kind = datasets.SUN397
    return [
        Remote(kind._DATASET_URL, kind._DATASET_MD5, "SUN397.tar.gz", unpack=""),
        # No checksum is published; those of zip's members protect the archive.
        Remote(_PARTITIONS, None, f"{_FOLDER}/Partitions.zip", unpack=_FOLDER),
    ]


_SUN = ListedImages("sun397", _FOLDER, _list_files, _remotes)
load_sun397, prepare_sun397 = _SUN.load, _SUN.prepare
