"""FGVC Aircraft, 100 variants: 6,667 training (its train and val splits) and 3,333 test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.data.download import Remote
from care.data.fingerprints.image_folder import Files
from care.data.listed_images import ListedImages, Listing, files_below
from care.system.torchvision import datasets

_FOLDER = "fgvc-aircraft-2013b"


def _list_files(root: Path) -> Listing:
    folder = root / _FOLDER
    parts = [_split(root, name) for name in ("train", "val", "test")]
    train, val, test = (files_below(folder, part._image_files, part._labels) for part in parts)
    both = Files(folder, train.names + val.names, train.labels + val.labels)
    return Listing(tuple(parts[0].classes), both, test, len(val.names))


def _split(root: Path, name: str) -> Any:
    return datasets.FGVCAircraft(root, split=name, annotation_level="variant")


def _remotes() -> list[Remote]:
    # No checksum is published; that of gzip protects the archive.
    return [Remote(datasets.FGVCAircraft._URL, None, f"{_FOLDER}.tar.gz", unpack="")]


_AIRCRAFT = ListedImages("aircraft", _FOLDER, _list_files, _remotes)
load_aircraft, prepare_aircraft = _AIRCRAFT.load, _AIRCRAFT.prepare
