"""``care sweep status`` of a sweep on this machine, from another terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from care.errors import ConfigError
from care.system.claim import Claim
from care.trials.state import State
from sweeps.cli.show import show_command
from sweeps.cli.status import status_command
from sweeps.cli.sweep import _make_declaration
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.plan import make_plan
from sweeps.store import Store
from tests.helpers.declaring import declare, fabricate
from tests.helpers.processes import care, start_care, wait_for
from tests.sweeps.cli.test_list import start


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_one_that_runs(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = start(store, tmp_path, metric={"name": "head/gamma", "mode": "min"})
    metrics = {"heldout/gamma": 0.75}
    fabricate(store, made[0, 0], State.FINISHED, 3, measures={"head/gamma": 0.5})
    trained = fabricate(store, made[0.1, 0], State.RUNNING, 1, seconds=[4.0], metrics=metrics)
    driver, trial = Claim.take(store.sweep("tiny").path), Claim.take(trained.path)
    assert driver
    assert trial
    with driver, trial:
        assert status_command("tiny", store.root, watch=False, as_json=True) == 0
        read = json.loads(capsys.readouterr().out)
        assert status_command("tiny", store.root, watch=False, as_json=False) == 0
        shown = capsys.readouterr().out
    assert read["active"]
    assert read["counts"] == {"finished": 1, "running": 1, "new": 2}
    assert read["best"] == {"point": "λ=0", "mean": 0.5, "n": 1}
    # One trial trains, 4 s an epoch: two epochs of its own, and six of the new ones.
    assert read["seconds_left"] == 32.0
    (running,) = read["running"]
    assert (running["point"], running["seed"], running["epoch"]) == ("λ=0.1", 0, 1)
    lines = shown.splitlines()
    assert lines[0].startswith("tiny: running, process ")
    assert "1 finished   1 running   2 new" in lines[1]
    assert "λ=0: head/gamma 0.5 (mean, n = 1)" in lines[2]
    assert lines[3].split() == ["time", "left", "32", "s"]
    assert lines[5].split() == ["λ=0.1", "0", "1/3", lines[5].split()[3], "9", "0.75"]


def test_the_command_that_resumes_has_the_profile_and_the_overrides(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them it would train other trials."""
    file = declare(tmp_path, profiles={"small": {"overrides": {"training.epochs": 2}}})
    arguments = SweepArguments(file, ("objective.temperature=0.3",), profile="small")
    sweep = arguments.load()
    store.prepare()
    store.sweep(sweep.spec.name).write(_make_declaration(sweep, arguments))
    (trial, *_) = make_plan(sweep, store).trials
    fabricate(store, trial.config, State.PAUSED, 1)
    command = f"{file.name} objective.temperature=0.3 --profile small"
    assert status_command("tiny-small", store.root, watch=False, as_json=False) == 1
    assert f"{command}\n" in capsys.readouterr().out
    show_command(trial.trial_id, store.root)
    assert command in capsys.readouterr().out


def test_a_measure_of_every_few_epochs_is_shown_until_the_next(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(store, tmp_path, metric={"name": "head/gamma", "mode": "min"})
    trained = fabricate(store, made[0, 0], State.RUNNING, 1, metrics={"heldout/gamma": 0.75})
    timing = trained.read_timings()[0].model_copy(update={"epoch": 2})
    trained.append_epoch({"epoch": 2, "train/loss": 3.0}, timing)
    with Claim.take(trained.path) or pytest.fail("claimed"):
        assert status_command("tiny", store.root, watch=False, as_json=True) == 1
    (running,) = json.loads(capsys.readouterr().out)["running"]
    assert running["latest"] == 0.75


def test_one_that_no_driver_runs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(store, tmp_path)
    assert status_command("tiny", store.root, watch=True, as_json=False) == 1
    output = capsys.readouterr().out
    assert output.startswith("tiny: no driver is running\n")
    assert "to resume: care sweep run " in output
    for config in made.values():
        fabricate(store, config, State.FINISHED, 3)
    assert status_command("tiny", store.root, watch=False, as_json=False) == 0
    assert capsys.readouterr().out.startswith("tiny: finished\n")
    fabricate(store, made[0, 0], State.FAILED, 1)
    assert status_command("tiny", store.root, watch=False, as_json=False) == 1
    output = capsys.readouterr().out
    assert "to resume" not in output
    assert "1 failed; to train them: care sweep run " in output
    assert output.endswith(" --retry-failed\n")


def test_an_unknown_name(store: Store, tmp_path: Path) -> None:
    start(store, tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        status_command("tinny", store.root, watch=False, as_json=False)


def test_watched_from_another_terminal_until_it_ends(tmp_path: Path) -> None:
    declare(tmp_path, axes={}, seeds=2, overrides={"training.epochs": 40})  # longer than a start
    run = start_care("sweep", "run", "sweep.yaml", "--no-report", cwd=tmp_path)
    wait_for(lambda: (tmp_path / "runs" / "sweeps" / "tiny" / "sweep.json").exists())
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: any(trials.glob("*/log.txt")))
    watched = care("sweep", "status", "tiny", "--watch", cwd=tmp_path)
    run.wait(90)
    lines = watched.stdout.splitlines()
    assert lines[0].startswith("tiny: running, process ")
    assert any("2 finished" in line for line in lines)
    assert lines[-4] == "tiny: finished"
    assert lines[-1].split()[:2] == ["hours", "core-hours:"]
