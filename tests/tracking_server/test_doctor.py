"""``care doctor`` at a real server: it finds what is wrong and leaves nothing behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeps.doctor.finding import Finding
from sweeps.doctor.tracking import check_tracking
from tests.helpers.tracking_server import TrackingServer


def check(server: TrackingServer) -> list[Finding]:
    return list(check_tracking(Path("runs"), server.uri))


def test_a_server_that_works_is_left_as_it_was(writer: TrackingServer) -> None:
    client = MlflowClient(writer.uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = len(client.search_runs(experiments))
    files = [path for path in (writer.state / "artifacts").rglob("*") if path.is_file()]
    findings = check(writer)
    assert [finding.verdict for finding in findings] == ["ok", "ok"]
    assert "read back and deleted" in findings[1].detail
    after = [experiment.experiment_id for experiment in client.search_experiments()]
    assert after == experiments
    assert len(client.search_runs(experiments)) == runs
    assert [path for path in (writer.state / "artifacts").rglob("*") if path.is_file()] == files


def test_a_reader_and_an_untrusted_certificate_are_named(
    writer: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(writer.uri)
    if client.get_experiment_by_name("care") is None:
        client.create_experiment("care")
    for name, value in writer.client("reader").items():
        monkeypatch.setenv(name, value)
    assert "user 'reader' may not write" in check(writer)[-1].detail
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-password-1")
    (wrong,) = check(writer)
    assert "refuses the password of 'reader'" in wrong.detail
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    (untrusted,) = check(writer)
    assert "not trusted" in untrusted.detail
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in untrusted.fix


def test_a_read_only_artifact_store_is_named(writer: TrackingServer) -> None:
    folder = writer.state / "artifacts"
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        (artifacts,) = [finding for finding in check(writer) if finding.verdict == "bad"]
    finally:
        subprocess.run(["umount", folder], check=True)
    assert artifacts.subject == "MLflow artifacts"
    assert "writable" in artifacts.fix
