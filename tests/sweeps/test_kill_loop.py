"""A sweep that accidents befall, one after another, ends as an undisturbed one, bit for bit.

``pytest tests/sweeps/test_kill_loop.py --faults 200 --fault-seed 7`` is a longer one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.declaring import declare
from tests.helpers.processes import (
    alive,
    care,
    command_of,
    descendants,
    lines_in,
    start_care,
    wait_for,
)

EPOCHS = 10
COMMAND = ("sweep", "run", "sweep.yaml", "--no-report")
# Of twenty faults; what ends the driver costs a start of Ray.
DECK = {
    "stop a trial": 5,
    "kill a trial": 6,
    "stop the driver": 3,
    "kill the driver": 2,
    "terminate the driver": 1,
    "interrupt all": 1,
    "kill the raylet": 1,
    "start a second driver": 1,
}


def declare_longer(folder: Path) -> None:
    folder.mkdir()
    declare(folder)
    training = {**TINY["training"], "epochs": EPOCHS}
    (folder / "experiment.yaml").write_text(yaml.safe_dump({**TINY, "training": training}))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    declare_longer(folder)
    care(*COMMAND, cwd=folder)
    return folder


class DisturbedSweep:
    """A sweep that is started again whenever a fault has ended its driver."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        declare_longer(folder)
        self.folder, self._chance = folder, chance
        self._trials = folder / "runs" / "trials"
        self.seen: set[int] = set()
        self.drivers: set[int] = set()
        self._run = self._start()

    def _start(self) -> subprocess.Popen[str]:
        run = start_care(*COMMAND, cwd=self.folder)
        self.drivers.add(run.pid)
        return run

    def wait_for_progress(self) -> bool:
        """Wait until an epoch was logged since now; False when the sweep has ended before."""
        before = self._lines()
        wait_for(lambda: self._lines() > before or self._run.poll() is not None, 120)
        time.sleep(self._chance.random() / 10)
        return self._run.poll() is None

    def end(self) -> str:
        """Wait for the driver's end; what it said."""
        output = self._run.communicate(timeout=120)[0]
        assert self._run.returncode == 0, output
        return output

    def suffer(self, fault: str) -> None:
        """Have one of :data:`DECK` happen."""
        self.seen |= descendants(self._run.pid)
        getattr(self, "_" + fault.replace(" ", "_"))()

    def _lines(self) -> int:
        return sum(map(lines_in, self._trials.glob("*/starts.jsonl"))) + sum(
            map(lines_in, self._trials.glob("*/metrics.jsonl"))
        )

    def _trial_process(self) -> int | None:
        pids = []
        for claim in sorted(self._trials.glob("*/claim-??????")):
            try:
                pids.append(json.loads(claim.read_text())["pid"])
            except FileNotFoundError:  # released since
                continue
        living = [pid for pid in pids if pid in descendants(self._run.pid)]
        return self._chance.choice(living) if living else None

    def _stop_a_trial(self) -> None:
        self._stop(self._trial_process())

    def _stop_the_driver(self) -> None:
        self._stop(self._run.pid)

    def _stop(self, pid: int | None) -> None:
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._chance.random())
            os.kill(pid, signal.SIGCONT)

    def _kill_a_trial(self) -> None:
        pid = self._trial_process()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def _kill_the_driver(self) -> None:
        self._run.kill()
        self._run.communicate(timeout=60)
        self._run = self._start()

    def _terminate_the_driver(self) -> None:
        self._end_in_order(lambda: os.kill(self._run.pid, signal.SIGTERM), 143)

    def _interrupt_all(self) -> None:
        self._end_in_order(lambda: os.killpg(self._run.pid, signal.SIGINT), 130)

    def _end_in_order(self, end: Callable[[], None], status: int) -> None:
        end()
        output = self._run.communicate(timeout=120)[0]
        assert self._run.returncode in (0, status), output
        assert "Traceback" not in output
        self._run = self._start()

    def _kill_the_raylet(self) -> None:
        """Ray lets the driver wait for half a minute; its user has less patience."""
        for pid in descendants(self._run.pid):
            if "/raylet/raylet" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        time.sleep(self._chance.random())
        self._kill_the_driver()

    def _start_a_second_driver(self) -> None:
        first, self._run = self._run, self._start()
        time.sleep(self._chance.random())
        first.kill()
        first.communicate(timeout=60)


def assert_equal_and_nothing_left(sweep: DisturbedSweep, undisturbed: Path) -> None:
    trials = sweep.folder / "runs" / "trials"
    wanted = undisturbed / "runs" / "trials"
    assert {path.name for path in trials.iterdir()} == {path.name for path in wanted.iterdir()}
    for trial in trials.iterdir():
        assert json.loads((trial / "status.json").read_text())["state"] == "finished"
        assert lines_in(trial / "metrics.jsonl") == lines_in(trial / "timings.jsonl") == EPOCHS
        assert_equal_to_the_bit(trial, wanted / trial.name)
    hidden = {path.name for path in (sweep.folder / "runs").rglob(".*")}
    assert hidden <= {".store.lock"}
    scratch = Path(tempfile.gettempdir())
    assert [pid for pid in sweep.drivers if list(scratch.glob(f"care-*-{pid}-*"))] == []
    wait_for(lambda: not alive(sweep.seen), 120)


@pytest.mark.timeout(0)  # as long as there are faults; each wait has a limit of its own
def test_accidents_change_nothing(
    undisturbed: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(request.config.getoption("--fault-seed"))
    faults = [fault for fault, count in DECK.items() for _ in range(count)]
    left = [
        fault
        for _ in range(0, request.config.getoption("--faults"), len(faults))
        for fault in chance.sample(faults, len(faults))
    ][: request.config.getoption("--faults")]
    number = 0
    while left:
        sweep = DisturbedSweep(tmp_path / f"sweep-{number}", chance)
        while left and sweep.wait_for_progress():
            sweep.suffer(left.pop())
        sweep.end()
        assert_equal_and_nothing_left(sweep, undisturbed)
        number += 1
