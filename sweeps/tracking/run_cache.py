"""MLflow's runs of one store, with a cache of their tags and metric names.

A query costs milliseconds for each run, too much to repeat for ten thousand trials. Therefore
everything that was read or written is cached. Another process may add to a run meanwhile, but from
the store's files, so that a second write changes nothing.

A run belongs to this store if it has the store's uuid as a tag. Other runs are never returned, so
that runs of other users on a shared server cannot be changed.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeps.store import Store
from sweeps.store_identity import settle_identity
from sweeps.tracking.background import describe_error
from sweeps.tracking.database import (
    STORE_TAG,
    connect,
    file_id,
    forget_connection,
    replace_if_damaged,
)
from sweeps.tracking.local_files import local_folder, write_files
from sweeps.tracking.run import Dataset, Identity, Row, Run, as_run, has_tags, share
from sweeps.tracking.tracking_uri import Destination

_log = logging.getLogger(__name__)

_PAGE = 1000
# MLflow takes 1000 entities a call, of which 100 parameters and 100 tags.
_METRICS_A_CALL = 800
# Tag of the experiment, before the store's uuid.
_DELETIONS = "care.deletions"
# MLflow's error codes for a write to a deleted run.
_DELETED_ERRORS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE")
_READ_ONLY = "readonly database"  # SQLite's words
_REPLACES = "care.replaces"
_PARENT = "mlflow.parentRunId"
_OF_SWEEP = (("care.kind", "sweep"),)


class RunCache:
    """A store's runs in this project's experiment, for the holder of the destination's lock.

    Args:
        root: Root of the store.
        destination: The server or file.

    Attributes:
        batches: Batches of parameters, metrics and tags that MLflow has accepted.
    """

    def __init__(self, root: Path, destination: Destination) -> None:
        self._root, self._destination = root, destination
        self.batches = 0
        self._client: Any = None
        self._experiment = ""
        self._store_uuid = ""
        self._file: tuple[int, int] | None = None
        self._known: dict[Identity, Run] = {}
        self._suspect = False
        self._warned = False

    @property
    def client(self) -> Any:
        """MLflow's client."""
        self._connect()
        return self._client

    def suspect(self, error: BaseException) -> None:
        """Check the file for damage before the next write, because a write failed.

        A connection that was opened while a file system was read-only stays so; it is replaced.
        """
        self._suspect = self._destination.own
        if _READ_ONLY in str(error):
            forget_connection(self._destination)
            self._client = None

    def renew(self) -> bool:
        """Clear the cache if the store's database was replaced by another file.

        The old file may have been damaged, deleted, or set aside by another process of this store.

        Returns:
            Whether the cache was cleared.
        """
        if self._suspect:
            replace_if_damaged(self._destination)
            self._suspect = False
        if self._file in (None, file_id(self._destination.database)):
            return False
        self._client = None
        self._known.clear()
        return True

    def _connect(self) -> None:
        if self._client is None:
            Store(self._root).prepare()
            identity = settle_identity(self._root)
            client, self._experiment = connect(self._destination, identity)
            self._store_uuid = identity.uuid
            self._file = file_id(self._destination.database)
            self._client = client

    @property
    def experiment(self) -> str:
        """MLflow's id of the experiment."""
        self._connect()
        return self._experiment

    @property
    def store_uuid(self) -> str:
        """The store's identity; empty if the experiment has runs of no other store."""
        self._connect()
        return "" if self._destination.own else self._store_uuid

    @property
    def owner(self) -> str:
        """The store's identity, as its runs have it as a tag."""
        self._connect()
        return self._store_uuid

    @property
    def own_models(self) -> Path | None:
        """The folder of the models' files beside the store's own file; None for a shared one."""
        return self._root / "mlflow-artifacts" / "models" if self._destination.own else None

    def find(self, identity: Identity) -> Run | None:
        """Find the run with these tags; None without one. Active runs precede deleted ones.

        Args:
            identity: Tags. MLflow searches for the first one only: it joins a table for each.
        """
        if identity in self._known:
            return self._known[identity]
        return self.find_in(self.search(identity[:1]), identity)

    def find_in(self, runs: list[Run], identity: Identity) -> Run | None:
        """Find the run with these tags among all runs with the first tag, and cache it."""
        matching = self.without_replaced([run for run in runs if has_tags(run, identity)])
        if not matching:
            return None
        self._known[identity] = min(matching, key=lambda run: run.deleted)
        return self._known[identity]

    def known(self, identity: Identity) -> Run | None:
        """Return the cached run with these tags."""
        return self._known.get(identity)

    def without_replaced(self, runs: list[Run]) -> list[Run]:
        """Leave out runs that others replace, and complete a replacement that a crash stopped."""
        by_id = {run.run_id: run for run in runs}
        replaced = set()
        for new in runs:
            old = by_id.get(new.tags.get(_REPLACES, ""))
            if old:
                replaced.add(old.run_id)
                if not old.deleted:
                    self._retire(old, new)
        return [run for run in runs if run.run_id not in replaced]

    def replace(
        self, old: Run, name: str, identity: Identity, tags: dict[str, str], start: int | None
    ) -> Run:
        """Replace a run by an empty one, since MLflow cannot take back what it was given.

        Runs of which it is the parent move to the new one. The old run is among MLflow's deleted
        runs afterwards.

        Args:
            old: The run to replace.
            name: As of :meth:`create`.
            identity: As of :meth:`create`.
            tags: As of :meth:`create`.
            start: As of :meth:`create`.
        """
        new = self.create(name, identity, {**tags, _REPLACES: old.run_id}, start)
        self._retire(old, new)
        return new

    def _retire(self, old: Run, new: Run) -> None:
        children = self.search([(_PARENT, old.run_id)]) if has_tags(old, _OF_SWEEP) else []
        for child in children:
            if not child.deleted:
                self.client.set_tag(child.run_id, _PARENT, new.run_id)
        for known in self._known.values():
            if known.tags.get(_PARENT) == old.run_id:
                known.tags[_PARENT] = new.run_id
        self.delete(old)

    def search(self, tags: Iterable[tuple[str, str | None]]) -> list[Run]:
        """Query the store's runs with these tags, including deleted ones.

        Args:
            tags: Names and values; None for any value.
        """
        from mlflow.entities import ViewType

        client, token = self.client, None
        query = " and ".join(
            f"tags.`{name}` LIKE '%'" if value is None else f"tags.`{name}` = '{value}'"
            for name, value in tags
        )
        runs: list[Run] = []
        while True:
            page = client.search_runs(
                [self._experiment], query, ViewType.ALL, max_results=_PAGE, page_token=token
            )
            runs += [as_run(run) for run in page]
            token = page.token
            if not token:
                return [run for run in runs if run.tags.get(STORE_TAG) == self._store_uuid]

    def search_all(self) -> list[Run]:
        """Query all of the store's runs, including deleted ones."""
        self._connect()
        return self.search([(STORE_TAG, self._store_uuid)])

    @property
    def deletions_done(self) -> int:
        """Number of lines of the store's log of deletions that MLflow has followed."""
        tags = self.client.get_experiment(self._experiment).tags
        return int(tags.get(f"{_DELETIONS}.{self._store_uuid}", 0))

    @deletions_done.setter
    def deletions_done(self, lines: int) -> None:
        self.tag_experiment({f"{_DELETIONS}.{self._store_uuid}": str(lines)})

    def refresh(self, run: Run) -> None:
        """Update the cached tags of a run from MLflow."""
        run.tags = dict(self.client.get_run(run.run_id).data.tags)

    def remember(self, identity: Identity, run: Run) -> None:
        """Cache a run under its identity."""
        self._known[identity] = run

    def forget(self, identity: Identity) -> None:
        """Remove a run from the cache."""
        self._known.pop(identity, None)

    def create(
        self, name: str, identity: Identity, tags: dict[str, str], start: int | None = None
    ) -> Run:
        """Create a run.

        Args:
            name: Its name on the page.
            identity: Tags that identify it.
            tags: More tags.
            start: Milliseconds since 1970; now when None.
        """
        client = self.client
        all_tags = {STORE_TAG: self._store_uuid, **dict(identity), **tags}
        new = client.create_run(self._experiment, start_time=start, tags=all_tags, run_name=name)
        run = Run(new.info.run_id, new.info.status, all_tags, artifacts=new.info.artifact_uri)
        self._known[identity] = run
        return run

    def delete(self, run: Run) -> None:
        """Delete a run in MLflow, where it can be restored."""
        self.client.delete_run(run.run_id)
        run.deleted = True

    def log(self, run: Run, params: dict[str, str], rows: list[Row], tags: dict[str, str]) -> None:
        """Log to a run in batches, the tags with the last one.

        The tags record that everything before them was written. MLflow writes the metrics of a call
        before its tags.

        Args:
            run: The run.
            params: Parameters.
            rows: Metrics: name, value, milliseconds since 1970, step.
            tags: Tags; only those that differ from the run's are written.
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
            self.batches += 1
            run.metrics = share(run.metrics.union(row[0] for row in batch))
            params = {}
            if not rows:
                run.tags |= changed
                return

    def read_rows(self, run: Run, names: Iterable[str]) -> dict[tuple[str, int], float]:
        """Read the values of some metrics by name and step."""
        return {
            (name, row.step): row.value
            for name in names
            for row in self.client.get_metric_history(run.run_id, name)
        }

    def log_files(self, run: Run, files: Mapping[str, str | bytes]) -> bool:
        """Write files to a run's artifacts, by path, and return whether they are there.

        MLflow queries the whole run before each upload. If the artifacts are in a folder beside a
        database, files are therefore written there. A server's storage for files may be away while
        it takes numbers: then a warning says so, once.
        """
        folder = self.folder_of(run.artifacts)
        if folder is not None:
            write_files(folder, files, in_store=self._destination.own)
            return True
        with tempfile.TemporaryDirectory(prefix="care-mlflow-") as temporary:
            write_files(Path(temporary), files)
            return self.upload(functools.partial(self.client.log_artifacts, run.run_id, temporary))

    def upload(self, send: Callable[[], object]) -> bool:
        """Send files to a server's storage and return whether it took them; warn once if not."""
        try:
            send()
        except Exception as error:  # noqa: BLE001 - of any storage's library
            if not self._warned:
                reason = describe_error(error)
                _log.warning("MLflow gets numbers but no files: its storage fails (%s)", reason)
            self._warned = True
            return False
        return True

    def folder_of(self, artifacts: str) -> Path | None:
        """Return the local folder of artifacts; see :func:`local_folder`."""
        return local_folder(self._destination, artifacts)

    def log_datasets(self, run: Run, datasets: Iterable[Dataset]) -> None:
        """Log the data sets of a run; known ones are not repeated."""
        from mlflow.entities import Dataset as MlflowDataset
        from mlflow.entities import DatasetInput, InputTag

        inputs = [
            DatasetInput(
                MlflowDataset(
                    name=data.name,
                    digest=data.digest,
                    source_type="local",
                    source=json.dumps({"uri": data.name}),
                ),
                [InputTag("mlflow.data.context", data.context)],
            )
            for data in datasets
        ]
        if inputs:
            self.client.log_inputs(run.run_id, inputs)

    def change(self, identity: Identity, run: Run, change: Callable[[Run], None]) -> None:
        """Change a run, unless it is deleted in MLflow, even since it was cached."""
        if run.deleted:
            return
        try:
            change(run)
        except BaseException as error:
            self.forget(identity)
            if getattr(error, "error_code", "") not in _DELETED_ERRORS:
                raise
            now = self.find(identity)
            if now is None or not now.deleted:
                self.forget(identity)
                raise

    def experiment_tags(self) -> dict[str, str]:
        """Read the tags of the experiment."""
        return dict(self.client.get_experiment(self.experiment).tags)

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment."""
        for name, value in tags.items():
            self.client.set_experiment_tag(self.experiment, name, value)

    def untag_experiment(self, names: Iterable[str]) -> None:
        """Delete tags of the experiment, which has them."""
        for name in names:
            self.client.delete_experiment_tag(self.experiment, name)

    def delete_tag(self, run: Run, name: str) -> None:
        """Delete a tag, if the run has it."""
        if name in run.tags:
            self.client.delete_tag(run.run_id, name)
            del run.tags[name]

    def set_status(self, run: Run, status: str, ended: int | None) -> None:
        """Set a run's status and, unless it is running, its end (milliseconds since 1970)."""
        if run.status == status:
            return
        if status == "RUNNING":
            self.client.update_run(run.run_id, status)
        else:
            self.client.set_terminated(run.run_id, status, ended)
        run.status = status

    def has_artifact(self, run: Run, path: str) -> bool:
        """Check that a run has an artifact; assumed for all destinations but the store's file."""
        if not self._destination.own:
            return True
        return (self._root / "mlflow-artifacts" / run.run_id / "artifacts" / path).exists()
