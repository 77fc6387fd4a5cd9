"""Compare an encoder that was trained again with the one on record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from care.config import TrialConfig
from care.config.loading import parse_override, set_field, validate
from care.errors import CareError, ConfigError, Problem
from care.pretrained.exported import RECORD, WEIGHTS, ExportRecord, is_exported, read_exported
from care.pretrained.model_card import read_card
from care.trials.folder import TrialFolder
from care.trials.pinned import PinnedTrial
from care.trials.records import ProvenanceRecord

_SCALARS = ("code_version", "device", "device_name", "cpu", "threads", "processes", "precision")
_MAPPINGS = ("versions", "data", "plugins")


@dataclass(frozen=True)
class Reproduction:
    """An encoder trained again.

    Attributes:
        recorded: SHA-256 of the exported weights.
        sha256: SHA-256 of the new weights.
        differences: Recorded circumstances that differ, one line each.
        measures: Recorded and new value of each measure that differs, by name.
    """

    recorded: str
    sha256: str
    differences: tuple[str, ...]
    measures: dict[str, tuple[float, float]]

    @property
    def equal(self) -> bool:
        """True if the weights are equal, bit for bit."""
        return self.recorded == self.sha256


def read_recipe(source: Path) -> ExportRecord:
    """Read the record of an export from its folder, its ``config.json``, or a card alone.

    Raises:
        CareError: The export is of an unfinished training.
        ConfigError: ``source`` is neither.
        DamagedFileError: The file is damaged.
    """
    if is_exported(source) or (source / RECORD).is_file():
        record = read_exported(source)
    elif source.is_file() and source.name in (RECORD, WEIGHTS):
        record = read_exported(source.parent)
    elif source.is_file():
        record = read_card(source)
    else:
        allowed = "allowed: a folder that 'care export TRIAL --to DIR' wrote, or its model card"
        raise ConfigError("care reproduce", [Problem("source", str(source), allowed)])
    if record.epoch < record.epochs:
        raise CareError(
            f"{source}: was exported after {record.epoch} of {record.epochs} epochs; only the "
            "encoder of a finished training can be reproduced"
        )
    return record


def recipe_config(record: ExportRecord, source: Path, overrides: list[str]) -> TrialConfig:
    """Return the configuration to train again, with the recorded threads and processes.

    Args:
        record: The export.
        source: File or folder of the record, for messages.
        overrides: ``field=value`` below ``runtime``.

    Raises:
        CareError: It was trained with the code of another revision, by a sweep with ``code``.
        ConfigError: Another field, or a value that is not allowed.
    """
    config = record.trial_config(source)
    if isinstance(config, PinnedTrial):
        raise CareError(
            f"{source}: was trained by a sweep with 'code'; only such a sweep trains it again, "
            f"with commit {record.provenance.git_commit or 'unknown'} ({config.code_version})"
        )
    tree = config.model_dump(mode="json", exclude={"runtime"})
    provenance = record.provenance
    set_field(tree, "runtime.threads", provenance.threads)
    set_field(tree, "runtime.processes", provenance.processes)
    if provenance.device == "cpu":
        set_field(tree, "runtime.device", "cpu")
    for override in overrides:
        field, value = parse_override(override)
        if field.partition(".")[0] != "runtime":
            allowed = "allowed: fields of runtime; others make another trial"
            raise ConfigError("command line", [Problem(field, value, allowed)])
        set_field(tree, field, value)
    return validate(TrialConfig, tree, str(source))


def compare(record: ExportRecord, folder: TrialFolder) -> Reproduction:
    """Compare the weights and measures of a finished trial with an export.

    Raises:
        CareError: See :func:`care.load`.
    """
    from care.pretrained.export import pack_export  # imports torch
    from care.pretrained.load import load

    files = pack_export(folder, load(folder.path))
    provenance = folder.read_provenance()
    assert provenance is not None  # load has read it
    now = folder.read_evaluation() or {}
    measures = {
        name: (value, now[name])
        for name, value in record.measures.items()
        if name in now and now[name] != value
    }
    return Reproduction(
        recorded=record.sha256,
        sha256=hashlib.sha256(files[WEIGHTS]).hexdigest(),
        differences=tuple(_list_differences(record.provenance, provenance)),
        measures=measures,
    )


def _list_differences(recorded: ProvenanceRecord, now: ProvenanceRecord) -> Iterator[str]:
    """Yield what differs between two starts, and can change numbers."""
    for name in _SCALARS:
        before, after = getattr(recorded, name), getattr(now, name)
        if before != after:
            yield f"{name}: {before} recorded, {after} here"
    for name in _MAPPINGS:
        before, after = getattr(recorded, name), getattr(now, name)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                shown = (before.get(key, "none"), after.get(key, "none"))
                yield f"{name}, {key}: {shown[0]} recorded, {shown[1]} here"
