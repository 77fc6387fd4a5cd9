"""Memory that runs out on a workstation: the kernel ends a trial's process, and the sweep goes on.

It needs root for the control group, no SLURM.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.pooling import Pool, wait_until
from tests.helpers.processes import CARE

_GROUPS = Path("/sys/fs/cgroup")
_MIB = 1024**2
# Holds more memory than is left, as something else on the machine would. The kernel ends Ray's
# workers first, which Ray marks.
_HOG = f"""
import sys
print("ready", flush=True)
held = []
for line in sys.stdin:
    held.append(b"x" * (int(line) * {_MIB}))
    print("held", flush=True)
"""


class Group:
    """A control group with a memory limit, of version 1 or 2."""

    def __init__(self) -> None:
        version1 = _GROUPS / "memory"
        self._parent = version1 if version1.is_dir() else _GROUPS
        self._names = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
            if version1.is_dir()
            else ("memory.max", "memory.current", "memory.events")
        )
        self.folder = self._parent / f"care-test-{os.getpid()}"
        if not version1.is_dir():
            (self._parent / "cgroup.subtree_control").write_text("+memory")
        self.folder.mkdir()

    def enter(self) -> None:
        """Move this process into the group."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def limit(self, size: int) -> None:
        (self.folder / self._names[0]).write_text(str(size))

    @property
    def used(self) -> int:
        return int((self.folder / self._names[1]).read_text())

    @property
    def kills(self) -> int:
        """Processes of the group that the kernel ended for want of memory."""
        lines = (self.folder / self._names[2]).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        wait_until(lambda: not (self.folder / "cgroup.procs").read_text(), what="group is empty")
        self.folder.rmdir()


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    yield made
    made.remove()


def test_a_trial_that_the_kernel_ends_resumes_to_the_undisturbed_numbers(
    tmp_path: Path, group: Group, undisturbed: Path, empty_database: Path
) -> None:
    sweep = Pool(tmp_path, {}, seeds=1, database=empty_database)
    sweep.prepare()
    hog = subprocess.Popen(
        [sys.executable, "-c", _HOG], preexec_fn=group.enter, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert hog.stdin
    assert hog.stdout
    assert hog.stdout.readline() == "ready\n"
    run = subprocess.Popen(
        [*CARE, "sweep", "run", "local.yaml", "--no-report"], cwd=sweep.folder,
        env=sweep.environment, preexec_fn=group.enter,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip

    def both_have_a_checkpoint() -> bool:
        return [sweep.epochs(trial) >= 2 for trial in sweep.trials()] == [True, True]

    wait_until(both_have_a_checkpoint, what="both trials have a checkpoint")
    group.limit(group.used + 100 * _MIB)
    hog.stdin.write("300\n")
    hog.stdin.flush()
    assert hog.stdout.readline() == "held\n", "the kernel chose a trial"
    wait_until(lambda: group.kills >= 1, what="the kernel ends a process")
    hog.kill()
    hog.wait()
    sweep.hurry()
    output = run.communicate(timeout=500)[0]
    assert run.returncode == 0, output
    assert "its process was lost; it resumes from its last checkpoint" in output
    assert "(raylet)" not in output, "what a raylet reports is for the log"
    assert sweep.finished() == 2
    for trial in sweep.trials():
        assert_equal_to_the_bit(trial, undisturbed / "runs" / "trials" / trial.name)
    starts = [start for trial in sweep.trials() for start in sweep.starts(trial)]
    assert any(start["epoch"] > 0 for start in starts)
