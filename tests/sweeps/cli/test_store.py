"""``care store``, as a user types it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch

from care.trials import checkpoint
from care.trials.state import State
from sweeps.plan import trial_configs
from sweeps.store import Store
from tests.helpers.damaging import contents
from tests.helpers.declaring import fabricate
from tests.helpers.processes import care
from tests.helpers.small_store import declared


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Finished trials with checkpoints that are large beside the rest."""
    store = Store(tmp_path / "runs")
    sweep = declared(tmp_path, store)
    for identity, config in trial_configs(sweep, store).items():
        folder = fabricate(store, config, State.FINISHED, 3)
        for epoch in (2, 3):
            network = {"weight": torch.full((100,), float(epoch))}
            state = {"trial_id": identity, "epoch": epoch, "network": network}
            checkpoint.save(folder.path, epoch, 0, {**state, "optimizer": torch.zeros(50_000)})
    return store


def test_usage_collection_and_usage_again(store: Store) -> None:
    folder = store.root.parent
    shown = care("store", "du", cwd=folder).stdout
    usage = json.loads(care("store", "du", "--json", cwd=folder).stdout)
    assert usage["kinds"]["checkpoints"]["bytes"] > 1_600_000
    assert usage["sweeps"]["tiny"]["trials"] == 4
    assert "care store gc" in shown
    before = contents(store.root)
    dry = care("store", "gc", cwd=folder).stdout
    assert contents(store.root) == before
    assert "4 trials; encoders stay" in dry
    command = dry.splitlines()[-1].strip()
    assert command == "care store gc --yes"
    done = care(*shlex.split(command)[1:], cwd=folder)
    assert done.stdout.startswith("freed 1.6 MB")
    after = json.loads(care("store", "du", "--json", cwd=folder).stdout)
    freed = usage["bytes"] - after["bytes"]
    assert freed == pytest.approx(usage["frees"], rel=0.01)
    assert after["frees"] == 0
    assert care("store", "gc", cwd=folder).stdout == "Nothing to free.\n"


def test_a_deletion_asks(store: Store) -> None:
    folder = store.root.parent
    before = contents(store.root)
    refused = care("store", "delete", "tiny", cwd=folder, check=False)
    assert refused.returncode == 2
    assert "to delete it, add --yes" in refused.stderr
    assert "This deletes sweep tiny with its report and 4 trials" in refused.stdout
    assert contents(store.root) == before
    done = care("store", "delete", "tiny", "--yes", cwd=folder)
    assert "deleted 4 trials" in done.stdout
    assert not list(store.all_trials())
    assert not list(store.all_sweeps())


def test_a_pull_and_its_exit_status(store: Store) -> None:
    folder = store.root.parent
    done = care("store", "pull", "runs", "--store", "mine", cwd=folder)
    assert "4 trials copied from runs" in done.stdout
    assert "sweeps added: tiny" in done.stdout
    trial = next(iter(store.all_trials()))
    trial.write_evaluation({"head/gamma": 0.75})
    again = care("store", "pull", "runs", "--store", "mine", cwd=folder, check=False)
    assert again.returncode == 1
    assert "3 trials here already" in again.stdout
    assert f"{trial.trial_id} has other numbers there; the ones here stay" in again.stdout
    assert "head/gamma 0.5 here, 0.75 there" in again.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("du", "--store", "nowhere"), "no store is here"),
        (("gc", "--older", "3x"), "12h, 30d or 4w"),
        (("gc", "--sweep", "tinny"), "did you mean 'tiny'?"),
        (("delete", "tinny"), "did you mean 'tiny'?"),
        (("pull", "runs"), "is this store"),
        (("pull", "nowhere"), "no store is here"),
    ],
)
def test_bad_input_changes_nothing(store: Store, words: tuple[str, ...], message: str) -> None:
    before = contents(store.root)
    done = care("store", *words, cwd=store.root.parent, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert contents(store.root) == before
