"""Bring the files of a data set into place, before any trial needs them."""

from __future__ import annotations

from pathlib import Path

from care.config import DataConfig
from care.data.fingerprints.fingerprint import remember_hashes
from care.data.reporter import Reporter
from care.plugins import load


def prepare(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Download what is missing of a data set and build its cache; a second call checks the files.

    Args:
        config: The data set.
        root: Folder of the data sets' files.
        reporter: Shows the progress.

    Raises:
        CareError: Its files are missing or damaged, with the way to get them.
    """
    remembered = remember_hashes(config, root, reporter.say)
    if config.source.preparer:
        load(config.source.preparer)(config, root, reporter)
    if not remembered:  # they were not there before
        remember_hashes(config, root, reporter.say)
