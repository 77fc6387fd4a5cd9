"""Oxford Flowers-102: 2,040 training images (its train and val splits) and 6,149 test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.config import DataConfig
from care.data import Dataset
from care.data.cache import build_cache
from care.data.download import Remote, fetch
from care.data.preparation import Reporter
from care.data.tree import FileSource, read_cached
from care.data_files.fingerprint import hashed_files
from care.data_files.image_folder import Files
from care.errors import CareError
from care.vision import datasets, download_and_extract_archive

_CLASSES = tuple(f"class {number:03d}" for number in range(1, 103))
_IMAGES = 8189


def load_flowers102(config: DataConfig, root: Path) -> Dataset:
    """The flowers from their cache; shorter side to ``side``, the middle cut out."""
    return read_cached("flowers102", _CLASSES, _sources(config, root), root)


def prepare_flowers102(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Download them where they are not there, and decode them."""
    kind = datasets.Flowers102
    remotes = [
        Remote(kind._download_url_prefix + name, md5, f"flowers-102/{name}")
        for name, md5 in kind._file_dict.values()
    ]
    fetch(lambda download: _read(root, remotes[0], download), remotes, root, reporter)
    for source in _sources(config, root):
        build_cache(source, root, reporter)


def _read(root: Path, archive: Remote, download: bool) -> None:
    """Have torchvision look, which takes a folder that was half unpacked for whole."""
    datasets.Flowers102(root, download=download)
    folder = root / "flowers-102"
    if len(list((folder / "jpg").glob("image_*.jpg"))) != _IMAGES:
        if not download:
            raise RuntimeError("images are missing")
        download_and_extract_archive(archive.url, str(folder), md5=archive.md5)


def _sources(config: DataConfig, root: Path) -> tuple[FileSource, FileSource]:
    side = config.pixels
    assert side is not None
    hashed = hashed_files(root, "flowers-102")
    train, test = _files(root, ("train", "val")), _files(root, ("test",)).mixed()
    return (
        FileSource(f"flowers102-train-{side}", train, side, hashed),
        FileSource(f"flowers102-test-{side}", test, side, hashed),
    )


def _files(root: Path, splits: tuple[str, ...]) -> Files:
    folder = root / "flowers-102" / "jpg"
    names: list[str] = []
    labels: list[int] = []
    try:
        for split in splits:
            read: Any = datasets.Flowers102(root, split=split)
            names += [Path(path).name for path in read._image_files]
            labels += read._labels
    except RuntimeError as error:
        message = f"{folder}: not there, or damaged; 'care data get flowers102' downloads it"
        raise CareError(message) from error
    return Files(folder, names, labels)
