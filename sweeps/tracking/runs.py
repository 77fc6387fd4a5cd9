"""MLflow's runs by what identifies them, with what each of them is known to hold.

Asking MLflow costs milliseconds for each run, which a sweep of ten thousand trials cannot pay
again and again: what was read or written once is remembered. What another process adds meanwhile
to a run comes from the same store, so that writing it a second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.tracking.database import connect

_PAGE = 1000
# MLflow takes 1000 entities a call, of which 100 parameters and 100 tags.
_METRICS_A_CALL = 800

Identity = tuple[tuple[str, str], ...]
Row = tuple[str, float, int, int]


@dataclass
class Run:
    """A run as last seen.

    Attributes:
        run_id: MLflow's name of it.
        status: MLflow's, e.g. ``RUNNING``.
        tags: Its tags.
        metrics: Names of its metrics.
    """

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: set[str] = field(default_factory=set)


class Runs:
    """The runs of this project's experiment. To be used under :func:`.database.writing`.

    Args:
        store: Root of the store.
        uri: Where MLflow keeps runs.
    """

    def __init__(self, store: Path, uri: str) -> None:
        self._store, self._uri = store, uri
        self._client: Any = None
        self._experiment = ""
        self._known: dict[Identity, Run] = {}

    @property
    def client(self) -> Any:
        """MLflow's client."""
        if self._client is None:
            self._client, self._experiment = connect(self._store, self._uri)
        return self._client

    def find(self, identity: Identity) -> Run | None:
        """The run with these tags; None when there is none."""
        if identity not in self._known:
            found = self.search(identity)
            if not found:
                return None
            self.remember(identity, found[0])
        return self._known[identity]

    def known(self, identity: Identity) -> Run | None:
        """The same, without asking MLflow."""
        return self._known.get(identity)

    def search(self, tags: Iterable[tuple[str, str]]) -> list[Run]:
        """All runs with these tags, as they are now."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags)
        found: list[Run] = []
        client, token = self.client, None
        while True:
            page = client.search_runs(
                [self._experiment], query, max_results=_PAGE, page_token=token
            )
            found += [_as_run(run) for run in page]
            token = page.token
            if not token:
                return found

    def remember(self, identity: Identity, run: Run) -> None:
        """Find ``run`` under ``identity`` without asking MLflow."""
        self._known[identity] = run

    def forget(self, identity: Identity) -> None:
        """Ask MLflow the next time: what is remembered may be wrong, or is not worth its memory."""
        self._known.pop(identity, None)

    def create(
        self, name: str, identity: Identity, tags: dict[str, str], start: int | None = None
    ) -> Run:
        """Make a run.

        Args:
            name: For people.
            identity: Tags that it is found by.
            tags: More tags.
            start: Milliseconds since 1970; now when None.
        """
        whose = {"mlflow.user": "care", "mlflow.source.name": "care sweep run"}
        all_tags = {**whose, **dict(identity), **tags}
        client = self.client
        made = client.create_run(self._experiment, start_time=start, tags=all_tags, run_name=name)
        run = Run(str(made.info.run_id), str(made.info.status), all_tags)
        self._known[identity] = run
        return run

    def log(self, run: Run, params: dict[str, str], rows: list[Row], tags: dict[str, str]) -> None:
        """Add to a run, the tags last: MLflow writes a call's metrics before its tags.

        Args:
            run: The run.
            params: Parameters.
            rows: Metrics: name, value, milliseconds since 1970, step.
            tags: Tags; those that the run has already are not written.
        """
        from mlflow.entities import Metric, Param, RunTag

        changed = {name: value for name, value in tags.items() if run.tags.get(name) != value}
        while rows or params or changed:
            batch, rows = rows[:_METRICS_A_CALL], rows[_METRICS_A_CALL:]
            self.client.log_batch(
                run.run_id,
                metrics=[Metric(*row) for row in batch],
                params=[Param(name, value) for name, value in params.items()],
                tags=[] if rows else [RunTag(name, value) for name, value in changed.items()],
            )
            run.metrics.update(row[0] for row in batch)
            params = {}
            if not rows:
                run.tags |= changed
                return

    def delete_tag(self, run: Run, name: str) -> None:
        """Take a tag away, if the run has it."""
        if name in run.tags:
            self.client.delete_tag(run.run_id, name)
            del run.tags[name]

    def set_status(self, run: Run, status: str, ended: int | None) -> None:
        """Set a run's status and, unless it runs, when it ended (milliseconds since 1970)."""
        if run.status == status:
            return
        if status == "RUNNING":
            self.client.update_run(run.run_id, status)
        else:
            self.client.set_terminated(run.run_id, status, ended)
        run.status = status


def _as_run(found: Any) -> Run:
    data = found.data
    return Run(found.info.run_id, found.info.status, dict(data.tags), set(data.metrics))
