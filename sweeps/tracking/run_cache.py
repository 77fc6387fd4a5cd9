"""MLflow's runs of one store, with what each of them is known to hold.

Asking MLflow costs milliseconds for each run, which a sweep of ten thousand trials cannot pay
again and again: what was read or written once is remembered. What another process adds meanwhile
to a run comes from the same store, so that writing it a second time changes nothing.

A run is this store's if it has the store's uuid as a tag. No other run is ever returned, so none
can be changed: a tracking server is shared with other people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.store import Store
from sweeps.store_identity import settle_identity
from sweeps.tracking.database import STORE_TAG, connect, file_id, replace_if_damaged
from sweeps.tracking.destination import Destination

_PAGE = 1000
# MLflow takes 1000 entities a call, of which 100 parameters and 100 tags.
_METRICS_A_CALL = 800
_DELETED = "deleted"

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
        deleted: Whether it was deleted in MLflow, which keeps it until it is purged.
    """

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: set[str] = field(default_factory=set)
    deleted: bool = False


class Runs:
    """A store's runs in this project's experiment, for the holder of the destination's lock.

    Args:
        root: Root of the store.
        destination: Where MLflow keeps runs.
        say: Called with lines for the user.
    """

    def __init__(self, root: Path, destination: Destination, say: Callable[[str], None]) -> None:
        self._root, self._destination, self._say = root, destination, say
        self._client: Any = None
        self._experiment = ""
        self._store_uuid = ""
        self._file: tuple[int, int] | None = None
        self._known: dict[Identity, Run] = {}
        self._suspect = False

    @property
    def client(self) -> Any:
        """MLflow's client."""
        self._connect()
        return self._client

    def suspect(self) -> None:
        """Look for damage before the next write: one failed."""
        self._suspect = self._destination.own

    def renew(self) -> bool:
        """Forget everything if the store's own database is another file than before.

        It may have been damaged or deleted, or set aside by another process of this store.

        Returns:
            Whether everything was forgotten.
        """
        if self._suspect:
            replace_if_damaged(self._destination, self._say)
            self._suspect = False
        if self._client is None or self._file == file_id(self._destination.database):
            return False
        self._client = None
        self._known.clear()
        return True

    def _connect(self) -> None:
        if self._client is None:
            Store(self._root).prepare(self._say)
            identity = settle_identity(self._root, self._say)
            client, self._experiment = connect(self._destination, identity, self._say)
            self._store_uuid = str(identity["uuid"])
            self._file = file_id(self._destination.database)
            self._client = client

    def find(self, identity: Identity) -> Run | None:
        """The run with these tags; None when there is none. A deleted one only for want of others.

        Args:
            identity: Tags; MLflow looks for the first one, for it joins a table for each.
        """
        if identity not in self._known:
            found = [run for run in self.search(identity[:1]) if _has(run, identity)]
            if not found:
                return None
            self._known[identity] = min(found, key=lambda run: run.deleted)
        return self._known[identity]

    def search(self, tags: Iterable[tuple[str, str]]) -> list[Run]:
        """All of the store's runs with these tags as they are now, deleted ones, too."""
        from mlflow.entities import ViewType

        client, token = self.client, None
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags)
        found: list[Run] = []
        while True:
            page = client.search_runs(
                [self._experiment], query, ViewType.ALL, max_results=_PAGE, page_token=token
            )
            found += [_as_run(run) for run in page]
            token = page.token
            if not token:
                return [run for run in found if run.tags.get(STORE_TAG) == self._store_uuid]

    def refresh(self, run: Run) -> None:
        """Read the tags of a run anew."""
        run.tags = dict(self.client.get_run(run.run_id).data.tags)

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
        client = self.client
        all_tags = {STORE_TAG: self._store_uuid, **dict(identity), **tags}
        made = client.create_run(self._experiment, start_time=start, tags=all_tags, run_name=name)
        run = Run(str(made.info.run_id), str(made.info.status), all_tags)
        self._known[identity] = run
        return run

    def delete(self, run: Run) -> None:
        """Move a run to MLflow's deleted ones."""
        self.client.delete_run(run.run_id)
        run.deleted = True

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

    def attached(self, run: Run, path: str) -> bool:
        """Whether a file is among the run's; on a server that is taken for granted."""
        place = self._destination.artifacts
        if not self._destination.own or place is None:
            return True
        return (self._root / "mlflow-artifacts" / run.run_id / "artifacts" / path).exists()


def _has(run: Run, tags: Identity) -> bool:
    return all(run.tags.get(name) == value for name, value in tags)


def _as_run(found: Any) -> Run:
    data, info = found.data, found.info
    deleted = info.lifecycle_stage == _DELETED
    return Run(info.run_id, info.status, dict(data.tags), set(data.metrics), deleted)
