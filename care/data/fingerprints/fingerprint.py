"""Fingerprint the content of data sets, regardless of file names, times and locations.

A fingerprint covers every byte of a data set's files, the order of the samples, and labels and
classes from folder names or a class list. It does not cover the image size or the number of samples
that a configuration asks for, as a trial's identity has these.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from care.config import DataConfig
from care.data.fingerprints.hashes import HashedFiles, combine
from care.data.fingerprints.sources import DataFiles, NotHereError
from care.errors import CareError
from care.plugins import load

CLASS_LIST = "class_list"
_FOLDER = ".care-hashes"


def hashed_files(root: Path, folder: str, class_list: str | None = None) -> HashedFiles:
    """Return the hashes of a data set's files, stored in ``.care-hashes/`` below the data root.

    Args:
        root: The data root.
        folder: Folder of the files, relative to the root.
        class_list: Name of the class list: each selects its own files of one folder.
    """
    label = re.sub(r"[^\w.-]+", "_", folder).strip("._") or "files"
    name = f"{label}-{combine([folder, class_list or ''])[:8]}.json"
    return HashedFiles(root / folder, root / _FOLDER / name)


def fingerprints(config: DataConfig, root: Path) -> dict[str, str]:
    """Fingerprint the present content of a data set; writes nothing.

    Args:
        config: The data set.
        root: The data root.

    Returns:
        32 hexadecimal digits for the data set, with key ``""``, and for ``class_list`` with one.

    Raises:
        NotHereError: The files are not on this machine.
        CareError: The files are no valid data set.
    """
    if config.source.files is None:
        return {"": _fingerprint_samples(config, root)}
    files = list_files(config, root)
    hashes = hashed_files(root, files.folder, config.class_list).hashes(files.names)
    prints = {"": combine([*files.facts, *hashes])}
    if files.class_list:
        prints[CLASS_LIST] = combine(files.class_list)
    return prints


def remember_hashes(config: DataConfig, root: Path) -> bool:
    """Hash a data set's files and store the hashes, so that other processes skip unchanged files.

    Returns:
        False if the files are missing or no valid data set.
    """
    if config.source.files is None:
        return True
    try:
        files = list_files(config, root)
    except (CareError, OSError):
        return False
    hashed_files(root, files.folder, config.class_list).remember(files.names)
    return True


def list_files(config: DataConfig, root: Path) -> DataFiles:
    """List the files of a data set that has some.

    Raises:
        NotHereError: The files are not on this machine.
        CareError: The files are no valid data set.
    """
    assert config.source.files is not None
    files: DataFiles = load(config.source.files)(config, root)
    return files


@lru_cache(maxsize=8)
def _fingerprint_samples(config: DataConfig, root: Path) -> str:
    """Fingerprint the samples of a data set that does not list its files."""
    from care.data.dataset import content_hash, load_dataset

    whole = config.model_copy(update={"side": None, "train_images": None, "test_images": None})
    try:
        return content_hash(load_dataset(whole, root))
    except FileNotFoundError as error:
        raise NotHereError(str(error)) from error
