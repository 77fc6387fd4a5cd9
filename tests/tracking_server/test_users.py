"""Users of the tracking server: who may do what, and where no password is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.reviewing import start_sweep
from tests.helpers.tracking_server import PASSWORDS, TrackingServer


def use(monkeypatch: pytest.MonkeyPatch, server: TrackingServer, user: str) -> MlflowClient:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.client(user).items():
        monkeypatch.setenv(name, value)
    return MlflowClient(server.uri)


def seen_runs(client: MlflowClient) -> list[Run]:
    """Runs that the user can read; the other tests of the server write some, too."""
    experiment = client.get_experiment_by_name("care")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def test_two_users_write_one_experiment_and_a_reader_only_reads(
    server: TrackingServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    assert_exact: Callable[[Path], None],
) -> None:
    before = len(seen_runs(use(monkeypatch, server, "reader")))
    for user in ("writer", "other"):
        (tmp_path / user).mkdir()
        store, _ = start_sweep(tmp_path / user, [0, 0.1], 1)
        use(monkeypatch, server, user)
        sync_store(store, server.uri)
        assert_exact(store.root)
    client = use(monkeypatch, server, "reader")
    runs = seen_runs(client)
    assert len(runs) == before + 6
    with pytest.raises(MlflowException, match="403"):
        client.log_param(runs[0].info.run_id, "mine", 1)
    with pytest.raises(MlflowException, match="403"):
        client.create_run(runs[0].info.experiment_id)
    with pytest.raises(MlflowException, match="403"):
        client.delete_run(runs[0].info.run_id)


def test_a_reader_makes_no_experiment_whose_artifacts_are_elsewhere(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use(monkeypatch, server, "reader")
    mine = client.create_experiment("of a reader")
    assert client.get_experiment(mine).artifact_location == f"mlflow-artifacts:/{mine}"
    for place in ("file:///tmp/of-a-reader", "/tmp/of-a-reader", "s3://b/x", "mlflow-artifacts:/1"):
        with pytest.raises(MlflowException, match="artifact_location_must_be_left_out"):
            client.create_experiment(f"at {place}", artifact_location=place)
        assert client.get_experiment_by_name(f"at {place}") is None
    client.delete_experiment(mine)


@pytest.mark.parametrize(
    "path",
    [
        "/api/3.0/mlflow/gateway/secrets/list",
        "/ajax-api/3.0/mlflow/assistant/config",
        "/ajax-api/3.0//mlflow/assi%73tant/config",
        "/gateway/any/mlflow/invocations",
        "/ajax-api/3.0/jobs/1",
        "/ajax-api/2.0/mlflow/gateway-proxy",
        "/api/3.0/mlflow/mcp-servers",
    ],
)
def test_what_is_no_tracking_is_closed_to_everybody(server: TrackingServer, path: str) -> None:
    settings = server.settings()
    admin = (settings["CARE_TRACKING_ADMIN"], settings["CARE_TRACKING_ADMIN_PASSWORD"])
    status, text = server.send("GET", path, admin)
    assert status == 404
    assert "nginx" in text


def test_a_large_request_without_a_password_is_refused_unread(server: TrackingServer) -> None:
    def upload(path: str) -> int:
        status, _ = server.send("PUT", path, body=(bytes(1 << 20) for _ in range(200)))
        return status

    before = server.peak_memory("mlflow")
    assert upload("/api/2.0/mlflow/runs/log-batch") == 413
    assert upload("/api/2.0/mlflow-artifacts/artifacts/0/x") in (401, 413)
    assert server.peak_memory("mlflow") - before < 100 << 20


def test_users_are_managed_where_only_mlflow_is_seen(server: TrackingServer) -> None:
    """As in its container: no network, other processes, the same sockets."""
    alone = ("unshare", "--net", "--pid", "--fork", "--mount-proc")
    assert "reader  reader\n" in server.call("user", "list", beneath=alone).stdout


@pytest.mark.parametrize(("user", "password"), [("", ""), ("writer", "wrong-password-1")])
def test_without_the_right_password_nothing_is_shown(
    server: TrackingServer,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    password: str,
    tmp_path: Path,
) -> None:
    client = use(monkeypatch, server, user)
    if password:
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    with pytest.raises(MlflowException, match="401"):
        client.search_experiments()
    store, _ = start_sweep(tmp_path, [0], 1)
    with pytest.raises(Exception, match="MLflow cannot be written"):
        sync_store(Store(store.root), server.uri)


def test_roles_and_passwords_change(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = 'O\'Neil "x" $y %z'
    first = server.call("user", "add", name, "--role", "reader", "--generate").stdout.strip()
    assert f"reader  {name}\n" in server.call("user", "list").stdout
    server.call("user", "role", name, "admin")
    assert f"admin   {name}\n" in server.call("user", "list").stdout
    server.call("user", "password", name, password="quite another one")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(server.state / "tls/server.crt"))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "quite another one")
    client = MlflowClient(server.uri)
    assert client.search_experiments()
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", first)
    with pytest.raises(MlflowException, match="401"):
        client.search_experiments()
    server.call("user", "remove", name)
    assert name not in server.call("user", "list").stdout


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("new", "", "less than 12"),
        ("new", "password1234", "well-known"),
        ("new", "mlflow-mlflow-1", "well-known"),
        ("new", "123456789012", "digits alone"),
        ("newcomer", "newcomer-2026", "user's name"),
        ("new", "пароль-длинный", "ASCII"),
        ("a:b", "long-enough-one", "without ':'"),
        ("", "long-enough-one", "1 to 100"),
        ("writer", "long-enough-one", "exists"),
    ],
)
def test_bad_names_and_passwords_are_refused(
    server: TrackingServer, name: str, password: str, reason: str
) -> None:
    assert reason in server.refuse("user", "add", name, password=password)


def test_no_secret_is_in_a_log_or_the_list_of_processes(server: TrackingServer) -> None:
    settings = server.settings()
    secrets = [settings["CARE_TRACKING_ADMIN_PASSWORD"], settings["CARE_TRACKING_SECRET_KEY"]]
    secrets += PASSWORDS.values()
    places = server.processes()
    assert len(places) >= 3
    places += [path.read_text() for path in (server.state / "log").iterdir()]
    places += [path.read_text() for path in (server.state / "config").iterdir()]
    assert not [secret for secret in secrets for place in places if secret in place]


def test_the_state_folder_is_private(server: TrackingServer) -> None:
    assert server.state.stat().st_mode & 0o777 == 0o700
    assert (server.state / "server.env").stat().st_mode & 0o777 == 0o600
    assert (server.state / "tls" / "server.pem").stat().st_mode & 0o777 == 0o600
