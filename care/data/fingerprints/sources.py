"""List the files of each data set, and facts that decide its samples beside their content."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from care.config import DataConfig
from care.data.fingerprints.image_folder import imagenet_config, list_image_folder
from care.data.fingerprints.proteins import proteins_path, structure_files
from care.errors import CareError

_CIFAR10 = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
_STL10 = ("train_X.bin", "unlabeled_X.bin", "test_X.bin", "train_y.bin", "test_y.bin")


class NotHereError(CareError):
    """The files of a data set are not on this machine."""


class DataFiles(NamedTuple):
    """The files that decide the samples of a data set.

    Attributes:
        folder: Folder of the files, relative to the data root.
        names: Paths relative to the folder, in the order of the samples.
        facts: Facts that decide samples beside the files' content, e.g. labels from folder names.
        class_list: The classes of a class list; empty without one.
    """

    folder: str
    names: Sequence[str]
    facts: Sequence[str] = ()
    class_list: Sequence[str] = ()


def find_digits() -> Path:
    """Find the digits in the installed scikit-learn, whose import would take two seconds.

    Raises:
        NotHereError: There is no scikit-learn, or it lacks the file.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise NotHereError("scikit-learn is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not file.is_file():
        raise NotHereError(f"{file}: missing")
    return file


def digits_files(config: DataConfig, root: Path) -> DataFiles:  # noqa: ARG001 - not below the root
    """List nothing below the root, but hash the digits of scikit-learn."""
    # Unpacked: a newly compressed file has other bytes for equal numbers.
    content = gzip.decompress(find_digits().read_bytes())
    return DataFiles("", (), (hashlib.sha256(content).hexdigest(),))


def cifar10_files(config: DataConfig, root: Path) -> DataFiles:  # noqa: ARG001
    """List the unpacked batches of CIFAR-10."""
    return _require(root, "cifar-10-batches-py", (*_CIFAR10, "test_batch", "batches.meta"))


def cifar100_files(config: DataConfig, root: Path) -> DataFiles:  # noqa: ARG001
    """List the unpacked batches of CIFAR-100."""
    return _require(root, "cifar-100-python", ("train", "test", "meta"))


def stl10_files(config: DataConfig, root: Path) -> DataFiles:  # noqa: ARG001
    """List the unpacked images and labels of STL-10."""
    return _require(root, "stl10_binary", (*_STL10, "class_names.txt"))


def tree_files(config: DataConfig, root: Path) -> DataFiles:
    """List the image files of an image folder; its classes and labels are facts."""
    if not (root / (config.path or "")).is_dir():
        raise NotHereError(f"{root / (config.path or '')}: missing")
    tree = list_image_folder(config, root)
    parts = (tree.train, tree.held_out)
    return DataFiles(
        tree.path,
        [f"{part.folder.name}/{name}" for part in parts for name in part.names],
        [*tree.classes, *(" ".join(map(str, part.labels)) for part in parts)],
        tree.classes if config.class_list else (),
    )


def imagenet100_files(config: DataConfig, root: Path) -> DataFiles:
    """List the image files of the classes of ImageNet-100."""
    try:
        config = imagenet_config(config, root)
    except CareError as error:
        raise NotHereError(str(error)) from error
    return tree_files(config, root)


def proteins_files(config: DataConfig, root: Path) -> DataFiles:
    """List the files of the structures; their names are facts, as they order the proteins."""
    path = proteins_path(config, root)
    if (root / path).is_dir():
        names = structure_files(root / path)
        return DataFiles(str(path), names, names)
    return _require(root, str(path.parent), [path.name])


def _require(root: Path, folder: str, names: Sequence[str], facts: Sequence[str] = ()) -> DataFiles:
    missing = [name for name in names if not (root / folder / name).is_file()]
    if missing:
        raise NotHereError(f"{root / folder / missing[0]}: missing")
    return DataFiles(folder, names, facts)
