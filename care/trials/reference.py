"""Read and write references: encoders that no trial of the store trained, measured as trials are.

A reference is a folder beside the trials, so no plan counts, resumes or trains it::

    references/<reference_id>/
      reference.json    identity, encoder, configuration, checksums of the other files
      provenance.json   code, libraries, device, threads and data of the measurement
      evaluation.json   the measures
      details.npz       arrays for figures, and remarks on the measures
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care.config import TrialConfig
from care.errors import CareError
from care.registry import DATA, MEASURES
from care.system.arrays import read_arrays
from care.system.files import (
    DamagedFileError,
    DiskError,
    checksum,
    pack_json,
    read_whole,
    sync_folder,
    write_atomic,
    write_json,
)
from care.system.permissions import make_folder
from care.trials.code_version import evaluation_version
from care.trials.find import TRIAL_ID, list_names
from care.trials.folder import check_format, now
from care.trials.identity import canonical
from care.trials.plugin_versions import plugin_difference, plugin_versions
from care.trials.records import (
    Moment,
    PreprocessingRecord,
    ProvenanceRecord,
    Record,
    Values,
    read_record,
    read_values,
)
from care.trials.staleness import Versions, data_difference

FORMAT = 1
FOLDER = "references"
"""Name of the references' folder in a store."""
MEASURED_PARTS = ("data", "augmentation", "evaluation")
"""Parts of a configuration on which the measures of a given encoder depend."""
LIBRARIES = ("torchvision", "timm")
"""Libraries whose encoders can be measured by name."""
_RECORD = "reference.json"
_SEALED = ("provenance.json", "evaluation.json", "details.npz")
_DIGITS = 16
_TRIES = 5
_ADVICE = "Repeat the command that measured it"


class EncoderRecord(Record):
    """An encoder that was measured.

    Attributes:
        architecture: ``torchvision:resnet50``, ``timm:NAME``, or ``care:NAME`` for a trial's own.
        weights: Name of the weights, ``random``, a file's name, or the identity of a trial.
        sha256: Hash of the weights in safetensors.
        preprocessing: Size, mean and standard deviation of the images that it takes.
        has_head: It has a projection head.
    """

    architecture: str
    weights: str
    sha256: str
    preprocessing: PreprocessingRecord
    has_head: bool

    @property
    def label(self) -> str:
        """Its name for people: ``torchvision resnet50, IMAGENET1K_V2, at 224 px``."""
        library, _, name = self.architecture.partition(":")
        side = f", at {self.preprocessing.size[0]} px" if self.preprocessing.size else ""
        if library == "care":
            return f"trial {self.weights[:8]}, {name}{side}"
        weights = "random weights" if self.weights == "random" else self.weights
        return f"{library} {name}, {weights}{side}"


class ReferenceRecord(Record):
    """``reference.json``: identity, encoder and settings of a measurement.

    Attributes:
        format: Version of the store's layout.
        reference_id: Hash of encoder and settings.
        setting_id: Hash of the settings: data, augmentation and evaluation.
        names: The encoder as users named it.
        encoder: The encoder.
        config: Configuration whose :data:`MEASURED_PARTS` count.
        evaluation_version: Hash of the code that measured.
        created: Time of the measurement.
        checksums: Checksums of the other files by name.
    """

    format: int
    reference_id: str
    setting_id: str
    names: list[str]
    encoder: EncoderRecord
    config: dict[str, Any]
    evaluation_version: str
    created: Moment
    checksums: dict[str, str]


@dataclass(frozen=True)
class Reference:
    """A measured encoder, with all its files checked.

    Attributes:
        path: Its folder.
        record: Identity, encoder and settings.
        provenance: Code, libraries, hardware and data.
        measures: The measures by name.
    """

    path: Path
    record: ReferenceRecord
    provenance: ProvenanceRecord
    measures: Values

    def config(self) -> TrialConfig:
        """Return the configuration, of which data, augmentation and evaluation count.

        Raises:
            ValidationError: It is not valid in this version, e.g. it needs a plugin.
        """
        return TrialConfig.model_validate(self.record.config)

    def notes(self) -> list[str]:
        """Return the remarks on the measures."""
        arrays = read_arrays(self.path / "details.npz") or {}
        return [str(note) for note in arrays.get("notes", ())]

    def why_stale(self, versions: Versions, config: TrialConfig) -> str:
        """Explain how code or data differ from the present; empty if both are equal.

        Args:
            versions: The present data.
            config: The configuration with the data root of this machine.
        """
        if self.record.evaluation_version != evaluation_version():
            return "measured with other code"
        difference = plugin_difference(self.provenance.plugins, measuring_plugins(config))
        if not difference:
            recorded, present = self.provenance.data, versions.data(config)
            difference = data_difference(recorded, present, config, verb="measured on")
        return difference.replace("trained with", "measured with")


def measuring_plugins(config: TrialConfig) -> dict[str, str]:
    """Hash the code of each plugin that takes part in a measurement: data sets and measures."""
    kinds = (f"{DATA.kind} ", f"{MEASURES.kind} ")
    versions = plugin_versions(config)
    return {name: version for name, version in versions.items() if name.startswith(kinds)}


def setting_id(config: TrialConfig) -> str:
    """Hash data, augmentation and evaluation, all that the measures of an encoder depend on."""
    return _digest(_setting(config))


def reference_id(encoder: EncoderRecord, config: TrialConfig) -> str:
    """Hash an encoder and the settings of its measurement to 16 hexadecimal digits.

    The name of a file of weights does not count, as their hash does.
    """
    identifying = encoder.model_dump(mode="json", exclude={"weights"})
    return _digest({"encoder": identifying, **_setting(config)})


def _setting(config: TrialConfig) -> dict[str, Any]:
    tree = canonical(config)
    tree["evaluation"].pop("monitor", None)  # measures while a network trains
    return {part: tree[part] for part in MEASURED_PARTS if part in tree}


def _digest(tree: Mapping[str, Any]) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def references_of(root: Path) -> Path:
    """Return the references' folder of a store."""
    return root / FOLDER


def list_references(root: Path) -> Iterator[Path]:
    """Yield the folder of each reference of a store, damaged or not, by identity.

    Raises:
        CareError: The folder cannot be read.
    """
    for name in list_names(references_of(root)):
        if TRIAL_ID.fullmatch(name):
            yield references_of(root) / name


def read_reference(path: Path) -> Reference | None:
    """Read a reference and check its files; None without the folder.

    Raises:
        CareError: A newer version of this project wrote it.
        DamagedFileError: A file is missing or was changed.
    """
    record = read_record(path / _RECORD, ReferenceRecord)
    if record is None:
        if path.is_dir():
            raise DamagedFileError(path / _RECORD, "is missing", _ADVICE)
        return None
    check_format(record.format, path)
    if record.reference_id != path.name:
        problem = f"is of another reference, {record.reference_id}"
        raise DamagedFileError(path / _RECORD, problem, _ADVICE)
    for name in _SEALED:
        content = read_whole(path / name)
        if content is None or checksum(content) != record.checksums.get(name):
            problem = "is missing" if content is None else "was changed"
            raise DamagedFileError(path / name, problem, _ADVICE)
    provenance = read_record(path / "provenance.json", ProvenanceRecord)
    assert provenance is not None
    return Reference(path, record, provenance, read_values(path / "evaluation.json") or {})


def write_reference(
    root: Path,
    name: str,
    encoder: EncoderRecord,
    config: TrialConfig,
    provenance: ProvenanceRecord,
    measures: Mapping[str, float],
    details: Mapping[str, NDArray[Any]],
) -> Reference:
    """Store a measurement: the folder appears at once or not at all.

    An earlier measurement of this identity, stale or damaged, goes to the store's archive.

    Args:
        root: The store's folder.
        name: The encoder as the user named it.
        encoder: The encoder.
        config: The configuration.
        provenance: Code, libraries, hardware and data of the measurement.
        measures: The measures by name.
        details: Arrays for figures by name, and ``notes``.

    Raises:
        DiskError: The store cannot be written; nothing was changed.
    """
    contents = {
        "provenance.json": _pack("provenance.json", provenance),
        "evaluation.json": pack_json(Path("evaluation.json"), dict(measures)),
        "details.npz": _pack_arrays(details),
    }
    path = references_of(root) / reference_id(encoder, config)
    record = ReferenceRecord(
        format=FORMAT,
        reference_id=path.name,
        setting_id=setting_id(config),
        names=list(dict.fromkeys([*_earlier_names(path), name])),
        encoder=encoder,
        config=config.model_dump(mode="json"),
        evaluation_version=evaluation_version(),
        created=now(),
        checksums={name: checksum(content) for name, content in contents.items()},
    )
    contents[_RECORD] = _pack(_RECORD, record)
    _publish(path, contents, root / "archive")
    return Reference(path, record, provenance, dict(measures))


def _earlier_names(path: Path) -> list[str]:
    with contextlib.suppress(CareError):  # damaged: its names are asked for again
        earlier = read_reference(path)
        return earlier.record.names if earlier else []
    return []


def add_name(reference: Reference, name: str) -> None:
    """Record another name under which a user asked for the encoder of a reference.

    Raises:
        DiskError: The store cannot be written.
    """
    if name not in reference.record.names:
        names = [*reference.record.names, name]
        record = reference.record.model_copy(update={"names": names})
        write_json(reference.path / _RECORD, record.model_dump(mode="json"), in_store=True)


def _pack(name: str, record: Record) -> bytes:
    return pack_json(Path(name), record.model_dump(mode="json", exclude_unset=True))


def _pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _publish(path: Path, contents: Mapping[str, bytes], archive: Path) -> None:
    """Write the files to a temporary folder, then rename it to ``path``."""
    part = path.with_name(f".part-{path.name}-{secrets.token_hex(4)}")
    try:
        make_folder(part)
        for name, content in contents.items():
            write_atomic(part / name, content, in_store=True)
        sync_folder(part)
        _replace(part, path, archive)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace(part: Path, path: Path, archive: Path) -> None:
    """Rename ``part`` to ``path``, after what is there has moved to the archive."""
    for attempt in range(_TRIES):
        if os.path.lexists(path):
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
            make_folder(archive)
            with contextlib.suppress(FileNotFoundError):  # moved by another process
                path.rename(archive / f"{path.name}-{stamp}")
        try:
            part.rename(path)
        except OSError as error:
            taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST)  # measured elsewhere meanwhile
            if not taken or attempt == _TRIES - 1:
                raise
        else:
            return
