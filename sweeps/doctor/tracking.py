"""Checks of the destination of ``--tracking-uri``: an MLflow server, or an SQLite file."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from care.errors import CareError, nearest
from care.system.redaction import redact, redact_url, remember_url
from sweeps.doctor.finding import Finding, bad, note, ok
from sweeps.doctor.tracking_server import check_server
from sweeps.tracking.background import describe_error
from sweeps.tracking.database import find_damage, try_tracking
from sweeps.tracking.tracking_uri import Destination, destination_of

_SERVERS = ("http", "https")
_DATABASES = ("postgresql", "mysql", "mssql")
_SCHEMES = (*_SERVERS, "sqlite", *_DATABASES, "databricks")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d+(?:/|$))")  # no host with its port
_HOST = re.compile(
    r"(?:localhost|\[[0-9a-fA-F:]+\]|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::\d+)?(?:/|$)"
)
_EXAMPLE = "give a server as https://HOST:PORT, or a file as sqlite:////absolute/path/mlflow.db"
_MIGRATE = "use sqlite:///…; 'mlflow migrate-filestore' converts a folder of runs"


def check_tracking(root: Path, uri: str) -> Iterator[Finding]:
    """Check the destination of ``--tracking-uri`` and name what is wrong with it.

    Args:
        root: The store, beside whose files relative paths lie.
        uri: The URI.
    """
    remember_url(uri)  # in a text, a password with a blank could not be told from words
    shown = redact_url(uri)
    if uri != uri.strip() or not uri.isprintable():
        yield bad("MLflow", f"URI {shown!r} has blanks at an end or control characters", _EXAMPLE)
        return
    found = _SCHEME.match(uri)
    scheme = found[1].lower() if found else ""
    kind = scheme.partition("+")[0]
    if kind in _SERVERS and not uri.lower().startswith(f"{kind}://"):
        yield bad("MLflow", f"URI {shown} has no //", _EXAMPLE)
    elif kind in _SERVERS:
        yield from _check_address(uri)
    elif kind == "sqlite":
        yield from _check_file(destination_of(root, uri))
    elif kind == "databricks" or kind in _DATABASES:
        yield from _check_other(uri, database=kind in _DATABASES)
    elif kind == "file" or not found:
        yield from _judge_path(uri, shown)
    else:
        near = nearest(scheme, _SCHEMES)
        hint = f"did you mean {near}://? " if near else ""
        yield bad("MLflow", f"URI {shown}: unknown scheme {scheme!r}", f"{hint}{_EXAMPLE}")


def _check_address(uri: str) -> Iterator[Finding]:
    try:
        parts = urlsplit(redact_url(uri))  # an error of it would quote a part of the password
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield bad("MLflow", f"URI {redact_url(uri)}: {error}", _EXAMPLE)
        return
    if not host:
        yield bad("MLflow", f"URI {redact_url(uri)} names no host", _EXAMPLE)
        return
    if parts.query or parts.fragment:
        address = redact_url(f"{parts.scheme}://{parts.netloc}")
        fix = f"leave out the part that the browser adds: {address}"
        yield bad("MLflow", f"URI {redact_url(uri)} is the address of a page", fix)
        return
    if parts.username or parts.password:
        fix = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        yield note("MLflow password", "is in the URI, so everyone sees it in 'ps'", fix)
    yield from check_server(uri)


def _judge_path(uri: str, shown: str) -> Iterator[Finding]:
    """Judge a URI without a scheme: a folder, or an address that lacks its beginning."""
    if not Path(uri).exists() and (_HOST.match(uri) or re.fullmatch(r"[A-Za-z0-9-]+:\d+/?", uri)):
        yield bad("MLflow", f"URI {shown} has no scheme", f"did you mean https://{shown}?")
    else:
        text = f"URI {shown} is a folder, and MLflow no longer writes folders"
        yield bad("MLflow", text, _MIGRATE)


def _check_file(destination: Destination) -> Iterator[Finding]:
    """Check an SQLite file and its artifacts' folder. Creates neither."""
    file = destination.database
    if file is None:
        fix = "sqlite:///relative.db has three slashes, sqlite:////absolute.db has four"
        yield bad("MLflow", f"URI {redact_url(destination.uri)} names no file", fix)
        return
    folder = next(path for path in file.parents if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        fix = "choose another folder, or fix its permissions"
        yield bad("MLflow", f"{folder} cannot be written ({error.strerror})", fix)
        return
    if not file.exists():
        yield ok("MLflow", f"SQLite file {file} will be created")
        return
    try:
        damage = find_damage(file, thorough=True)
        if not damage:
            try_tracking(destination.uri)
    except Exception as error:  # noqa: BLE001 - any error is shown to the user
        yield _judge_database_error(error, destination)
        return
    if damage:
        fix = f"name another file; 'care track sync --tracking-uri sqlite:///{file}' rebuilds it"
        yield bad("MLflow", f"{file} {damage}", fix)
        return
    yield ok("MLflow", f"SQLite file {file} answers")
    artifacts = Path(file.parent / "mlflow-artifacts")
    if artifacts.exists() and not os.access(artifacts, os.W_OK | os.X_OK):
        yield bad("MLflow artifacts", f"{artifacts} cannot be written", "fix its permissions")


def _check_other(uri: str, *, database: bool) -> Iterator[Finding]:
    """Check a database that is named itself, or Databricks."""
    try:
        try_tracking(uri)
    except Exception as error:  # noqa: BLE001 - any error is shown to the user
        yield _judge_database_error(error, Destination(uri, None, False, Path(), None))
        return
    yield ok("MLflow", f"{redact_url(uri)} answers")
    if database:
        text = (
            "everyone who writes needs the database's password, and no user has rights of its own"
        )
        yield note("MLflow users", text, "put a server before it: docs/tracking-server.md")


def _judge_database_error(error: Exception, destination: Destination) -> Finding:
    text = str(error) if isinstance(error, CareError) else describe_error(error)
    if "out-of-date database schema" in str(error):
        fix = f"back it up, then: mlflow db upgrade {destination}"
        return bad("MLflow", f"{destination} has the schema of another MLflow", fix)
    fix = "check --tracking-uri"
    if isinstance(error, ImportError):
        fix = "install the database's driver; psycopg2's URIs begin with postgresql+psycopg2://"
    return bad("MLflow", f"{destination}: {redact(text)}", fix)
