"""Prepare the files of a data set before any trial needs them."""

from __future__ import annotations

from pathlib import Path

from care.config import DataConfig
from care.data.fingerprints.fingerprint import remember_hashes
from care.data.reporter import Reporter
from care.plugins import load


def prepare(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Download the missing files of a data set and build its cache; a second call checks them.

    Args:
        config: The data set.
        root: Folder of the data sets' files.
        reporter: Receives the progress.

    Raises:
        CareError: Files are missing or damaged; states how to get them.
    """
    remembered = remember_hashes(config, root)
    if config.source.preparer:
        load(config.source.preparer)(config, root, reporter)
    if not remembered:  # the files were missing until now
        remember_hashes(config, root)
