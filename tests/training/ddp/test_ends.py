"""However one process of a trial ends, the others do not outlive it or wait for it."""

from __future__ import annotations

import os
import queue
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from care.config import TrialConfig
from care.config.loading import validate
from care.distributed.group import Group
from care.system.claim import Claim
from care.system.device import resolve_device
from care.training.ddp.assignment import Assignment
from care.training.ddp.process import FollowerProcess, LostFollowerError
from care.training.trial_run import TrialRun
from care.trials.failure import DivergedError, describe
from care.trials.folder import TrialFolder
from tests.conftest import TINY
from tests.helpers.processes import alive, command_of, descendants, start_care, wait_for


def tree(**parts: Any) -> dict[str, Any]:
    return {**TINY, "runtime": {"threads": 2, "processes": 2}, **parts}


def followers() -> set[int]:
    return {pid for pid in descendants(os.getpid()) if "follower" in command_of(pid)}


def test_a_killed_leader_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    endless = {"epochs": 10_000, "batch_size": 256}
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(tree(training=endless)))
    leader = start_care("train", "trial.yaml", "--store", "store", cwd=tmp_path)
    wait_for(lambda: any(tmp_path.glob("store/*/*/metrics.jsonl")))
    processes = descendants(leader.pid)
    assert any("care.training.ddp.follower" in command_of(pid) for pid in processes)
    assert list(temporary.glob("care-*"))
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    wait_for(lambda: not alive(processes))
    assert not list(temporary.glob("care-*"))


def test_diverging_ends_all(tmp_path: Path) -> None:
    config = validate(TrialConfig, tree(optimizer={"learning_rate": 1e30}), "test")
    with Claim.take(tmp_path) or pytest.fail("claimed"):
        trial = TrialRun(config, TrialFolder(tmp_path))
        with pytest.raises(DivergedError):
            trial.advance()
    status = TrialFolder(tmp_path).read_status()
    assert status
    assert status.error
    assert status.error.kind == "diverged"
    assert not followers()


@pytest.mark.parametrize(
    ("config", "loss", "message"),
    [
        ({"seed": -1}, LostFollowerError, "process 1 of the trial: 1 validation error"),
        # 400 TB: the leader is to try again with less beside it, as after its own lack of memory.
        ({"model": {"encoder": "small", "head": {"hidden": 10**12}}}, MemoryError, "memory"),
    ],
)
def test_the_cause_of_a_followers_end_is_reported(
    config: dict[str, Any], loss: type[Exception], message: str, tmp_path: Path
) -> None:
    whole = {**TrialConfig.model_validate(TINY).model_dump(mode="json"), **config}
    assignment = Assignment(
        config=TrialConfig.model_construct(**whole).model_dump_json(warnings=False),
        folder=str(tmp_path),
        rendezvous=str(tmp_path / "meeting" / "file"),
        rank=1,
        size=2,
        threads=1,
    )
    losses: queue.SimpleQueue[Exception] = queue.SimpleQueue()
    follower = FollowerProcess(assignment, lambda: None, losses.put)
    with pytest.raises(loss, match=message) as caught:
        raise losses.get(timeout=90)
    follower.end(at_once=True)
    traceback = describe(caught.value).traceback
    assert "In process 1 of the trial:\nTraceback (most recent call last):" in traceback
    assert "in _follow" in traceback, "the trial's log shows where the other process failed"


@pytest.mark.parametrize(
    ("parts", "field", "allowed"),
    [
        ({"runtime": {"processes": 3}}, "runtime.processes", "a divisor of the batch of 256"),
        (
            {"training": {"batch_norm_groups": 3}},
            "training.batch_norm_groups",
            "a divisor of the batch of 256",
        ),
        (
            {"training": {"batch_norm_groups": 2}, "runtime": {"processes": 4}},
            "runtime.processes",
            "a divisor of the training.batch_norm_groups of 2",
        ),
        (
            {"objective": {"name": "moco_v2", "shuffle_groups": 2}, "runtime": {"processes": 4}},
            "runtime.processes",
            "a divisor of the objective.shuffle_groups of 2",
        ),
    ],
)
def test_what_cannot_be_spread_is_refused(
    parts: dict[str, Any], field: str, allowed: str, refused: Any
) -> None:
    problem = refused(validate, TrialConfig, {**TINY, **parts}, "test")
    assert problem.field == field
    assert allowed in problem.allowed


def test_processes_train_together_on_cpus_or_on_a_gpu_each(refused: Any) -> None:
    assert resolve_device("cpu", Group(1, 2)).type == "cpu"
    assert refused(resolve_device, "meta", Group(1, 2)).field == "runtime.device"
