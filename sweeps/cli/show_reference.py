"""``care show`` of a reference: an encoder that no trial of the store trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from care.errors import CareError, ConfigError
from care.system.files import DamagedFileError
from care.trials.log_lines import describe_device
from care.trials.reference import Reference, read_reference
from care.trials.staleness import Versions
from sweeps.references import references_of_sweep
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store


def reference_lines(path: Path, store: Store) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of a reference: encoder, data, state, measures, files, next command."""
    yield "reference", path.name
    try:
        reference = read_reference(path)
    except DamagedFileError as error:
        yield "damaged", f"{error.path.name} {error.problem}"
        yield "next", "repeat the care evaluate --encoder that measured it"
        yield "files", str(path)
        return
    assert reference is not None
    record = reference.record
    yield "is", record.encoder.label
    yield "weights", f"SHA-256 {record.encoder.sha256}"
    yield "beside", ", ".join(_sweeps(reference, store)) or "no sweep of this store"
    yield from _measurement_lines(reference)
    width = max(map(len, reference.measures), default=0)
    for number, (name, value) in enumerate(sorted(reference.measures.items())):
        yield ("" if number else "measures"), f"{name:{width}s}  {value:.4g}"
    yield "files", str(path)
    yield "next", f"care evaluate --encoder {record.names[-1]} SWEEP|FILE"


def _measurement_lines(reference: Reference) -> Iterator[tuple[str, str]]:
    provenance, record = reference.provenance, reference.record
    where = f" on {provenance.hostname}" if provenance.hostname else ""
    yield "measured", f"{record.created[:10]}{where}, {describe_device(provenance)}"
    try:
        config = reference.config()
        reason = reference.why_stale(Versions(), config)
    except (CareError, ValueError) as error:  # e.g. a plugin is missing
        yield "because", str(error)
        return
    yield "data", config.data.name
    if reason:
        yield "stale", f"{reason}; the command below measures it again"


def _sweeps(reference: Reference, store: Store) -> Iterator[str]:
    """Yield the sweeps in whose reports it stands."""
    for folder in store.all_sweeps():
        try:
            sweep = restore_sweep(folder.declaration())
        except (ConfigError, DamagedFileError):  # it hides no other sweep
            continue
        own = (one for one in references_of_sweep(sweep, store) if isinstance(one, Reference))
        if any(one.record.reference_id == reference.record.reference_id for one in own):
            yield sweep.spec.name
