"""A seal in the report's folder that shows whether the report is up to date."""

from __future__ import annotations

import hashlib
from pathlib import Path

from analysis.summary import SweepSummary
from care.system.files import DamagedFileError, read_whole
from care.system.libraries import library_versions
from care.trials.trial_files import StoreFiles, TrialFiles

NAME = "inputs.sha256"
_LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy")  # they compute and draw
_TRIAL_FILES = (
    "trial.json",
    "metrics.jsonl",
    "timings.jsonl",
    "evaluation.json",
    "details.npz",
    "status.json",
    "provenance.json",
)


def fingerprint(files: StoreFiles, summary: SweepSummary) -> str:
    """Hash the inputs of a report: the sweep, its trials' files, this package's code, libraries."""
    digest = hashlib.sha256(repr((summary, library_versions(*_LIBRARIES))).encode())
    for file in _own_code():
        _add(digest, file.name, file)
    for member in summary.members:
        trial = files.trial(member.trial_id)
        for name in _TRIAL_FILES:
            digest.update(f"{name} {_describe(trial, name)}\n".encode())
    return digest.hexdigest()


def _describe(trial: TrialFiles, name: str) -> str:
    """Return the hash of a file, or its problem; empty without the file."""
    try:
        return trial.digest(name) or ""
    except DamagedFileError as error:
        return error.problem


def seal(out: Path, inputs: str) -> None:
    """Write the hashes of the inputs and of the report's files into the report's folder."""
    (out / NAME).write_text(f"{inputs}\n{_hash_report(out)}\n", encoding="utf-8")


def is_current(out: Path, inputs: str) -> bool:
    """Check that the report in ``out`` was made from ``inputs`` and none of its files changed."""
    try:
        sealed = read_whole(out / NAME)
    except DamagedFileError:
        return False
    return sealed == f"{inputs}\n{_hash_report(out)}\n".encode()


def _hash_report(out: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(out.rglob("*")):
        if file.name != NAME and (file.is_symlink() or not file.is_dir()):
            _add(digest, str(file.relative_to(out)), file)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, file: Path) -> None:
    try:
        content = read_whole(file) or b""
    except DamagedFileError as error:
        content = error.problem.encode()
    digest.update(f"{name} {len(content)}\n".encode())
    digest.update(content)


def _own_code() -> list[Path]:
    package = Path(__file__).parent
    return sorted([*package.rglob("*.py"), *(package / "templates").iterdir()])
