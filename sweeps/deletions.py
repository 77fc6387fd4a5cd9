"""The log of deleted sweeps and trials, by which MLflow's runs of them are deleted as well."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from care.system.files import Writer, read_lines
from care.trials.records import Record
from sweeps.process.lock import locked

_NAME = "deleted.jsonl"


class DeletionRecord(Record):
    """A line about trials, or about a sweep.

    Attributes:
        trials: Time of the first start by identity; empty for a trial whose file was damaged.
        sweep: Name of a sweep; empty for trials.
        created: Time of the sweep's first start; a sweep of this name that starts later has
            another.
    """

    trials: dict[str, str] = Field(default_factory=dict)
    sweep: str = ""
    created: str = ""


def record_deletion(root: Path, deletion: DeletionRecord) -> None:
    """Append a line to the log of a store, before anything is deleted.

    Raises:
        DiskError: The disk is full or the store cannot be written.
    """
    with locked(root / ".store.lock"):
        Writer().append(root / _NAME, deletion.model_dump(mode="json"))


def read_deletions(root: Path) -> list[DeletionRecord]:
    """Read the log of a store, oldest line first.

    Raises:
        DamagedFileError: A line cannot be read.
    """
    return [DeletionRecord.model_validate(line) for line in read_lines(root / _NAME)]
