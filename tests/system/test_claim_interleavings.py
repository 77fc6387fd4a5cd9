"""Holders of one trial that are suspended, superseded and continued between any two steps.

Each believes that every other one lives on another machine and is dead after two looks. So they
take over from each other all the time, and a process that lost its trial may resume at any moment.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from care.system import claim
from care.system import heartbeat as liveness
from care.system.claim import Claim, LostClaimError
from care.system.files import read_lines
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from care.trials.records import TimingRecord
from care.trials.state import State
from tests.helpers.suspending import Suspended, suspend_at_every_step

EPOCHS = 3
HOLDERS = 3
LOOKS = 12
CPU = torch.device("cpu")


class Trial:
    """A trial whose epochs have the number of the claim that trained them as their value."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.claims: dict[str, int] = {}
        self.highest = 0

    def live(self) -> None:
        """Claim the trial and train it, again when it is lost, as a process of a sweep does."""
        for _ in range(LOOKS):
            held = Claim.take(self.path)
            if held is None:
                continue
            number = int(held._path.name[-6:])
            self.highest = max(self.highest, number)
            self.claims[threading.current_thread().name] = number
            with held:
                try:
                    self._train(TrialFolder(self.path, held), held, number)
                except LostClaimError:
                    continue
            return

    def _train(self, folder: TrialFolder, held: Claim, number: int) -> None:
        status = folder.read_status()
        if status and status.state == State.FINISHED:
            return
        state = checkpoint.load(self.path, CPU, pytest.fail, held)
        history = list(state["history"]) if state else []
        folder.rewind(len(history))
        folder.append_start(len(history), 0)
        folder.write_status(State.RUNNING, len(history), EPOCHS)
        for epoch in range(len(history) + 1, EPOCHS + 1):
            history.append(number)
            timing = TimingRecord(
                epoch=epoch, seconds=1.0, images_per_second=1.0, finished_at=float(number)
            )
            folder.append_epoch({"epoch": epoch, "by": number}, timing)
            checkpoint.save(self.path, epoch, 0, {"history": history}, held)
            folder.write_status(State.RUNNING, epoch, EPOCHS)
        folder.write_evaluation({str(epoch): by for epoch, by in enumerate(history, start=1)})
        folder.write_status(State.FINISHED, EPOCHS, EPOCHS)

    def check(self, name: str, arguments: tuple[Any, ...]) -> None:
        """No file is put in its place by a process that another one has superseded."""
        number = self.claims.get(threading.current_thread().name, self.highest)
        if name in ("replace", "rename") and Path(arguments[1]).parent == self.path:
            hidden = Path(arguments[1]).name.startswith((".", "claim-"))
            assert hidden or number == self.highest, f"{arguments[1]} by claim {number}"


def assert_whole(path: Path) -> None:
    metrics = read_lines(path / "metrics.jsonl")
    assert [line["epoch"] for line in metrics] == list(range(1, EPOCHS + 1))
    assert [line["epoch"] for line in read_lines(path / "timings.jsonl")] == [1, 2, 3]
    state = checkpoint.load(path, CPU, pytest.fail)
    assert state is not None
    history = [line["by"] for line in metrics]
    assert history == state["history"] == sorted(history)
    assert list((TrialFolder(path).read_evaluation() or {}).values()) == history
    status = TrialFolder(path).read_status()
    assert status
    assert (status.state, status.epoch) == ("finished", EPOCHS)
    assert len(list(path.glob(f"checkpoint-{EPOCHS:06d}-*"))) == 1
    assert len(list(path.glob("checkpoint-*"))) <= 2


@settings(max_examples=60, deadline=None)
@given(
    bursts=st.lists(st.tuples(st.integers(0, HOLDERS - 1), st.integers(1, 60)), max_size=40),
    order=st.permutations(range(HOLDERS)),
)
def test_each_epoch_is_the_rightful_holders(
    bursts: list[tuple[int, int]], order: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveness, "LEASE_SECONDS", 0.0)
        patch.setattr("care.system.process.boot", lambda: threading.current_thread().name)
        patch.setattr("care.system.process.machine", lambda: "")
        patch.setattr(liveness, "_clock", lambda: threading.current_thread().name)
        patch.setattr(claim, "_BEAT_SECONDS", 3600.0)
        trial = Trial(Path(root) / "trial")
        suspend_at_every_step(patch, trial.check)
        holders = [Suspended(f"holder-{number}", trial.live) for number in range(HOLDERS)]
        for number, steps in bursts:
            holders[number].go(steps)
        for number in order:
            holders[number].go(10**6)
        trial.live()
        assert_whole(trial.path)
        assert not list(trial.path.glob(".held-*"))
