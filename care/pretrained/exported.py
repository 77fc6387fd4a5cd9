"""Read the files of an exported encoder, and check their hashes.

=====================  ============================================================================
``model.safetensors``  weights of encoder and head; the header has identity and preprocessing
``config.json``        :class:`ExportRecord`: configuration, preprocessing, origin, measures, hashes
``README.md``          the model card (:mod:`care.pretrained.model_card`)
``encoder.pt2``        optional: a program for torch alone (:mod:`care.pretrained.program`)
=====================  ============================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from care.config import TrialConfig
from care.config.loading import validate
from care.errors import CareError
from care.system.files import DamagedFileError, read_whole
from care.trials.identity import trial_id
from care.trials.pinned import trial_model
from care.trials.records import (
    PreprocessingRecord,
    ProvenanceRecord,
    Record,
    Values,
    read_record,
)

FORMAT = 1
WEIGHTS, RECORD, CARD, PROGRAM = "model.safetensors", "config.json", "README.md", "encoder.pt2"
HEADER = "care"
"""Key of the weights' metadata; the only one, because several have no fixed order."""
_LARGEST = 2**36
_AGAIN = "Export the trial again, or take the files from where they came"


class ExportRecord(Record):
    """``config.json``: what an encoder is, where it comes from, and how it is checked.

    Attributes:
        format: Version of the export's layout.
        trial_id: Identity of the trial.
        group_id: Identity without the seed.
        config: The trial's configuration, without ``runtime``.
        epoch: Completed epochs.
        epochs: Configured number of epochs.
        preprocessing: How samples become the network's input.
        sha256: Hash of the weights' file, 64 hexadecimal digits.
        provenance: Code, libraries, device, threads and data of the training.
        measures: Final measures by name; empty before the end of the training.
    """

    format: int
    trial_id: str
    group_id: str
    config: dict[str, object]
    epoch: NonNegativeInt
    epochs: PositiveInt
    preprocessing: PreprocessingRecord
    sha256: str
    provenance: ProvenanceRecord
    measures: Values

    def trial_config(self, source: Path) -> TrialConfig:
        """Return the configuration, checked against the identity.

        Args:
            source: File of the record, for messages.

        Raises:
            ConfigError: A value is not allowed, or needs a plugin.
            DamagedFileError: The configuration is of another trial.
        """
        config = validate(trial_model(self.config), dict(self.config), str(source))
        if trial_id(config) != self.trial_id:
            problem = f"holds the configuration of another trial, {trial_id(config)}"
            raise DamagedFileError(source, problem, f"{_AGAIN}.")
        return config

    def header(self) -> dict[str, str]:
        """Return the metadata of the weights' file."""
        content = {"trial_id": self.trial_id, "preprocessing": self.preprocessing.model_dump()}
        return {HEADER: json.dumps(content, sort_keys=True)}


def is_exported(folder: Path) -> bool:
    """Check whether a folder has the files of an export; their content is not read."""
    return (folder / RECORD).is_file() and (folder / WEIGHTS).exists()


def read_exported(folder: Path) -> ExportRecord:
    """Read ``config.json`` of an export.

    Raises:
        CareError: There is no such file, or a newer version of this project wrote it.
        DamagedFileError: The file is damaged.
    """
    path = folder / RECORD
    record = read_record(path, ExportRecord)
    if record is None:
        raise CareError(f"{path}: missing; allowed: a folder that 'care export' wrote")
    if record.format > FORMAT:
        raise CareError(
            f"{path}: format {record.format} was written by a newer version of care; this one "
            f"reads up to format {FORMAT}. Update care."
        )
    return record


def read_weights(folder: Path, record: ExportRecord) -> bytes:
    """Read the weights' file of an export and check it against the record.

    Raises:
        CareError: The file is missing.
        DamagedFileError: The file was changed or cut, or the record's preprocessing was changed.
    """
    path = folder / WEIGHTS
    content = read_whole(path, _LARGEST)
    if content is None:
        raise CareError(f"{path}: missing. {_AGAIN}.")
    digest = hashlib.sha256(content).hexdigest()
    if digest != record.sha256:
        problem = f"was changed or cut: its SHA-256 is {digest}, not {record.sha256} of {RECORD}"
        raise DamagedFileError(path, problem, f"{_AGAIN}.")
    if _read_header(content).get(HEADER) != record.header()[HEADER]:
        problem = f"has another trial or preprocessing than the header of {WEIGHTS}"
        raise DamagedFileError(folder / RECORD, problem, f"{_AGAIN}.")
    return content


def _read_header(content: bytes) -> Mapping[str, str]:
    """Return the metadata of a safetensors file: 8 bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata: Mapping[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata
