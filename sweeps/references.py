"""Find the references of a sweep: encoders that it did not train, measured on its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from analysis.summary import ReferenceEncoder
from care.config import TrialConfig
from care.errors import CareError
from care.system.files import DamagedFileError
from care.trials.records import ProvenanceRecord
from care.trials.reference import (
    Reference,
    list_references,
    read_reference,
    setting_id,
)
from care.trials.staleness import Versions, data_difference
from sweeps.spec.sweep import Sweep
from sweeps.store import Store

_SHOWN_DIGITS = 8


def references_of_sweep(sweep: Sweep, store: Store) -> Iterator[Reference | DamagedFileError]:
    """Yield the references on the data of a sweep, with its augmentation and evaluation.

    Yields:
        Each reference, or the error of one whose files cannot be read.

    Raises:
        CareError: The references' folder cannot be read.
    """
    if sweep.spec.measured_otherwise():  # none can stand beside all points
        return
    wanted = setting_id(sweep.base_config())
    for path in list_references(store.root):
        try:
            reference = read_reference(path)
        except DamagedFileError as error:
            yield error
            continue
        if reference and reference.record.setting_id == wanted:
            yield reference


def read_references(sweep: Sweep, store: Store) -> Iterator[tuple[Reference, str]]:
    """Yield each readable reference of a sweep, and why it does not count; empty if it does."""
    config, versions = sweep.base_config(), Versions()
    for reference in references_of_sweep(sweep, store):
        if isinstance(reference, Reference):
            yield reference, _why_left_out(reference, versions, config, {})


def reference_encoders(
    sweep: Sweep, store: Store, trained: Iterable[ProvenanceRecord | None]
) -> tuple[ReferenceEncoder, ...]:
    """List the references of a sweep for its report, and those that it names but lacks.

    Args:
        sweep: The sweep.
        store: The store.
        trained: Records of the trials that count, whose data the references must have.
    """
    config, versions = sweep.base_config(), Versions()
    data: Mapping[str, str] = {}
    rows: list[ReferenceEncoder] = []
    names: set[str] = set()
    for reference in references_of_sweep(sweep, store):
        if isinstance(reference, DamagedFileError):
            reason = f"{reference.path.name} {reference.problem}"
            identity = reference.path.parent.name
            rows.append(ReferenceEncoder(identity, f"reference {identity}", {}, reason))
            continue
        data = data or next((record.data for record in trained if record), {})
        names.update(reference.record.names)
        reason = _why_left_out(reference, versions, config, data)
        measures = {} if reason else dict(reference.measures)
        record = reference.record
        rows.append(ReferenceEncoder(record.reference_id, record.encoder.label, measures, reason))
    rows.sort(key=lambda row: (row.label, row.reference_id))
    missing = [name for name in sweep.spec.references if name not in names]
    reason = "not measured; care evaluate --encoder {} {} measures it"
    return (
        *_with_distinct_labels(rows),
        *(ReferenceEncoder("", name, {}, reason.format(name, sweep.spec.name)) for name in missing),
    )


def unmeasured(sweep: Sweep, store: Store, *, stale: bool = False) -> list[str]:
    """List the references that a sweep names and that have no measures yet.

    A file of weights is always listed, because its content may have changed.

    Args:
        sweep: The sweep.
        store: The store.
        stale: Whether those with stale measures are listed, too.
    """
    names = sweep.spec.references
    if not names:
        return []
    config, versions = sweep.base_config(), Versions()
    measured = {
        name
        for reference in references_of_sweep(sweep, store)
        if isinstance(reference, Reference)
        and not (stale and _why_left_out(reference, versions, config, {}))
        for name in reference.record.names
    }
    return [name for name in names if name not in measured or _is_file(name)]


def _is_file(name: str) -> bool:
    weights = name.rpartition("@")[0] if name.rpartition("@")[2].isdigit() else name
    return Path(weights.split(":", 2)[-1]).is_file()


def _why_left_out(
    reference: Reference, versions: Versions, config: TrialConfig, data: Mapping[str, str]
) -> str:
    try:
        reason = reference.why_stale(versions, config)
    except CareError as error:  # a plugin's module is missing
        return str(error)
    # Data that are not on this machine are compared with those of the trials.
    return reason or data_difference(reference.provenance.data, data, config, verb="measured on")


def _with_distinct_labels(rows: list[ReferenceEncoder]) -> list[ReferenceEncoder]:
    """Add the first digits of the identity to labels that several rows have."""
    counts = Counter(row.label for row in rows)
    return [
        replace(row, label=f"{row.label} ({row.reference_id[:_SHOWN_DIGITS]})")
        if counts[row.label] > 1
        else row
        for row in rows
    ]
