"""Word the lines of a trial's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from care.trials.records import (
    ProvenanceRecord,
    StartRecord,
    StatusRecord,
    TimingRecord,
    Values,
)
from care.trials.state import State

_LIBRARIES = ("python", "torch")


def describe_provenance(provenance: ProvenanceRecord) -> str:
    """Describe the code and the device of a start."""
    commit = (provenance.git_commit or "")[:8]
    dirty = " with changes" if commit and provenance.git_dirty else ""
    libraries = [
        f"{name} {provenance.versions[name]}" for name in _LIBRARIES if name in provenance.versions
    ]
    parts = [
        f"code {provenance.code_version}" + (f", commit {commit}{dirty}" if commit else ""),
        ", ".join(libraries),
        describe_device(provenance),
        f"{provenance.processes} processes" if provenance.processes > 1 else "",
        provenance.precision or "",
    ]
    return "; ".join(part for part in parts if part)


def describe_device(provenance: ProvenanceRecord) -> str:
    """Describe the device and the threads of a start: ``cuda (H100), 1 thread``."""
    kind = provenance.device
    name = provenance.cpu if provenance.device_name in ("", kind) else provenance.device_name
    threads = "1 thread" if provenance.threads == 1 else f"{provenance.threads} threads"
    return f"{kind} ({name}), {threads}" if name else f"{kind}, {threads}"


def describe_start(start: StartRecord) -> str:
    """Describe a start: where, and from which epoch and step."""
    step = f", step {start.step}" if start.step else ""
    return f"started on {start.host}, process {start.pid}, after epoch {start.epoch}{step}"


def describe_epoch(metrics: Values, timing: TimingRecord) -> str:
    """Describe an epoch: its loss, γ_f and throughput."""
    names = {"loss": "train/loss", "γ_f": "heldout/gamma"}
    values = [f"{word} {metrics[name]:.4g}" for word, name in names.items() if name in metrics]
    parts = [*values, f"{timing.seconds:.1f} s", f"{timing.images_per_second:,.0f} images/s"]
    return f"epoch {timing.epoch}: {', '.join(parts)}"


def describe_measures(measures: Mapping[str, float]) -> str:
    """Describe the final measures, a line each."""
    lines = [f"  {name} {value:.4g}" for name, value in sorted(measures.items())]
    return "\n".join([f"measured: {len(measures)} measures", *lines])


def describe_end(status: StatusRecord, starts: Sequence[StartRecord]) -> str:
    """Describe how a process left a trial: its state, the wall time, and a traceback at last."""
    wall = _seconds_since(starts[-1].at, status.updated) if starts else None
    text = f"{status.state} after epoch {status.epoch} of {status.epochs}"
    if wall is not None:
        text += f", {wall:.0f} s after this start"
    if status.state != State.FAILED or status.error is None:
        return text
    error = status.error
    return f"{text}\n{error.kind}: {error.message}\n{error.traceback}".rstrip()


def _seconds_since(at: str, until: str) -> float | None:
    try:
        return max(
            0.0, (datetime.fromisoformat(until) - datetime.fromisoformat(at)).total_seconds()
        )
    except (ValueError, TypeError):  # a start of an earlier version has no time
        return None
