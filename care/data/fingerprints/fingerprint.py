"""Fingerprints of what data sets hold: of their files' content, not of names, times or places.

A fingerprint depends on every byte of the files that a data set is made of, on the order of its
samples, and on the labels and classes that folders or a class list give. It does not depend on the
side or on a part that a configuration asks for, which are in a trial's identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from care.config import DataConfig
from care.data.fingerprints.hashes import HashedFiles, combined
from care.data.fingerprints.sources import DataFiles, NotHereError
from care.errors import CareError
from care.plugins import load

CLASS_LIST = "class_list"
_FOLDER = ".care-hashes"


def _quiet(_: str) -> None:
    """Show nothing."""


def hashed_files(
    root: Path,
    folder: str,
    class_list: str | None = None,
    say: Callable[[str], None] = _quiet,
) -> HashedFiles:
    """The hashes of a data set's files, remembered in ``.care-hashes/`` below the data root.

    Args:
        root: The data root.
        folder: Where the files lie, relative to it.
        class_list: Data sets with other classes of one tree remember other files.
        say: Called with a line before more than a gigabyte is read.
    """
    label = re.sub(r"[^\w.-]+", "_", folder).strip("._") or "files"
    name = f"{label}-{combined([folder, class_list or ''])[:8]}.json"
    return HashedFiles(root / folder, root / _FOLDER / name, say)


def fingerprints(
    config: DataConfig, root: Path, say: Callable[[str], None] = _quiet
) -> dict[str, str]:
    """Fingerprint what a data set holds now; writes nothing.

    Args:
        config: The data set.
        root: The data root.
        say: Called with a line before more than a gigabyte is read.

    Returns:
        32 hexadecimal digits for ``""``, the data set, and for ``class_list`` where there is one.

    Raises:
        NotHereError: Its files are not on this machine.
        CareError: Its files do not make a data set.
    """
    if config.source.files is None:
        return {"": _of_arrays(config, root)}
    files = _list(config, root)
    hashes = hashed_files(root, files.folder, config.class_list, say).hashes(files.names)
    prints = {"": combined([*files.facts, *hashes])}
    if files.class_list:
        prints[CLASS_LIST] = combined(files.class_list)
    return prints


def remember_hashes(config: DataConfig, root: Path, say: Callable[[str], None] = _quiet) -> bool:
    """Hash a data set's files and write the hashes beside it, so that others need not read them.

    Returns:
        False when its files are not there, or do not make a data set.
    """
    if config.source.files is None:
        return True
    try:
        files = _list(config, root)
    except (CareError, OSError):
        return False
    hashed_files(root, files.folder, config.class_list, say).remember(files.names)
    return True


def _list(config: DataConfig, root: Path) -> DataFiles:
    assert config.source.files is not None
    files: DataFiles = load(config.source.files)(config, root)
    return files


@lru_cache(maxsize=8)
def _of_arrays(config: DataConfig, root: Path) -> str:
    """The fingerprint of a data set that does not name its files, from the samples themselves."""
    from care.data.dataset import content_hash, load_dataset

    whole = config.model_copy(update={"side": None, "train_images": None, "test_images": None})
    try:
        return content_hash(load_dataset(whole, root))
    except FileNotFoundError as error:
        raise NotHereError(str(error)) from error
