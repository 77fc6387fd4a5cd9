"""``care logs``: of a trial that runs, failed, never started or is of an earlier version."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from care.errors import CareError, ConfigError
from care.system.claim import Claim
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import ErrorRecord
from care.trials.state import State
from sweeps.cli.logs import Tail, logs_command
from sweeps.cli.sweep import _make_declaration
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.store import Store
from tests.helpers.declaring import declare, fabricate, load
from tests.helpers.processes import care, start_care, wait_for


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def trial(store: Store, tmp_path: Path, state: State = State.PAUSED) -> TrialFolder:
    config = load(tmp_path).trial({}, 0)
    return fabricate(store, config, state, 1)  # type: ignore[arg-type]


def bare(text: str) -> list[str]:
    return [line.partition(" ")[2] for line in text.splitlines()]


def test_whole_or_its_last_lines(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(store, tmp_path)
    for number in range(5):
        folder.log(f"line {number}")
    assert logs_command(folder.trial_id[:5], store.root, 2, follow=False) == 0
    assert bare(capsys.readouterr().out) == ["line 3", "line 4"]
    logs_command(folder.trial_id, store.root, 0, follow=False)
    assert capsys.readouterr().out == ""
    logs_command(folder.trial_id, store.root, None, follow=False)
    assert capsys.readouterr().out == folder.read_log()


def test_a_failed_trial_ends_with_its_traceback(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(store, tmp_path)
    error = ErrorRecord(kind="error", message="broke", traceback="Traceback …\nRuntimeError: broke")
    folder.write_status(State.FAILED, 1, 3, error)
    assert logs_command(folder.trial_id, store.root, None, follow=True) == 1
    assert bare(capsys.readouterr().out)[-2:] == ["Traceback …", "RuntimeError: broke"]


def test_followed_until_it_ends(
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sweeps.cli.logs._POLL_SECONDS", 0.01)
    folder = trial(store, tmp_path)
    claim = Claim.take(folder.path)
    assert claim
    written = TrialFolder(folder.path, claim)
    following = threading.Thread(
        target=logs_command, args=(folder.trial_id, store.root, 1, True), daemon=True
    )
    following.start()
    for number in range(20):
        written.log(f"line {number}")
    written.write_status(State.FINISHED, 3, 3)
    assert following.is_alive(), "the process that trains it may still write"
    claim.release()
    following.join(30)
    assert not following.is_alive()
    lines = bare(capsys.readouterr().out)
    shown = [line for line in lines if line.startswith("line")]
    assert shown == [f"line {number}" for number in range(20)][-len(shown) :]
    assert len(set(lines)) == len(lines)
    assert lines[-1].startswith("finished after epoch 3")


def test_every_line_once_across_files_that_replace_it(tmp_path: Path) -> None:
    """Each start copies the log, and a log that grows too large loses its middle."""
    tail = Tail(tmp_path / "log.txt")
    assert tail.read() == ""
    read: list[str] = []
    for start in range(3):
        claim = Claim.take(tmp_path)
        assert claim
        with claim:
            folder = TrialFolder(tmp_path, claim)
            for number in range(500):
                folder.log(f"{start}.{number} {'x' * 1000}")
                if number % 7 == 0:
                    read += tail.read().splitlines()
    read += tail.read().splitlines()
    numbers = [line.split()[1] for line in read if "lines left out" not in line]
    assert numbers == [f"{start}.{number}" for start in range(3) for number in range(500)]


def test_a_torn_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    tail = Tail(path)
    path.write_text("one\ntw")
    assert tail.read() == "one\n"
    with path.open("a") as file:
        file.write("o\n")
    assert tail.read() == "two\n"


def test_a_trial_of_an_earlier_version(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(store, tmp_path, State.FAILED)
    (folder.path / "log.txt").unlink()
    assert logs_command(folder.trial_id, store.root, None, follow=True) == 0
    shown = capsys.readouterr()
    assert shown.out == "error: broke\n"
    assert "an earlier version" in shown.err


def test_a_trial_that_was_never_started(store: Store, tmp_path: Path) -> None:
    file = declare(tmp_path)
    arguments = SweepArguments(file)
    sweep = arguments.load()
    started, new, *_ = sweep.trials({"objective.equivariance.weight": 0.1})
    folder = fabricate(store, started, State.PAUSED, 1)
    store.sweep("tiny").write(_make_declaration(sweep, arguments))
    with pytest.raises(CareError, match=r"never started.*care sweep run .*sweep\.yaml"):
        logs_command(trial_id(new)[:8], store.root, None, follow=False)
    with pytest.raises(ConfigError, match="or the first digits of a trial; did you mean 'tiny'"):
        logs_command("tinny", store.root, None, follow=False)
    with pytest.raises(CareError, match="its driver wrote no log"):
        logs_command("tiny", store.root, None, follow=False)
    (store.root / "sweeps" / "tiny" / "ray.log").write_text("a line\n")
    assert logs_command("tiny", store.root, None, follow=True) == 0
    assert folder.path.exists()


def test_a_training_is_followed_from_another_terminal(tmp_path: Path) -> None:
    declare(tmp_path)
    run = start_care("train", "experiment.yaml", "training.epochs=2", cwd=tmp_path)
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: any(trials.glob("*/log.txt")))
    (name,) = os.listdir(trials)
    done = care("logs", name[:6], "--follow", cwd=tmp_path)
    run.wait(60)
    lines = bare(done.stdout)
    assert any(line.startswith("started on ") for line in lines)
    assert [line[:7] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert lines[-1].startswith("finished after epoch 2 of 2")
