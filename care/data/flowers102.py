"""Oxford Flowers-102: 2,040 training images (its train and val splits) and 6,149 test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care.config import DataConfig
from care.data.cache import build_caches
from care.data.dataset import Dataset
from care.data.download import Remote, fetch
from care.data.fingerprints.fingerprint import hashed_files
from care.data.fingerprints.image_folder import Files
from care.data.image_folder import FileSource, read_cached
from care.data.reporter import Reporter
from care.errors import CareError
from care.system.torchvision import datasets

_CLASSES = tuple(f"class {number:03d}" for number in range(1, 103))
_IMAGES = 8189
_FOLDER = "flowers-102"
_ADVICE = "'care data get flowers102' downloads it"


def load_flowers102(config: DataConfig, root: Path) -> Dataset:
    """Load the flowers from their cache: shorter side resized to ``side``, center crop."""
    return read_cached("flowers102", _CLASSES, _sources(config, root), root)


def prepare_flowers102(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Download the flowers unless they are complete, and build their cache."""
    kind = datasets.Flowers102
    names = {key: name for key, (name, _) in kind._file_dict.items()}
    remotes = [
        Remote(
            kind._download_url_prefix + name,
            md5,
            f"{_FOLDER}/{name}",
            unpack=_FOLDER if name == names["image"] else None,
        )
        for name, md5 in kind._file_dict.values()
    ]
    fetch(remotes, lambda: _is_unpacked(root / _FOLDER / "jpg"), root, reporter)
    build_caches(_sources(config, root), root, reporter)


def _is_unpacked(images: Path) -> bool:
    present = {path.name for path in images.glob("image_*.jpg")}
    return present >= {f"image_{number:05d}.jpg" for number in range(1, _IMAGES + 1)}


def _sources(config: DataConfig, root: Path) -> tuple[FileSource, FileSource]:
    side = config.pixels
    assert side is not None
    hashed = hashed_files(root, "flowers-102")
    train, test = _list_files(root, ("train", "val")), _list_files(root, ("test",)).shuffled()
    return (
        FileSource(f"flowers102-train-{side}", train, side, hashed),
        FileSource(f"flowers102-test-{side}", test, side, hashed),
    )


def _list_files(root: Path, splits: tuple[str, ...]) -> Files:
    folder = root / _FOLDER / "jpg"
    names: list[str] = []
    labels: list[int] = []
    try:
        for split in splits:
            flowers: Any = datasets.Flowers102(root, split=split)
            names += [Path(path).name for path in flowers._image_files]
            labels += flowers._labels
    except (RuntimeError, OSError) as error:
        raise CareError(f"{folder}: missing or damaged; {_ADVICE}") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        what = f"{len(missing)} of {len(names)} images are missing, e.g. {missing[0]}"
        raise CareError(f"{folder}: {what}; {_ADVICE}")
    return Files(folder, names, labels)
