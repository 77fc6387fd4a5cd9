"""The destination of ``--tracking-uri``: the store's SQLite file, another one, or a server."""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from care.system.redaction import redact, remember_url

VARIABLE = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
# In a path, MLflow reads % as an escape and ? as the start of options.
_ESCAPES = re.compile(r"[%?]")


@dataclass(frozen=True)
class Destination:
    """The server or file to which MLflow writes runs.

    Attributes:
        uri: The URI for MLflow.
        database: The SQLite file; None for a server.
        own: Whether it is the store's own file, which can be rebuilt from the store.
        lock: Lock file of the processes that write.
        artifacts: URI of the artifacts' folder, for a new experiment; None on a server.
    """

    uri: str
    database: Path | None
    own: bool
    lock: Path
    artifacts: str | None

    @property
    def in_store(self) -> bool:
        """Whether its lock lies in the store: not beside a file that stores share."""
        return self.own or self.database is None

    def renewed(self) -> Destination:
        """Return another URI of the file: MLflow opens each URI once per process and caches it."""
        if self.database is None:
            return self
        return replace(self, uri=f"{_SQLITE}{_plain_alias(self.database)}")

    def __str__(self) -> str:
        """Format the destination without a password."""
        return str(self.database) if self.database else redact(self.uri)


def destination_of(store: Path, uri: str | None) -> Destination:
    """Resolve ``--tracking-uri``; None is the SQLite file of the store."""
    own = (store / "mlflow.db").resolve()
    database = own if uri is None else _sqlite_file(uri)
    if database is None:
        remember_url(str(uri))  # MLflow's libraries may quote the password by itself
        return Destination(str(uri), None, False, store / "mlflow.lock", None)
    if database == own:
        artifacts = (store / "mlflow-artifacts").resolve().as_uri()
        return Destination(default_tracking_uri(store), own, True, store / "mlflow.lock", artifacts)
    # Shared with other stores: artifacts and lock are beside the file, one for all stores.
    artifacts = database.with_name("mlflow-artifacts").as_uri()
    lock = database.with_name(f"{database.name}.lock")
    return Destination(str(uri), database, False, lock, artifacts)


def default_tracking_uri(store: Path) -> str:
    """Return the URI of the store's SQLite file."""
    return sqlite_uri((store / "mlflow.db").resolve())


@functools.cache
def sqlite_uri(file: Path) -> str:
    """Make MLflow's URI of an SQLite file, whatever characters its path has."""
    return f"{_SQLITE}{_plain_alias(file) if _ESCAPES.search(str(file)) else file}"


def _sqlite_file(uri: str) -> Path | None:
    path = unquote(uri.removeprefix(_SQLITE).partition("?")[0])
    if not uri.startswith(_SQLITE) or path in ("", ":memory:"):
        return None
    return Path(path).resolve()


def _plain_alias(file: Path) -> Path:
    """Link the file's folder to a plain path, which is removed at the end of this process."""
    temporary = tempfile.gettempdir()
    folder = Path(
        tempfile.mkdtemp(prefix="mlflow-care-", dir="/tmp" if _ESCAPES.search(temporary) else None)
    )
    link = folder / "store"
    link.symlink_to(file.parent)
    atexit.register(_remove_alias, link)
    return link / file.name


def _remove_alias(link: Path) -> None:
    with contextlib.suppress(OSError):
        link.unlink()
        link.parent.rmdir()
