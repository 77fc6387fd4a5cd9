"""Measure the files of a store, a folder at a time, without reading them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from care.trials.folder import CHECKPOINT_NAME, WEIGHTS_NAME

TEMPORARY = re.compile(r"\..+\.tmp|\.(held|cut)-.+|\.(deleted|part)-.+|\.pull")
"""Names of files and folders that only a process in the middle of its work has."""
SET_ASIDE = re.compile(r".+\.damaged(-.+)?")
"""Names of damaged files that were kept."""


class Kind(StrEnum):
    """Kinds of files, as ``care store du`` lists them."""

    CHECKPOINTS = "checkpoints"
    WEIGHTS = "weights"
    LOGS = "records and logs"
    DETAILS = "details"
    REPORTS = "reports"
    REFERENCES = "references"
    ARCHIVE = "archive"
    CODE = "code snapshots"
    MLFLOW = "MLflow"
    LEFTOVERS = "leftovers"
    OTHER = "other"


@dataclass(frozen=True)
class DiskItem:
    """A file, or a folder with everything below it.

    Attributes:
        path: Where it is.
        bytes: Sum of the sizes of its files.
        changed: Latest write or rename of it or of a file below it, seconds since 1970.
    """

    path: Path
    bytes: int
    changed: float


@dataclass
class TrialFiles:
    """The files of a trial's folder.

    Attributes:
        sizes: Bytes by kind.
        checkpoints: The checkpoints.
        weights: The weights files.
        temporary: Files and folders that only a process in the middle of its work needs.
        set_aside: Damaged files that were kept.
        evaluation: The progress of the evaluation; None without any.
        claimed: A claim that was not released; its holder may be dead.
    """

    sizes: Counter[Kind] = field(default_factory=Counter)
    checkpoints: list[DiskItem] = field(default_factory=list)
    weights: list[DiskItem] = field(default_factory=list)
    temporary: list[DiskItem] = field(default_factory=list)
    set_aside: list[DiskItem] = field(default_factory=list)
    evaluation: DiskItem | None = None
    claimed: bool = False

    @property
    def bytes(self) -> int:
        """Sum of all sizes."""
        return self.sizes.total()


def entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder; none of a folder that is missing or cannot be read."""
    try:
        with os.scandir(folder) as listed:
            yield from listed
    except OSError:
        return


def measure(entry: os.DirEntry[str]) -> DiskItem:
    """Measure a file, or a folder with everything below it; links are not followed."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # removed meanwhile
        return DiskItem(Path(entry.path), 0, 0.0)
    if not entry.is_dir(follow_symlinks=False):
        return DiskItem(Path(entry.path), status.st_size, _changed(status))
    # The logs of a claim's holder have a second name in its folder.
    inner = (each for each in entries(entry.path) if not _is_second_name(each))
    below = [measure(each) for each in inner]
    changed = max((_changed(status), *(each.changed for each in below)))
    return DiskItem(Path(entry.path), sum(each.bytes for each in below), changed)


def _changed(status: os.stat_result) -> float:
    """Return the time of the last write or rename."""
    return max(status.st_mtime, status.st_ctime)


def _is_second_name(entry: os.DirEntry[str]) -> bool:
    held = f"{os.sep}.held-" in entry.path
    return held and entry.is_file() and entry.stat(follow_symlinks=False).st_nlink > 1


def measure_below(folder: Path) -> int:
    """Return the bytes of everything below a folder; 0 without one."""
    return sum(measure(entry).bytes for entry in entries(folder))


def scan_trial(folder: Path) -> TrialFiles:
    """Measure the files of a trial."""
    files = TrialFiles()
    for entry in entries(folder):
        _add(files, entry)
    return files


def _add(files: TrialFiles, entry: os.DirEntry[str]) -> None:
    name = entry.name
    item, kind = measure(entry), Kind.LOGS
    if CHECKPOINT_NAME.fullmatch(name):
        kind = Kind.CHECKPOINTS
        files.checkpoints.append(item)
    elif WEIGHTS_NAME.fullmatch(name):
        kind = Kind.WEIGHTS
        files.weights.append(item)
    elif name == "evaluation":
        kind, files.evaluation = Kind.CHECKPOINTS, item
    elif name == "details.npz":
        kind = Kind.DETAILS
    elif TEMPORARY.fullmatch(name):
        kind = Kind.LEFTOVERS
        files.temporary.append(item)
    elif SET_ASIDE.fullmatch(name):
        kind = Kind.LEFTOVERS
        files.set_aside.append(item)
    elif name.startswith("claim-") and not name.endswith(".released"):
        files.claimed = True
    files.sizes[kind] += item.bytes
