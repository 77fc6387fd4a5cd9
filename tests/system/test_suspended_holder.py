"""A trial's process that is stopped longer than its lease, and comes back.

Each process has namespaces of its own: process numbers, name and monotonic clock are another
machine's for the others, who share the folder with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.trials.folder import TrialFolder
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.crashing import run_trial
from tests.helpers.paths import ROOT
from tests.helpers.processes import descendants, lines_in, wait_for

EPOCHS = 5
ANOTHER_MACHINE = ("--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "--uts")


@pytest.fixture(scope="module")
def config() -> TrialConfig:
    tree = {
        "model": {"encoder": "small", "head": {"hidden": 32, "output": 16}},
        "training": {"epochs": EPOCHS, "batch_size": 512},
        "evaluation": {"monitor_images": 32, "rotation_augmentations": 2, "knn_neighbors": 5},
        "runtime": {"threads": 1},
    }
    return validate(TrialConfig, tree, "test")


@pytest.fixture(scope="module")
def undisturbed(config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_trial(config, folder) == 0
    return folder


def train(folder: Path, config: TrialConfig, *machine: str) -> subprocess.Popen[str]:
    """Train the trial in a process that is on another machine for all others."""
    name = f'hostname machine-{len(machine)} && exec "$@"'
    command = [sys.executable, "-m", "tests.helpers.holding", str(folder), config.model_dump_json()]
    return subprocess.Popen(
        ["unshare", *ANOTHER_MACHINE, *machine, "sh", "-c", name, "sh", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_who_comes_back_does_no_harm(
    config: TrialConfig, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "trial"
    away = train(folder, config)
    wait_for(lambda: lines_in(folder / "metrics.jsonl") >= 2)
    stopped = descendants(away.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    other = train(folder, config, "--time", "--monotonic", "1000000")
    try:
        assert other.communicate(timeout=100)[0] == "finished\n"
        before = contents(folder)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert away.communicate(timeout=60)[0] == "lost\n"
    finally:
        away.kill()
        other.kill()
    assert contents(folder) == before
    assert_equal_to_the_bit(folder, undisturbed)
    trial = TrialFolder(folder)
    assert [line["epoch"] for line in trial.read_metrics()] == list(range(1, EPOCHS + 1))
    assert lines_in(folder / "metrics.jsonl") == lines_in(folder / "timings.jsonl") == EPOCHS
    assert [start.host for start in trial.read_starts()] == ["machine-0", "machine-3"]
