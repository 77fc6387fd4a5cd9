"""Compare the numbers of one trial in two stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from care.system.files import read_whole
from care.trials.folder import TrialFolder
from care.trials.records import ProvenanceRecord

_NUMBERS = ("metrics.jsonl", "evaluation.json")
_CAUSES = ("code_version", "device", "device_name", "threads", "processes", "precision", "cpu")
_SHOWN = 3


def differences(here: TrialFolder, there: TrialFolder) -> str:
    """Describe how the numbers of a finished trial differ in two stores; empty if they do not.

    Args:
        here: The trial in this store.
        there: The trial in the other store.

    Raises:
        DamagedFileError: A file cannot be read.
    """
    if all(read_whole(here.path / name) == read_whole(there.path / name) for name in _NUMBERS):
        return ""
    fields = [*_measures(here, there), *_metrics(here, there)]
    if not fields:  # the files differ, e.g. in the order of fields, the numbers do not
        return ""
    more = f" and {len(fields) - _SHOWN} more" if len(fields) > _SHOWN else ""
    causes = list(_causes(here.read_provenance(), there.read_provenance()))
    reason = f"; run with other {', '.join(causes)}" if causes else "; run alike"
    return f"{', '.join(fields[:_SHOWN])}{more}{reason}"


def _measures(here: TrialFolder, there: TrialFolder) -> Iterator[str]:
    one, other = here.read_evaluation() or {}, there.read_evaluation() or {}
    for name in sorted({*one, *other}):
        if _differ(one, other, name):
            yield f"{name} {_shown(one, name)} here, {_shown(other, name)} there"


def _metrics(here: TrialFolder, there: TrialFolder) -> Iterator[str]:
    """Yield each metric with the first epoch in which it differs."""
    seen: set[str] = set()
    for one, other in zip(here.read_metrics(), there.read_metrics(), strict=False):
        for name in sorted({*one, *other} - seen):
            if _differ(one, other, name):
                seen.add(name)
                values = f"{_shown(one, name)} here, {_shown(other, name)} there"
                yield f"{name} from epoch {one['epoch']} ({values})"


def _differ(one: Mapping[str, float], other: Mapping[str, float], name: str) -> bool:
    return repr(one.get(name)) != repr(other.get(name))  # as text: NaN is unequal to NaN


def _shown(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:.6g}" if name in values else "none"


def _causes(one: ProvenanceRecord | None, other: ProvenanceRecord | None) -> Iterator[str]:
    """Yield what differs between two runs that may change numbers."""
    if one is None or other is None:
        return
    for name in _CAUSES:
        here, there = getattr(one, name), getattr(other, name)
        if here != there:
            yield f"{name.replace('_', ' ')} ({here} here, {there} there)"
    if one.versions != other.versions:
        yield "library versions"
    if one.data != other.data:
        yield "data"
