"""Checks of an MLflow server: address, certificate, credentials, version, clock."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from care.system.redaction import redact, redact_url
from sweeps.doctor.finding import Finding, bad, note, ok
from sweeps.doctor.tracking_probe import check_writing
from sweeps.tracking.server_probe import client_login

if TYPE_CHECKING:
    from requests import Response

_SECONDS = 15.0
_SKEW_SECONDS = 30.0
_OLDEST = Version("3.0")  # the first with logged models, which care writes
_CERT = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_NAME, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_REASONS = (
    ("Name or service not known", "the name is not known"),
    ("Temporary failure in name resolution", "the name cannot be looked up now"),
    ("nodename nor servname", "the name is not known"),
    ("No address associated", "the name has no address"),
    ("Connection refused", "nothing listens there"),
    ("No route to host", "no route to the host"),
    ("Network is unreachable", "the network is unreachable"),
    ("timed out", "no answer in time"),
    ("Connection reset", "the connection was reset"),
    ("closed connection without response", "the connection was closed without an answer"),
    ("Connection aborted", "the connection was closed without an answer"),
)


@dataclass(frozen=True)
class _Answer:
    """An answer of the server.

    Attributes:
        status: HTTP status.
        text: The first part of the body.
        location: Target of a redirection; empty if there is none.
        skew: Seconds by which the server's clock is ahead; None if it gives no date.
    """

    status: int
    text: str
    location: str
    skew: float | None


def check_server(uri: str) -> Iterator[Finding]:
    """Check a server step by step; a bad step ends the check.

    Args:
        uri: Its address, with http or https.
    """
    shown = redact_url(uri).rstrip("/")
    health = _ask(uri, "/health")
    if isinstance(health, Finding):
        yield health
        return
    wrong = _judge_path(uri, health) or _judge_health(shown, health)
    if wrong:
        yield wrong
        return
    answer = _ask(uri, "/version")
    if isinstance(answer, Finding):
        yield answer
        return
    if answer.status in (401, 403):
        yield _judge_refusal(shown, uri, answer.status)
        return
    finding = _judge_version(shown, answer)
    yield finding
    if answer.skew is not None and abs(answer.skew) > _SKEW_SECONDS:
        yield _judge_clock(answer.skew)
    if finding.verdict != "bad":
        yield from check_writing(uri)


def _ask(uri: str, path: str) -> _Answer | Finding:
    """Send a request as MLflow would, without redirections and repetitions."""
    import requests

    shown = redact_url(uri).rstrip("/")
    sent = time.time()
    try:
        response = requests.get(
            f"{uri.rstrip('/')}{path}",
            timeout=_SECONDS,
            allow_redirects=False,
            **client_login(uri).arguments,
        )
    except requests.exceptions.SSLError as error:
        return _judge_tls(shown, str(error))
    except requests.exceptions.ProxyError:
        fix = "correct HTTPS_PROXY, or name the server's host in NO_PROXY"
        return bad("MLflow", f"{shown}: the proxy of this machine does not reach it", fix)
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        return _judge_silence(shown, str(error))
    received = time.time()
    text = response.text[:2000]
    return _Answer(
        response.status_code,
        text,
        response.headers.get("Location", ""),
        _skew(response, sent, received),
    )


def _skew(response: Response, sent: float, received: float) -> float | None:
    """Compare the server's clock with the middle of the request."""
    with contextlib.suppress(TypeError, ValueError):
        stamp = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        return stamp + 0.5 - (sent + received) / 2  # the header has whole seconds
    return None


def _judge_tls(shown: str, error: str) -> Finding:
    if "certificate has expired" in error or "not yet valid" in error:
        fix = (
            "the server's admin renews it ('docker/tracking/server certificate'); is a clock wrong?"
        )
        return bad("MLflow", f"{shown}: its certificate is not valid now", fix)
    if "mismatch" in error or "doesn't match" in error or "is not valid for" in error:
        fix = "use the name in the certificate, or have it made for this name"
        return bad("MLflow", f"{shown}: its certificate is for another name", fix)
    if "WRONG_VERSION_NUMBER" in error or "RECORD_LAYER" in error or "UNKNOWN_PROTOCOL" in error:
        fix = f"did you mean {shown.replace('https://', 'http://', 1)}?"
        return bad("MLflow", f"{shown} answers without TLS", fix)
    if "CERTIFICATE_VERIFY_FAILED" in error:
        fix = (
            f"get the certificate from the server's admin and set {_CERT}=FILE "
            "(or REQUESTS_CA_BUNDLE, for all programs)"
        )
        return bad("MLflow", f"{shown}: its certificate is not trusted here", fix)
    return bad("MLflow", f"{shown}: TLS fails ({_short(error)})", "ask the server's admin")


def _judge_silence(shown: str, error: str) -> Finding:
    if "invalid path" in error or "Could not find a suitable TLS" in error:
        file = os.environ.get(_CERT) or os.environ.get("REQUESTS_CA_BUNDLE", "")
        fix = f"correct {_CERT} or REQUESTS_CA_BUNDLE, or unset it"
        return bad("MLflow", f"no certificates at {file}", fix)
    reason = next((text for part, text in _REASONS if part in error), _short(error))
    fix = "check host and port; is the server up ('docker/tracking/server status' on its machine)?"
    return bad("MLflow", f"{shown} does not answer: {reason}", fix)


def _judge_path(uri: str, answer: _Answer) -> Finding | None:
    """Judge a path in the address that MLflow does not have, though it is at the root."""
    parts = urlsplit(uri)
    if answer.status == 200 or not parts.path.strip("/"):
        return None
    root = f"{parts.scheme}://{parts.netloc}"
    answer_of_root = _ask(root, "/health")
    if isinstance(answer_of_root, Finding) or answer_of_root.text.strip() != "OK":
        return None
    text = f"{redact_url(uri)}: MLflow is not at the path {parts.path}"
    return bad("MLflow", text, f"did you mean {redact_url(root)}?")


def _judge_health(shown: str, answer: _Answer) -> Finding | None:
    """Judge the answer that needs no password; None if MLflow gave it."""
    if answer.status == 200 and answer.text.strip() == "OK":
        return None
    if "HTTPS port" in answer.text:
        fix = f"did you mean {shown.replace('http://', 'https://', 1)}?"
        return bad("MLflow", f"{shown} answers with TLS only", fix)
    if "Invalid Host header" in answer.text:
        fix = "start it with --allowed-hosts (CARE_TRACKING_NAMES) that has this host and port"
        return bad("MLflow", f"{shown}: the server does not know this name", fix)
    if answer.status in (502, 503, 504):
        fix = "start MLflow on the server ('docker/tracking/server up'), or see its log"
        return bad("MLflow", f"{shown}: a proxy answers, MLflow behind it does not", fix)
    if 300 <= answer.status < 400:
        target = redact(answer.location.removesuffix("/health"))
        fix = f"did you mean {target}? A login page of a browser does not work for programs"
        return bad("MLflow", f"{shown} redirects to {target}", fix)
    if answer.status in (401, 403):
        fix = "a proxy before MLflow asks for another login; ask the server's admin"
        return bad("MLflow", f"{shown} refuses even its health page ({answer.status})", fix)
    fix = "check host, port and path; a path is only right with --static-prefix"
    return bad("MLflow", f"{shown} is no MLflow server (its /health: {answer.status})", fix)


def _judge_refusal(shown: str, uri: str, status: int) -> Finding:
    login = client_login(uri)
    if status == 403:
        fix = "ask the server's admin for the right to read"
        return bad("MLflow login", f"{shown}: user {login.name!r} may not read it", fix)
    if login.name and login.has_password:
        fix = f"correct {_NAME} and {_PASSWORD}, or 'docker/tracking/server user password NAME'"
        return bad("MLflow login", f"{shown} refuses the password of {login.name!r}", fix)
    if redact_url(uri) != uri:
        fix = f"set {_NAME} and {_PASSWORD} instead"
        return bad("MLflow login", f"{shown} refuses the name and password of the URI", fix)
    given = ((_NAME, login.name), (_PASSWORD, login.has_password))
    missing = " and ".join(name for name, value in given if not value)
    fix = f"set {missing}; 'docker/tracking/server user add NAME' makes a user"
    return bad("MLflow login", f"{shown} asks for a name and password", fix)


def _judge_version(shown: str, answer: _Answer) -> Finding:
    client = Version(version("mlflow"))
    try:
        server = Version(re.sub(r"[^\w.+!-].*", "", answer.text.strip()))
    except InvalidVersion:
        server = None
    if answer.status != 200 or server is None:
        fix = "check the path of the URI; MLflow before 1.20 does not give its version"
        return bad("MLflow", f"{shown} gives no version ({answer.status})", fix)
    text = f"server {shown} has MLflow {server}, this client {client}"
    if server < _OLDEST:
        fix = f"upgrade the server to {client.major}.{client.minor} (docs/tracking-server.md)"
        return bad("MLflow", f"{text}; care needs {_OLDEST} or later", fix)
    if server.major != client.major:
        fix = "install care with the server's MLflow, or wait for a care that has it"
        return bad("MLflow", f"{text}, another major version", fix)
    if server.release[:2] != client.release[:2]:
        older = "server" if server < client else "client"
        return note("MLflow", text, f"upgrade the {older} when you can: they are tested together")
    return ok("MLflow", text)


def _judge_clock(skew: float) -> Finding:
    side = "ahead of" if skew > 0 else "behind"
    text = f"the server's clock is {abs(skew):.0f} s {side} this machine's"
    return note(
        "MLflow clock",
        text,
        "correct both by NTP ('timedatectl'); times in MLflow's pages are off by as much",
    )


def _short(error: str) -> str:
    return redact(error.strip().splitlines()[0] if error.strip() else "no reason given")[:160]
