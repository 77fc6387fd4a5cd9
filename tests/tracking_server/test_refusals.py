"""Bad input to the tracking server's script: refused with the name of what is wrong."""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.helpers.paths import ROOT
from tests.helpers.tracking_server import TrackingServer

FOLDER = ROOT / "docker" / "tracking"


@pytest.fixture(scope="module")
def made() -> Iterator[TrackingServer]:
    """A server that was made and is never started."""
    server = TrackingServer()
    server.call("init", "--port", str(server.port), "--name", "tracking.lab.org")
    yield server
    assert not server.processes()
    server.remove()


@pytest.fixture
def new(made: TrackingServer) -> Iterator[TrackingServer]:
    """The server, whose settings a test may change."""
    settings = (made.state / "server.env").read_text()
    yield made
    (made.state / "server.env").write_text(settings)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ADMIN_PASSWORD", "", "is empty"),
        ("ADMIN_PASSWORD", "short", "shorter than 12"),
        ("ADMIN_PASSWORD", "password1234", "is a default"),
        ("ADMIN_PASSWORD", "Password-2026!", "is a default"),
        ("ADMIN_PASSWORD", "change-me-change-me", "is a default"),
        ("ADMIN_PASSWORD", "mlflow-mlflow-mlflow", "is a default"),
        ("ADMIN_PASSWORD", "aaaaaaaaaaaaaaaa", "is a default"),
        ("SECRET_KEY", "", "CARE_TRACKING_SECRET_KEY"),
        ("PORT", "80000", "1 to 65535"),
        ("PORT", "$(id)", "1 to 65535"),
        ("NAMES", "https://lab.org", "without https://"),
        ("LISTEN", "everywhere", "allowed are *"),
        ("WORKERS", "many", "1 to 99"),
        ("BACKUPS", "backups", "must begin with /"),
        ("PASWORD", "x", "no setting"),
    ],
)
def test_bad_settings_are_refused(new: TrackingServer, name: str, value: str, reason: str) -> None:
    new.set(name, value)
    message = new.refuse("up")
    assert reason in message
    assert name != "ADMIN_PASSWORD" or len(value) < 12 or value not in message


def test_settings_are_never_a_program(new: TrackingServer, tmp_path: Path) -> None:
    file = tmp_path / "evil"
    with (new.state / "server.env").open("a") as settings:
        settings.write(f'CARE_TRACKING_ADMIN="$(touch {file})"\n')
    assert "letters, digits" in new.refuse("up")
    assert not file.exists()


def test_a_state_folder_is_made_once_and_only_where_nothing_else_is(
    made: TrackingServer, tmp_path: Path
) -> None:
    before = made.settings()
    assert "exists" in made.refuse("init")
    assert made.settings() == before
    (tmp_path / "mine").touch()
    assert "not ours" in made.refuse("init", CARE_TRACKING_STATE=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for path in ("relative", f"{tmp_path}/a'b", f"{tmp_path}/{'x' * 80}"):
        assert "CARE_TRACKING_STATE" in made.refuse("init", CARE_TRACKING_STATE=path)
    assert "run: " in made.refuse("up", CARE_TRACKING_STATE=str(tmp_path / "none"))


def test_a_nested_state_folder_is_closed_and_its_parents_are_not() -> None:
    server = TrackingServer()
    state = server.folder / "a" / "b" / "state"
    try:
        server.call("init", "--port", str(server.port), CARE_TRACKING_STATE=str(state))
        modes = {path.name: path.stat().st_mode & 0o777 for path in (state, *state.parents[:2])}
        assert modes == {"state": 0o700, "b": 0o755, "a": 0o755}
    finally:
        server.remove()


def test_a_folder_that_the_server_may_not_enter_is_refused_before_anything_is_written() -> None:
    server = TrackingServer()
    closed = server.folder / "closed"
    closed.mkdir(mode=0o700)
    state = closed / "state"
    try:
        for _ in range(2):
            message = server.refuse("init", CARE_TRACKING_STATE=str(state))
            assert f"may not enter {state}" in message
            assert not state.exists()
        closed.chmod(0o755)
        server.call("init", CARE_TRACKING_STATE=str(state))
    finally:
        server.remove()


def test_a_folder_of_backups_stays_as_its_owner_made_it(new: TrackingServer) -> None:
    folder = new.folder / "disk"
    folder.mkdir(mode=0o755)
    folder.chmod(0o2775)
    new.set("BACKUPS", str(folder))
    new.call("certificate")
    assert folder.stat().st_mode & 0o7777 == 0o2775
    folder.rmdir()
    new.call("certificate")
    assert not folder.exists()  # its disk may not be mounted


def test_the_script_works_through_a_link(made: TrackingServer, tmp_path: Path) -> None:
    (tmp_path / "server").symlink_to(FOLDER / "server")
    command = ["server", "certificate"]
    environment = {**made.environment, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_taken_port_is_named(new: TrackingServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        new.set("PORT", port)
        new.set("LISTEN", "127.0.0.1")
        assert f"port {port} is taken" in new.refuse("up", "proxy")


def certificate(folder: Path, name: str, days: int) -> tuple[Path, Path]:
    """Make a certificate for a name that ends in some days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}{days}.crt", folder / f"{name}{days}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def test_a_certificate_is_checked_before_it_is_used(new: TrackingServer, tmp_path: Path) -> None:
    before = (new.state / "tls" / "server.pem").read_bytes()
    good, key = certificate(tmp_path, "tracking.lab.org", 60)
    other, other_key = certificate(tmp_path, "other.org", 60)
    expired, expired_key = certificate(tmp_path, "tracking.lab.org", -1)
    assert "is not the key of" in new.refuse("certificate", good, other_key)
    assert "is not for tracking.lab.org" in new.refuse("certificate", other, other_key)
    assert "expired" in new.refuse("certificate", expired, expired_key)
    assert "no certificate" in new.refuse("certificate", key, key)
    assert (new.state / "tls" / "server.pem").read_bytes() == before

    new.call("certificate", good, key)
    assert (new.state / "tls" / "server.crt").read_bytes() == good.read_bytes()
    assert (new.state / "tls" / "server.pem").stat().st_mode & 0o777 == 0o600
    (new.state / "tls" / "server.crt").write_bytes(expired.read_bytes())
    new.set("LISTEN", "127.0.0.1")
    assert "the certificate has expired" in new.refuse("up", "proxy")
    new.call("certificate")  # a new one, self-signed
    assert "PRIVATE" not in (new.state / "tls" / "server.crt").read_text()


def compose() -> dict[str, Any]:
    """The compose file."""
    read: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return read


def test_compose_refuses_without_secrets_and_shows_none() -> None:
    file = compose()["secrets"]["server.env"]["file"]
    assert file.startswith("${CARE_TRACKING_SECRETS:?")
    for service in compose()["services"].values():
        assert service["secrets"] == ["server.env"]
        assert not [
            name for name in service.get("environment", {}) if "PASS" in name or "SECRET" in name
        ]
        assert "env_file" not in service


def test_only_the_proxy_of_the_containers_has_a_network() -> None:
    services = compose()["services"]
    networked = [name for name, each in services.items() if each.get("network_mode") != "none"]
    assert networked == ["proxy"]
    assert [name for name, each in services.items() if "ports" in each] == ["proxy"]
    (port,) = services["proxy"]["ports"]
    assert port.startswith("${CARE_TRACKING_BIND:-127.0.0.1}:")


def test_the_containers_call_commands_that_the_script_has() -> None:
    usage = subprocess.run([FOLDER / "server", "help"], capture_output=True, text=True).stdout
    for service in compose()["services"].values():
        assert f"\n  {service['command'][0]} " in usage
        if "healthcheck" in service:
            assert "\n  ready SERVICE" in usage


def test_the_example_has_every_setting_and_no_secret(made: TrackingServer) -> None:
    lines = (FOLDER / "env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert example.keys() == made.settings().keys()
    assert not example["CARE_TRACKING_ADMIN_PASSWORD"]
    assert not example["CARE_TRACKING_SECRET_KEY"]


def test_secrets_are_not_committed() -> None:
    command = ["git", "check-ignore", "docker/tracking/server.env"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


def test_a_docker_client_without_a_daemon_counts_as_none() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(FOLDER / "stack", folder)
        asked = folder / "docker"
        asked.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
        asked.chmod(0o755)
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": name}
        command = [
            "setpriv",
            "--reuid",
            "nobody",
            "--clear-groups",
            "--",
            str(folder / "stack"),
            "up",
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "docker daemon that answers" in done.stderr
