"""Where MLflow keeps runs: the store's own SQLite file, another SQLite file, or a server."""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

_SQLITE = "sqlite:///"
# MLflow reads these in a path as an escape and as the start of options.
_ESCAPES = re.compile(r"[%?]")
_USER_INFO = re.compile(r"(?<=://)[^/\s]+@")


@dataclass(frozen=True)
class Destination:
    """Where MLflow keeps runs.

    Attributes:
        uri: As MLflow takes it.
        database: The SQLite file; None for a server.
        own: Whether it is the store's own file, which holds nothing that the store has not.
        lock: Taken by each process that writes.
        artifacts: URI of the folder of files, given to a new experiment; None on a server.
    """

    uri: str
    database: Path | None
    own: bool
    lock: Path
    artifacts: str | None

    def renewed(self) -> Destination:
        """Name this file by another URI: MLflow opens a URI once in a process, and keeps it."""
        if self.database is None:
            return self
        return replace(self, uri=f"{_SQLITE}{_plain_alias(self.database)}")

    def __str__(self) -> str:
        """For people, without a password."""
        return str(self.database) if self.database else redact(self.uri)


def destination_of(store: Path, uri: str | None) -> Destination:
    """Resolve ``--tracking-uri``; None is the SQLite file in the store."""
    own = (store / "mlflow.db").resolve()
    database = own if uri is None else _sqlite_file(uri)
    if database is None:
        return Destination(str(uri), None, False, store / "mlflow.lock", None)
    if database == own:
        artifacts = (store / "mlflow-artifacts").resolve().as_uri()
        return Destination(default_tracking_uri(store), own, True, store / "mlflow.lock", artifacts)
    # Shared with other stores: its files lie beside it, and every store takes the same lock.
    artifacts = database.with_name("mlflow-artifacts").as_uri()
    lock = database.with_name(f"{database.name}.lock")
    return Destination(str(uri), database, False, lock, artifacts)


def default_tracking_uri(store: Path) -> str:
    """The SQLite file in the store."""
    return sqlite_uri((store / "mlflow.db").resolve())


@functools.cache
def sqlite_uri(file: Path) -> str:
    """An MLflow URI of an SQLite file in a folder of any name."""
    return f"{_SQLITE}{_plain_alias(file) if _ESCAPES.search(str(file)) else file}"


def redact(text: str) -> str:
    """Replace user and password of every URL in ``text`` by ``***``."""
    return _USER_INFO.sub("***@", text)


def _sqlite_file(uri: str) -> Path | None:
    path = unquote(uri.removeprefix(_SQLITE).partition("?")[0])
    if not uri.startswith(_SQLITE) or path in ("", ":memory:"):
        return None
    return Path(path).resolve()


def _plain_alias(file: Path) -> Path:
    """A path to ``file`` through a link in a private folder, which ends with this process."""
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
