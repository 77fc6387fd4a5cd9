"""A trial in two processes: to its end, paused, resumed in another number, and with one lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.system.claim import Claim
from care.training.trial_run import TrialRun
from care.trials.failure import LostError, classify
from care.trials.folder import TrialFolder
from tests.conftest import TINY
from tests.helpers.processes import alive, descendants, wait_for

EPOCHS = 3


def config(processes: int, **changes: Any) -> TrialConfig:
    runtime = {"threads": 2, "processes": processes}
    # Rounded to bfloat16, where that is fast, ways of summing would end further apart.
    training = {**TINY["training"], "epochs": EPOCHS, "precision": "fp32"}
    monitor = {"every": 2, "measures": ["gamma", "knn_accuracy", "probe_accuracy"]}
    evaluation = {**TINY["evaluation"], "monitor": monitor}
    tree = {**TINY, "training": training, "evaluation": evaluation, "runtime": runtime}
    return validate(TrialConfig, {**tree, **changes}, "test")


def run(path: Path, processes: int, stop_at: int | None = None) -> str:
    """Run to the end, or until the ``stop_at``-th asking; the state afterwards."""
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] == stop_at

    with Claim.take(path) or pytest.fail("claimed"):
        trial = TrialRun(config(processes), TrialFolder(path))
        while not trial.finished and trial.advance(stop) is not None:
            pass
    status = TrialFolder(path).read_status()
    assert status
    return status.state


def numbers(path: Path) -> dict[str, float]:
    """Metrics of the last epoch and final measures."""
    folder = TrialFolder(path)
    return {**folder.read_metrics()[-1], **(folder.read_evaluation() or {})}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    assert run(folder, 1) == "finished"
    return folder


def test_two_processes_end_as_one_does(alone: Path, tmp_path: Path) -> None:
    before = descendants(os.getpid())
    assert run(tmp_path, 2) == "finished"
    for name in (
        "train/loss",
        "heldout/gamma",
        "heldout/knn_accuracy",
        "heldout/probe_accuracy",
        "encoder/probe_accuracy",
    ):
        assert numbers(tmp_path)[name] == pytest.approx(numbers(alone)[name], rel=0.02, abs=0.01)
    provenance = TrialFolder(tmp_path).read_provenance()
    assert provenance
    assert provenance.processes == 2
    wait_for(lambda: not alive(descendants(os.getpid()) - before))


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_paused_inside_an_epoch_and_resumed_in_another_number(
    alone: Path, tmp_path: Path, first: int, second: int
) -> None:
    assert run(tmp_path, first, stop_at=8) == "paused"
    assert [start.epoch for start in TrialFolder(tmp_path).read_starts()] == [0]
    assert run(tmp_path, second) == "finished"
    place = TrialFolder(tmp_path).read_starts()[1]
    assert (place.epoch, place.step) > (0, 0)
    for name in ("train/loss", "encoder/probe_accuracy"):
        assert numbers(tmp_path)[name] == pytest.approx(numbers(alone)[name], rel=0.02, abs=0.01)


def advance_to_the_end(trial: TrialRun) -> None:
    while not trial.finished:
        trial.advance()


def test_a_killed_process_ends_the_try_at_once_and_nothing_is_lost(
    alone: Path, tmp_path: Path
) -> None:
    before = descendants(os.getpid())
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: bool(TrialFolder(tmp_path).read_metrics()))
        for pid in descendants(os.getpid()) - before:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill)
    with Claim.take(tmp_path) or pytest.fail("claimed"):
        trial = TrialRun(config(2), TrialFolder(tmp_path))
        killer.start()
        began = time.monotonic()
        with pytest.raises(LostError) as caught:
            advance_to_the_end(trial)
        assert time.monotonic() - began < 120, "it must not hang until a time-out"
    killer.join()
    assert killed
    assert classify(caught.value) == "lost"
    assert json.loads((tmp_path / "status.json").read_text())["error"]["kind"] == "lost"
    assert run(tmp_path, 2) == "finished"
    assert TrialFolder(tmp_path).read_starts()[1].epoch >= 1


def test_a_batch_that_does_not_divide_is_refused(refused: Any) -> None:
    problem = refused(config, 3)
    assert problem.field == "runtime.processes"
