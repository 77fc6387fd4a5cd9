"""``care doctor --tracking-uri`` says what is wrong with an address, a file or a server."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from sweeps.doctor import tracking_server
from sweeps.doctor.finding import Finding
from sweeps.doctor.tracking import check_tracking
from tests.helpers.serving import free_port


class OddServer:
    """A web server with given answers by path: status, text and clock.

    Attributes:
        pages: Status and text of each path.
        skew: Seconds by which its clock is ahead.
        headers: More headers.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, str]] = {"/health": (200, "OK")}
        self.skew = 0.0
        self.headers: dict[str, str] = {}
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, text = odd.pages.get(self.path, (404, "not here"))
                self.send_response_only(status)
                self.send_header("Date", formatdate(time.time() + odd.skew, usegmt=True))
                self.send_header("Content-Length", str(len(text)))
                for name, value in odd.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def odd() -> Iterator[OddServer]:
    server = OddServer()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No name and password from the developer's machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


def check(uri: str) -> list[Finding]:
    return list(check_tracking(Path("runs"), uri))


def only(uri: str) -> Finding:
    (finding,) = check(uri)
    assert finding.verdict == "ok" or finding.fix
    return finding


@pytest.mark.parametrize(
    ("uri", "detail", "fix"),
    [
        ("htps://lab.org", "unknown scheme 'htps'", "did you mean https://?"),
        ("http:/lab.org", "has no //", "https://HOST:PORT"),
        ("https://", "names no host", "https://HOST:PORT"),
        ("https://lab.org:99999", "out of range", "https://HOST:PORT"),
        ("lab.org:5443", "has no scheme", "https://lab.org:5443"),
        ("localhost:5000", "has no scheme", "https://localhost:5000"),
        ("https://lab.org/#/experiments/1", "address of a page", "https://lab.org"),
        ("runs", "no longer writes folders", "migrate-filestore"),
        ("file:///tmp/runs", "no longer writes folders", "sqlite:///"),
        ("sqlite:///", "names no file", "four"),
        (" https://lab.org", "blanks", "https://HOST:PORT"),
        ("postgresql://me:hidden-word@lab.org/x?a=b", "psycopg", "postgresql+psycopg2://"),
        ("https://me:hidden-word@lab.org/?a=b", "address of a page", "leave out"),
    ],
)
def test_a_wrong_address_is_named(uri: str, detail: str, fix: str) -> None:
    finding = only(uri)
    assert finding.verdict == "bad"
    assert detail in finding.detail
    assert fix in finding.fix
    assert "hidden-word" not in finding.detail + finding.fix


@pytest.mark.parametrize(
    "uri", ["https://me:{}@127.0.0.1:9", "me:{}@lab.org", "htps://me:{}@lab.org"]
)
@pytest.mark.parametrize("password", ["p w", "pa ss word", "p[a]s", "a:1/b c", 'it\'s "me"'])
def test_no_part_of_a_password_is_shown(uri: str, password: str) -> None:
    findings = check(uri.format(password))
    assert "bad" in [finding.verdict for finding in findings]
    for finding in findings:
        for part in (password, *password.split()):
            assert len(part) < 3 or part not in f"{finding.detail} {finding.fix}"


def test_a_host_that_does_not_answer_is_named_with_the_reason() -> None:
    assert "nothing listens" in only(f"http://127.0.0.1:{free_port()}").detail
    assert "name" in only("https://no-such-host.invalid").detail


@pytest.mark.parametrize(
    ("status", "text", "detail"),
    [
        (200, "<html>Welcome to nginx!</html>", "is no MLflow server"),
        (404, "not found", "is no MLflow server"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "this name"),
        (502, "Bad Gateway", "a proxy answers, MLflow behind it does not"),
        (401, "log in", "refuses even its health page"),
        (400, "The plain HTTP request was sent to HTTPS port", "answers with TLS only"),
    ],
)
def test_another_server_is_recognized(odd: OddServer, status: int, text: str, detail: str) -> None:
    odd.pages["/health"] = (status, text)
    finding = only(odd.uri)
    assert finding.verdict == "bad"
    assert detail in finding.detail


def test_a_redirection_and_a_wrong_path_lead_to_the_right_address(odd: OddServer) -> None:
    assert f"did you mean {odd.uri}?" in only(f"{odd.uri}/mlflow").fix
    odd.pages["/health"] = (302, "")
    odd.headers["Location"] = "https://lab.org/login"
    assert "https://lab.org/login" in only(odd.uri).detail


def test_a_server_without_tls_is_recognized(odd: OddServer) -> None:
    secure = odd.uri.replace("http://", "https://")
    assert f"did you mean {odd.uri}?" in only(secure).fix


def test_missing_and_wrong_logins_are_told_apart(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.pages["/version"] = (401, "You are not authenticated")
    missing = only(odd.uri)
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in missing.fix
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    assert "set MLFLOW_TRACKING_PASSWORD;" in only(odd.uri).fix
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden-word")
    wrong = only(odd.uri)
    assert "refuses the password of 'ada'" in wrong.detail
    assert "hidden-word" not in wrong.detail + wrong.fix


@pytest.mark.parametrize(
    ("server", "verdict", "words"),
    [
        ("1.30.0", "bad", "needs 3.0"),
        ("2.22.1", "bad", "needs 3.0"),
        ("3.2.0", "note", "upgrade the server"),
        ("3.99.0", "note", "upgrade the client"),
        ("4.0.0", "bad", "another major version"),
        ("<html>", "bad", "gives no version"),
        (version("mlflow"), "ok", "has MLflow"),
    ],
)
def test_versions_are_judged(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch, server: str, verdict: str, words: str
) -> None:
    monkeypatch.setattr(tracking_server, "check_writing", lambda _: [])
    odd.pages["/version"] = (200, server)
    finding = only(odd.uri)
    assert finding.verdict == verdict
    assert words in finding.detail + finding.fix


def test_a_wrong_clock_is_noted_with_its_size(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_server, "check_writing", lambda _: [])
    odd.pages["/version"] = (200, version("mlflow"))
    odd.skew = -3600.0
    clock = check(odd.uri)[-1]
    assert (clock.subject, clock.verdict) == ("MLflow clock", "note")
    assert "3600 s behind" in clock.detail or "3599 s behind" in clock.detail


def test_a_file_is_checked_and_not_made(tmp_path: Path, empty_database: Path) -> None:
    file = tmp_path / "new" / "mlflow.db"
    assert "will be created" in only(f"sqlite:///{file}").detail
    assert not file.parent.exists()
    good = tmp_path / "good.db"
    shutil.copy(empty_database, good)
    assert only(f"sqlite:///{good}").verdict == "ok"
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database")
    assert "is damaged" in only(f"sqlite:///{broken}").detail
