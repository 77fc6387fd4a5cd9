"""A run of MLflow as this project knows it: identity, tags, names of metrics, data sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_DELETED = "deleted"


@dataclass(frozen=True)
class Dataset:
    """A data set of a trial.

    Attributes:
        name: Its name in the configuration.
        digest: The start of its fingerprint, at most 36 characters.
        context: ``train``, or ``transfer`` for a data set of the measures.
    """

    name: str
    digest: str
    context: str


_known_names: dict[frozenset[str], frozenset[str]] = {}

Identity = tuple[tuple[str, str], ...]
Row = tuple[str, float, int, int]


@dataclass
class Run:
    """The last known content of a run.

    Attributes:
        run_id: MLflow's id of the run.
        status: MLflow's status, e.g. ``RUNNING``.
        tags: Its tags.
        metrics: Names of its metrics.
        deleted: Whether it is deleted in MLflow, which keeps deleted runs until they are purged.
        artifacts: URI of its files.
    """

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: frozenset[str] = frozenset()
    deleted: bool = False
    artifacts: str = ""


def share(names: Iterable[str]) -> frozenset[str]:
    """Return the one object for equal names of metrics: each run has a hundred."""
    key = frozenset(names)
    return _known_names.setdefault(key, key)


def has_tags(run: Run, tags: Identity) -> bool:
    """Check that a run has these tags."""
    return all(run.tags.get(name) == value for name, value in tags)


def as_run(mlflow_run: Any) -> Run:
    """Convert a run of MLflow's client."""
    data, info = mlflow_run.data, mlflow_run.info
    deleted = info.lifecycle_stage == _DELETED
    metrics = share(data.metrics)
    return Run(info.run_id, info.status, dict(data.tags), metrics, deleted, info.artifact_uri)
