"""From the store's files to MLflow's runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from care.claim import holder
from care.identity import code_version, flatten
from care.trial_folder import TrialFolder
from sweeps.tracking.database import connect, default_tracking_uri, writing

_METRICS_A_CALL = 1000
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "paused": "KILLED"}
_NOT_METRICS = ("epoch", "step")


class Projection:
    """Brings MLflow up to date with the store, a sweep or a trial at a time.

    Every method may raise what MLflow raises; nothing of the store depends on it.

    Args:
        store: Root of the store.
        uri: Where MLflow keeps runs; by default an SQLite file in the store.
    """

    def __init__(self, store: Path, uri: str | None = None) -> None:
        self.store = store
        self.uri = uri or default_tracking_uri(store)
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[tuple[str, ...], str] = {}

    def sync_sweep(self, name: str, description: str, state: str = "running") -> None:
        """Make or update the parent run of a sweep."""
        with writing(self.store):
            run_id = self._sweep_run(name)
            tags = {"mlflow.note.content": description}
            self._open().log_batch(run_id, tags=_tags(tags))
            self._set_status(run_id, _STATUS[state], None)

    def sync_trial(self, folder: TrialFolder, sweep: str, label: str) -> None:
        """Make or update the child run of a trial; what it has already is not written again.

        Args:
            folder: The trial; one that was never started has no run.
            sweep: Name of the sweep that asks. The first one is the run's parent; the others are
                noted as tags ``sweep.<name>``.
            label: Name of the run.
        """
        status = folder.read_status()
        if status is None:
            return
        with writing(self.store):
            run_id = self._trial_run(folder, sweep, label)
            client = self._open()
            known = client.get_run(run_id).data.tags
            self._log_new(run_id, folder, int(known.get("care.epochs_logged", 0)))
            tags = {**_trial_tags(folder, status), f"sweep.{sweep}": "member"}
            changed = {name: value for name, value in tags.items() if known.get(name) != value}
            if changed:
                client.log_batch(run_id, tags=_tags(changed))
            if "error" in known and "error" not in tags:
                client.delete_tag(run_id, "error")
            alive = status["state"] != "running" or holder(folder.path) is not None
            state = status["state"] if alive else "paused"
            self._set_status(run_id, _STATUS[state], _milliseconds(status["updated"]))

    def attach(self, sweep: str, files: list[Path]) -> None:
        """Put files, e.g. the report, on the sweep's run; the same name replaces."""
        with writing(self.store):
            run_id = self._sweep_run(sweep)
            for file in files:
                self._open().log_artifact(run_id, str(file), artifact_path="report")

    def _open(self) -> Any:
        if self._client is None:
            self._client, self._experiment = connect(self.store, self.uri)
        return self._client

    def _sweep_run(self, name: str) -> str:
        tags = {"care.kind": "sweep", "sweep": name}
        return self._find(tags) or self._create(name, tags, None)

    def _trial_run(self, folder: TrialFolder, sweep: str, label: str) -> str:
        trial = folder.read_trial()
        identity = {"care.kind": "trial", "trial_id": folder.trial_id}
        found = self._find({**identity, "care.created": trial["created"]})
        if found:
            return found
        # The trial was archived and is run anew: MLflow shows its old run under "deleted" only.
        for old in self._search(identity):
            self._open().delete_run(old)
        tags = {
            **identity,
            "care.created": trial["created"],
            "group_id": trial["group_id"],
            "seed": str(trial["config"]["seed"]),
            "mlflow.parentRunId": self._sweep_run(sweep),
        }
        run_id = self._create(label, tags, _milliseconds(trial["created"]))
        self._open().log_batch(run_id, params=_params(trial["config"]))
        return run_id

    def _find(self, tags: dict[str, str]) -> str | None:
        """The run with these tags, looked up once."""
        key = tuple(tags.values())
        if key not in self._runs:
            found = self._search(tags)
            if not found:
                return None
            self._runs[key] = found[0]
        return self._runs[key]

    def _search(self, tags: dict[str, str]) -> list[str]:
        client = self._open()
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return [run.info.run_id for run in client.search_runs([self._experiment], query)]

    def _create(self, name: str, tags: dict[str, str], start: int | None) -> str:
        client = self._open()
        whose = {"mlflow.user": "care", "mlflow.source.name": "care sweep run"}
        run = client.create_run(
            self._experiment, start_time=start, tags={**whose, **tags}, run_name=name
        )
        return str(run.info.run_id)

    def _log_new(self, run_id: str, folder: TrialFolder, logged: int) -> None:
        """Log the epochs after ``logged`` and, once, the final measures.

        The rows of a metric are unique in (key, timestamp, step, value), and all of these come from
        the store: rows that a crash kept from being noted are written over, not twice.
        """
        metrics = folder.read_metrics()
        times = {timing["epoch"]: timing for timing in folder.read_timings()}
        rows = [row for line in metrics[logged:] for row in _epoch_rows(line, times)]
        measures = folder.read_evaluation()
        if measures and metrics:
            last = metrics[-1]["epoch"]
            ended = round(times[last]["finished_at"] * 1000)
            # Step 0, because MLflow's page draws bars for what has no other step, dots otherwise.
            rows += [(name, value, ended, 0) for name, value in measures.items()]
        if not rows or (logged == len(metrics) and self._has_measures(run_id, measures)):
            return
        for batch in _batches(rows):
            self._open().log_batch(run_id, metrics=_metrics(batch))
        self._open().log_batch(run_id, tags=_tags({"care.epochs_logged": str(len(metrics))}))

    def _has_measures(self, run_id: str, measures: dict[str, float] | None) -> bool:
        known = self._open().get_run(run_id).data.metrics
        return measures is None or set(measures) <= set(known)

    def _set_status(self, run_id: str, status: str, ended: int | None) -> None:
        client = self._open()
        if client.get_run(run_id).info.status == status:
            return
        if status == "RUNNING":
            client.update_run(run_id, status)
        else:
            client.set_terminated(run_id, status, ended)


def _trial_tags(folder: TrialFolder, status: dict[str, Any]) -> dict[str, str]:
    provenance = folder.read_provenance() or {}
    code = str(provenance.get("code_version"))
    error = status["error"] or {}
    tags = {
        "state": status["state"],
        "code_version": code,
        "stale": "no" if code == code_version() else "yes",
        "git_commit": str(provenance.get("git_commit"))[:12],
        "git_dirty": str(provenance.get("git_dirty")).lower(),
        "device": str(provenance.get("device")),
        "threads": str(provenance.get("threads")),
    }
    if error:
        tags["error"] = f"{error['kind']}: {error['message']}"[:500]
    return tags


def _params(config: dict[str, Any]) -> list[Any]:
    """The configuration, flat and without ``runtime``."""
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in flatten(config) if name[:8] != "runtime."]


_Row = tuple[str, float, int, int]


def _epoch_rows(line: dict[str, Any], times: dict[int, dict[str, Any]]) -> Iterator[_Row]:
    timing = times[line["epoch"]]
    when = round(timing["finished_at"] * 1000)
    values = {**line, "images_per_second": timing["images_per_second"]}
    for name, value in values.items():
        if name not in _NOT_METRICS:
            yield name, value, when, line["epoch"]


def _batches(rows: list[_Row]) -> Iterator[list[_Row]]:
    for start in range(0, len(rows), _METRICS_A_CALL):
        yield rows[start : start + _METRICS_A_CALL]


def _metrics(rows: list[_Row]) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(*row) for row in rows]


def _tags(tags: dict[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in tags.items()]


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
