"""A real MLflow server that is away for a while: it costs the sweep nothing but delay."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.processes import care, descendants, lines_in, start_care, wait_for
from tests.helpers.serving import Server
from tests.helpers.sockets import is_loopback, listening

PLANTED = "planted-value-8f2"
SECRET = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WANDB_API_KEY", "PGPASSWORD")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop()


def check_exposure(pids: set[int]) -> None:
    """Check what other users of the machine see of a running sweep: its sockets and arguments."""
    addresses = listening(pids)
    assert addresses, "Ray's"
    assert all(is_loopback(address) for address in addresses), addresses
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            assert PLANTED.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.timeout(600)  # two sweeps and two syncs, beside other tests
def test_a_server_that_is_away_and_comes_back(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRET:
        monkeypatch.setenv(name, PLANTED)
    declare(tmp_path, axes={WEIGHT: [0, 0.1]}, seeds=1)
    command = ("sweep", "run", "sweep.yaml", "--no-report", "--tracking-uri", server.uri)

    away = care(*command, cwd=tmp_path)
    assert "2 finished" in away.stdout
    assert "Training continues" in away.stdout
    assert "to complete it: care track sync" in away.stdout

    server.start()
    care("track", "sync", "--tracking-uri", server.uri, cwd=tmp_path)
    assert sorted(run.info.run_name for run in server.runs()) == [
        "tiny", "λ=0 seed=0", "λ=0.1 seed=0"
    ]  # fmt: skip

    run = start_care(*command, "training.epochs=16", cwd=tmp_path)
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: sum(map(lines_in, trials.glob("*/metrics.jsonl"))) >= 6 + 2)
    check_exposure({run.pid, *descendants(run.pid)})
    server.stop()
    wait_for(lambda: sum(map(lines_in, trials.glob("*/metrics.jsonl"))) >= 6 + 8)
    server.start()
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 0, output
    assert "Training continues" in output
    # Either it was back while the sweep ran, or the command says how to make up for it.
    care("track", "sync", "--tracking-uri", server.uri, cwd=tmp_path)
    runs = server.runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    trained = [run for run in runs if run.data.tags["care.kind"] == "trial"]
    assert sorted(run.data.params["training.epochs"] for run in trained) == ["16", "16", "3", "3"]
    assert sorted(run.data.metrics["learning_rate"] for run in trained) == [0.001] * 4
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or PLANTED.encode() not in path.read_bytes(), path
