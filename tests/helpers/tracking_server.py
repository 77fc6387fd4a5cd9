"""The team's tracking server of docker/tracking, in a state folder of its own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.helpers.paths import ROOT
from tests.helpers.serving import free_port

SCRIPT = ROOT / "docker" / "tracking" / "server"
PASSWORDS = {
    "writer": "a long 'one' $HOME %20",
    "other": "another-long-one",
    "reader": "reads-and-writes-not",
}


class TrackingServer:
    """A server that tests start, break and stop.

    Attributes:
        state: Its state folder, with a blank in the name.
        uri: Its address.
    """

    def __init__(self) -> None:
        # Outside of pytest's folder, which the server's user may not enter.
        self.folder = Path(tempfile.mkdtemp(prefix="care-tracking-"))
        self.folder.chmod(0o755)
        self.state = self.folder / "state folder"
        self.port = free_port()
        self.uri = f"https://localhost:{self.port}"
        self.certificate = str(self.state / "tls" / "server.crt")
        self.environment = {
            "CARE_TRACKING_STATE": str(self.state),
            "CARE_TRACKING_PYTHON": sys.executable,
        }

    def call(
        self,
        *arguments: str | Path,
        check: bool = True,
        password: str = "",
        beneath: tuple[str, ...] = (),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the script, beneath another one; a new password is its input."""
        done = subprocess.run(
            [*beneath, SCRIPT, *map(str, arguments)],
            input=f"{password}\n",
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def refuse(self, *arguments: str | Path, password: str = "", **environment: str) -> str:
        """Run a command that must fail, and return its message."""
        done = self.call(*arguments, check=False, password=password, beneath=(), **environment)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "error: " in done.stderr
        return done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of the script, as the leader of a group."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [SCRIPT, *arguments],
            env={**os.environ, **self.environment},
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )

    def sql(self, command: str) -> str:
        """Run one command in the server's Postgres, and return the rows."""
        place = {"PGHOST": str(self.state / "run"), "PGUSER": "care"}
        done = subprocess.run(
            ["psql", "--quiet", "--tuples-only", "--dbname", "postgres", "--command", command],
            env={**os.environ, **place},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def send(
        self, method: str, path: str, login: tuple[str, str] | None = None, body: Any = None
    ) -> tuple[int, str]:
        """Send one request, and return the status and the text of the answer."""
        context = ssl.create_default_context(cafile=self.certificate)
        connection = http.client.HTTPSConnection(
            "localhost", self.port, context=context, timeout=60
        )
        headers = {}
        if login:
            headers["Authorization"] = (
                f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
            )
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
                # A server that refuses a long body answers before it has all of it.
                connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def peak_memory(self, service: str) -> int:
        """Return the most bytes that the processes of a service have had, together."""
        place = f"CARE_TRACKING_SERVICE={self.state}/{service}".encode()
        peaks = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may have ended
                if place in (folder / "environ").read_bytes().split(b"\0"):
                    found = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
                    peaks += [int(found[1]) * 1024] if found else []
        assert peaks
        return sum(peaks)

    def python(self, code: str, *arguments: str) -> None:
        """Run Python beside the server's database."""
        place = {"PGHOST": str(self.state / "run"), "PGUSER": "care", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-c", code, *arguments]
        subprocess.run(command, env={**os.environ, **place}, check=True, timeout=200)

    def leader(self, service: str) -> int:
        """Find the first process of a service."""
        begin = {"mlflow": "mlflow server", "proxy": "nginx: master"}[service]
        listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True)
        lines = [line for line in listed.stdout.splitlines() if begin in line]
        (line,) = [line for line in lines if str(self.state) in line]
        return int(line.split()[0])

    def client(self, user: str = "") -> dict[str, str]:
        """Return the variables of a user's client; without a user, of one without a password."""
        variables = {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": self.certificate,
        }
        if user:
            variables["MLFLOW_TRACKING_USERNAME"] = user
            variables["MLFLOW_TRACKING_PASSWORD"] = PASSWORDS[user]
        return variables

    def settings(self) -> dict[str, str]:
        """Read the settings."""
        lines = (self.state / "server.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if not line.startswith("#"))

    def set(self, name: str, value: str) -> None:
        """Change a setting."""
        changed = {**self.settings(), f"CARE_TRACKING_{name}": value}
        text = "".join(f"{key}={value}\n" for key, value in changed.items())
        (self.state / "server.env").write_text(text)

    def processes(self) -> list[str]:
        """List the command lines of all processes that name the state folder."""
        listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True)
        return [line for line in listed.stdout.splitlines() if str(self.state) in line]

    def remove(self) -> None:
        """End it and remove all that it has."""
        if (self.state / "server.env").exists():
            self.call("down", check=False)
        shutil.rmtree(self.folder)
