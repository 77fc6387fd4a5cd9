"""The files by which head, workers and people find each other, and what people read of them."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from care.system.files import DamagedFileError
from care.trials.state import State
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.network import address_of, answers
from sweeps.backends.slurm.state_files import (
    Best,
    Head,
    HeadState,
    PoolFolder,
    PoolStatus,
    Request,
    Workers,
    WorkerState,
    WorkerStatus,
)
from sweeps.backends.slurm.status import StatusReader, SweepStatus
from sweeps.cli.cluster import parse_workers
from sweeps.cli.status_view import submitted_view
from sweeps.progress import TrialProgress
from sweeps.store import Store
from tests.helpers.damaging import DAMAGES, remove
from tests.sweeps.cli.test_list import start


def request(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "cluster": ClusterConfig(partition="gpu", gpus=1),
        "workers": Workers(least=1, most=4),
        "folder": "/home/me",
        "code": "/home/me/runs/code",
        "command": "care sweep submit sweep.yaml",
    }
    return Request(**{**fields, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> PoolFolder:
    store = Store(tmp_path / "runs")
    store.prepare()
    return PoolFolder(store, "tiny")


def test_only_its_owner_reads_the_token(folder: PoolFolder) -> None:
    folder.prepare(request())
    assert folder.token.stat().st_mode & 0o777 == 0o600
    token = folder.token.read_text()
    assert len(token) == 64
    folder.prepare(request())
    assert folder.token.read_text() == token, "workers that wait have the old one"


def test_a_request_is_read_as_it_was_written(folder: PoolFolder) -> None:
    wanted = request(cluster=ClusterConfig(time="1:00:00", setup=("module load x",)))  # type: ignore[arg-type]
    folder.prepare(wanted)
    assert folder.request() == wanted
    assert folder.head() == Head()


@pytest.mark.parametrize("name", ["request.json", "head.json", "status.json"])
def test_a_damaged_file_is_passed_over_or_named(
    folder: PoolFolder, tmp_path: Path, name: str
) -> None:
    start(folder.store, tmp_path)
    status = PoolStatus(
        at=time.time(),
        counts={State.RUNNING: 1},
        running=(TrialProgress("λ=0", 0, 3),),
        best=None,
        metric="head/gamma",
        seconds_left=None,
    )
    for case, damage in DAMAGES.items():
        folder.prepare(request())
        folder.write_head(Head(state=HeadState.RUNNING, left=1))
        folder.write_status(status)
        path = folder.path / name
        damage(path)
        named = None
        try:
            shown = StatusReader(folder).read()
        except DamagedFileError as error:
            named = error
        else:
            assert shown.counts in ({"running": 1}, {"new": 4}), case
            assert submitted_view(shown)
        assert named is None or (name != "status.json" and name in str(named)), case
        if name == "request.json" and case in ("null", "folder", "other types"):
            assert named, case
        remove(path)


def test_a_workers_file_that_cannot_be_read_hides_no_other(folder: PoolFolder) -> None:
    folder.prepare(request())
    folder.write_worker("7", WorkerStatus(at=1.0, state=WorkerState.RUNNING))
    (folder.path / "workers" / "8.json").write_bytes(bytes(100))
    assert list(folder.workers()) == ["7"]


def test_files_of_an_earlier_version_are_read(folder: PoolFolder) -> None:
    folder.prepare(request())
    head = {"state": "running", "generation": "g", "address": "a:1", "job_id": "7", "left": 3}
    worker = {"state": "running", "node": "n1", "trials": ["a"], "idle": 5, "cpus": 4, "gpus": 0}
    status = {
        "counts": {"finished": 3, "running": 1, "elsewhere": 1, "new": 2},
        "running": [{"point": "λ=0", "seed": 1, "epochs": 9, "epoch": 2, "state": "running"}],
        "metric": "head/gamma",
        "best": {"point": "λ=0", "mean": 0.5, "n": 2},
        "seconds_left": 12,
        "at": time.time(),
    }
    (folder.path / "head.json").write_text(json.dumps({**head, "release": ["8"]}))
    (folder.path / "workers" / "8.json").write_text(json.dumps({**worker, "at": 1.5}))
    (folder.path / "status.json").write_text(json.dumps(status))
    assert folder.head().release == ("8",)
    assert folder.workers()["8"].idle == 5
    shown = StatusReader(folder).read()
    assert shown.counts[State.ELSEWHERE] == 1
    assert [(trial.label, trial.state) for trial in shown.running] == [("λ=0 seed=1", "running")]
    assert shown.as_json()["best"] == {"point": "λ=0", "mean": 0.5, "n": 2}


def test_a_new_submission_keeps_what_the_head_says(folder: PoolFolder) -> None:
    folder.prepare(request())
    said = Head(
        state=HeadState.RUNNING, generation="g", address="a:1", job_id="7", left=3, release=("8",)
    )
    folder.write_head(said)
    folder.prepare(request())
    assert folder.head() == said


def test_jobs_of_two_stores_have_different_names(tmp_path: Path) -> None:
    names = {
        PoolFolder(Store(tmp_path / store), "tiny").job_name(role)
        for store in "ab"
        for role in ("head", "worker")
    }
    assert len(names) == 4
    assert all(name.startswith("care-tiny-") for name in names)


@pytest.mark.parametrize(("text", "workers"), [("4", (4, 4)), ("1:16", (1, 16)), ("0:2", (0, 2))])
def test_a_range_of_workers(text: str, workers: tuple[int, int]) -> None:
    parsed = parse_workers(text)
    assert (parsed.least, parsed.most) == workers


def test_who_listens_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
    assert not answers(address)


def test_an_interface_has_an_address() -> None:
    assert address_of("lo") == "127.0.0.1"
    with pytest.raises(Exception, match=r"interface: got 'ib9'; allowed on this node: .*lo"):
        address_of("ib9")


def shown(**changes: Any) -> str:
    trial = TrialProgress("λ=0.1", 2, 20, 5, State.RUNNING, None, 0.42, 1234.0)
    fields: dict[str, Any] = {
        "name": "tiny",
        "request": request(),
        "head": Head(state=HeadState.RUNNING, generation="g", address="a:1", job_id="7", left=3),
        "heads": [QueuedJob("7", "RUNNING", "n1", "None")],
        "workers": [
            QueuedJob("8_0", "RUNNING", "n2", "None"),
            QueuedJob("8_1", "PENDING", "", "Priority"),
        ],
        "counts": {"finished": 3, "running": 1, "new": 2},
        "running": [trial],
        "last": PoolStatus(
            at=0.0,
            node="n1",
            counts={},
            running=(),
            metric="accuracy",
            best=Best(point="λ=0", mean=0.5, n=2),
            seconds_left=61.0,
        ),
        "age": 1.0,
    }
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(submitted_view(SweepStatus(**{**fields, **changes})))
    return console.export_text()


def test_a_running_sweep() -> None:
    text = shown()
    assert "tiny: running, head job 7 on n1" in text
    assert "3 finished   1 running   2 new" in text
    assert "1 running (n2), 1 waiting (Priority), wanted 1:4" in text
    assert "λ=0: accuracy 0.5 (mean, n = 2)" in text
    assert "1 min 01 s" in text
    assert "λ=0.1" in text
    assert "5/20" in text
    assert "to resume" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"heads": [QueuedJob("7", "PENDING", "", "Priority")]}, "waits in the queue (Priority)"),
        ({"age": 95.0}, "silent for 1 min 35 s"),
        ({"heads": [], "age": 95.0}, "no head is running"),
        ({"heads": [], "age": 95.0}, "to resume: care sweep submit sweep.yaml"),
        ({"request": request(cancel=True)}, "being cancelled"),
        ({"request": request(cancel=True), "heads": [], "age": 95.0}, "tiny: cancelled"),
        ({"workers": None}, "unknown: SLURM does not answer here"),
        (
            {
                "heads": [],
                "head": Head(state=HeadState.ENDED),
                "counts": {"finished": 6},
                "running": [],
            },
            "tiny: finished",
        ),
    ],
)
def test_other_moments_of_a_sweep(changes: dict[str, Any], expected: str) -> None:
    assert expected in shown(**changes)


def test_many_running_trials_are_not_all_shown() -> None:
    trials = [TrialProgress("p", seed, 20, state=State.RUNNING) for seed in range(100)]
    text = shown(running=trials)
    assert "… and 76 more" in text
    assert len(text.splitlines()) < 40


def test_a_worker_whose_disk_is_away_goes_on(folder: PoolFolder) -> None:
    folder.prepare(request())
    folder.write_worker("8_0", WorkerStatus(at=1.0, state=WorkerState.RUNNING, idle=1.0))
    assert json.loads((folder.path / "workers" / "8_0.json").read_text())["idle"] == 1.0
    shutil.rmtree(folder.path / "workers")
    folder.write_worker("8_0", WorkerStatus(at=2.0, state=WorkerState.RUNNING, idle=2.0))
    assert folder.workers() == {}
