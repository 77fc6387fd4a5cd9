"""A report reads each file of a trial once, and sees what has changed since the last one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.report import write_sweep_report
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate, load

# Python announces each file that it opens; a hook stays for the life of the process.
COUNTING = """
import collections, json, pathlib, sys

trials = pathlib.PurePath(sys.argv[2], "trials")
opened = collections.Counter()

def count(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, pathlib.Path)):
        path = pathlib.PurePath(arguments[0])
        if path.parent.parent == trials:
            opened[f"{path.parent.name}/{path.name}"] += 1

sys.addaudithook(count)
from pathlib import Path
from sweeps.report import find_sweep, write_sweep_report
from sweeps.store import Store
store = Store(Path(sys.argv[2]))
write_sweep_report(find_sweep(sys.argv[1], None, store), store)
print(json.dumps(opened))
"""
READ = {
    "trial.json",
    "status.json",
    "provenance.json",
    "metrics.jsonl",
    "timings.jsonl",
    "evaluation.json",
    "details.npz",
}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return load(tmp_path)


@pytest.fixture
def store(tmp_path: Path, sweep: Sweep) -> Store:
    store = Store(tmp_path / "runs")
    for trial in make_plan(sweep, store).trials:
        measures = {"head/gamma": 0.5 + trial.point[WEIGHT] + trial.config.seed / 100}
        epochs = trial.config.training.epochs
        fabricate(store, trial.config, State.FINISHED, epochs, measures=measures)
    return store


def test_each_file_of_a_trial_is_opened_once(tmp_path: Path, sweep: Sweep, store: Store) -> None:
    words = [sys.executable, "-c", COUNTING, str(tmp_path / "sweep.yaml"), str(store.root)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    opened = json.loads(done.stdout.splitlines()[-1])
    trials = [trial.trial_id for trial in make_plan(sweep, store).trials]
    assert opened == {f"{trial}/{name}": 1 for trial in trials for name in READ}


@pytest.mark.parametrize("if_current", [True, False])
def test_a_report_sees_a_trial_that_changed_since_the_last(
    sweep: Sweep, store: Store, if_current: bool
) -> None:
    def values() -> list[float]:
        page = write_sweep_report(sweep, store, if_current=if_current)
        table = pd.read_csv(page.parent / "tables" / "trials.csv")
        return table["head/gamma"].tolist()

    before = values()
    trial = make_plan(sweep, store).trials[1]
    folder, epochs = store.trial(trial.trial_id), trial.config.training.epochs
    folder.write_evaluation({"head/gamma": 0.125})
    folder.write_status(State.FINISHED, epochs, epochs)
    assert values() == [before[0], 0.125, *before[2:]]


def test_arrays_that_were_damaged_before_the_checksum_are_left_out(
    sweep: Sweep, store: Store
) -> None:
    trial = make_plan(sweep, store).trials[0]
    folder, epochs = store.trial(trial.trial_id), trial.config.training.epochs
    (folder.path / "details.npz").write_bytes(b"no archive")
    folder.write_status(State.FINISHED, epochs, epochs)
    page = write_sweep_report(sweep, store).read_text(encoding="utf-8")
    assert "details.npz is damaged" in page
    assert "(seed 0)" in page
