"""Deleting sweeps and trials, and MLflow's runs of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from care.errors import CareError, ConfigError
from care.system.claim import Claim
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.state_files import PoolFolder, Request, Workers
from sweeps.disk.delete import Deleter, Deletion, InUseError, plan_deletion
from sweeps.disk.garbage import GarbageSearch, Policy
from sweeps.disk.membership import read_membership
from sweeps.disk.usage import scan_trials
from sweeps.plan import trial_configs
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.damaging import DAMAGES, contents
from tests.helpers.declaring import WEIGHT, fabricate
from tests.helpers.killing import killed_at
from tests.helpers.small_store import declared
from tests.helpers.tracked import copy_database, open_mlflow


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two sweeps that share two of their four trials each, and a trial of none."""
    store = Store(tmp_path / "runs")
    for name, values in (("first", [0, 0.1]), ("second", [0.1, 0.2])):
        sweep = declared(tmp_path, store, name=name, axes={WEIGHT: values})
        for config in trial_configs(sweep, store).values():
            fabricate(store, config, State.FINISHED, 3)
    lonely = config.model_copy(update={"seed": 99})
    fabricate(store, lonely, State.FINISHED, 3)
    return store


def members(store: Store, name: str) -> frozenset[str]:
    return read_membership(store).trials[name]


def present(store: Store) -> set[str]:
    return {folder.trial_id for folder in store.all_trials()}


def delete(name: str, store: Store) -> list[str]:
    return Deleter(store).delete(plan_deletion(name, store))


def delete_below(name: str, root: Path) -> None:
    delete(name, Store(root))


def test_a_sweep_goes_and_what_another_shares_stays(store: Store) -> None:
    first, second, before = members(store, "first"), members(store, "second"), present(store)
    deletion = plan_deletion("first", store)
    assert set(deletion.trials) == first - second
    assert deletion.shared == {trial: ["second"] for trial in first & second}
    assert present(store) == before, "the plan deletes nothing"
    assert delete("first", store) == []
    assert present(store) == before - (first - second)
    assert [sweep.name for sweep in store.all_sweeps()] == ["second"]
    assert list((store.root / "archive").iterdir()) == []


def test_a_trial_of_no_sweep(store: Store) -> None:
    (lonely,) = present(store) - members(store, "first") - members(store, "second")
    assert plan_deletion(lonely[:9], store).sweeps == ()
    delete(lonely[:9], store)
    assert lonely not in present(store)


def test_a_trial_names_the_sweeps_that_will_train_it_again(store: Store) -> None:
    shared = min(members(store, "first") & members(store, "second"))
    assert plan_deletion(shared, store).sweeps == ("first", "second")


@pytest.mark.parametrize("what", ["sweep", "trial"])
def test_what_runs_is_refused_and_nothing_goes(store: Store, what: str) -> None:
    trial = min(members(store, "first") - members(store, "second"))
    folder = store.sweep("first").path if what == "sweep" else store.trial(trial).path
    stale = plan_deletion("first", store)
    claim = Claim.take(folder)
    assert claim
    with claim:
        before = contents(store.root)
        with pytest.raises(InUseError, match=f"{what} .* in use by process"):
            plan_deletion("first", store)
        assert contents(store.root) == before
        if what == "sweep":
            with pytest.raises(InUseError, match="meanwhile"):
                Deleter(store).delete(stale)
            assert trial in present(store)
        else:
            assert Deleter(store).delete(stale) == [trial]
            assert (store.sweep("first").path / "sweep.json").exists()
            assert trial in present(store)
    assert delete("first", store) == []
    assert trial not in present(store)


def test_a_sweep_whose_jobs_wait_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process holds it yet, but the jobs need its folder."""
    pool = PoolFolder(store, "first")
    pool.path.mkdir()
    pool.write_request(
        Request(
            cluster=ClusterConfig(partition="cpu"),
            workers=Workers(least=1, most=1),
            folder="/home/me",
            code="/home/me/code",
            command="care sweep submit",
        )
    )
    waiting = {pool.job_name("head"): [QueuedJob("4242", "PENDING", "", "Priority")]}
    monkeypatch.setattr(commands, "available", lambda: True)
    monkeypatch.setattr(commands, "jobs_named", lambda name: waiting.get(name, []))
    before = contents(store.root)
    with pytest.raises(InUseError, match=r"queue \(4242\).*care sweep cancel first"):
        plan_deletion("first", store)
    # A requeued worker whose processes still end: it will be back in the queue.
    waiting = {pool.job_name("worker"): [QueuedJob("4243", "COMPLETING", "n1", "None")]}
    with pytest.raises(InUseError, match=r"queue \(4243\)"):
        plan_deletion("first", store)
    assert contents(store.root) == before
    waiting.clear()
    delete("first", store)
    assert not store.sweep("first").path.exists()


@pytest.mark.parametrize("name", ["frist", "zzz", ""])
def test_an_unknown_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ConfigError):
        plan_deletion(name, store)


def test_nothing_goes_while_a_sweep_cannot_be_read(store: Store) -> None:
    """It may share the trials."""
    DAMAGES["cut"](store.sweep("second").path / "sweep.json")
    with pytest.raises(CareError, match="trials of sweep second are not known"):
        plan_deletion("first", store)


def test_killed_anywhere_a_second_one_finishes(store: Store, tmp_path: Path) -> None:
    shared = members(store, "first") & members(store, "second")
    others = present(store) - (members(store, "first") - shared)
    ended, number = False, 0
    while not ended:
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(store.root, copy)
        ended = not killed_at(number, delete_below, "first", copy)
        left = Store(copy)
        whole = [folder.trial_id for folder in left.all_trials() if _is_whole(folder.path)]
        assert set(whole) == present(left), f"half a trial after change {number}"
        if (left.sweep("first").path / "sweep.json").exists():
            delete("first", left)
        assert present(left) == others
        findings = GarbageSearch(left, Policy(), read_membership(left))
        garbage = findings.search(scan_trials(left).items())
        hidden = [path.name for each in garbage.rest for path in each.paths]
        assert all(name.startswith(".deleted-") for name in hidden)
        number += 41
    assert number >= 82


def _is_whole(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    return {"trial.json", "status.json", "metrics.jsonl", "evaluation.json"} <= names


def active(store: Store) -> dict[str, dict[str, Any]]:
    """MLflow's active runs by trial or by sweep, with tags."""
    client, experiment = open_mlflow(store.root)
    return {
        run.data.tags.get("trial_id") or run.data.tags["sweep"]: {
            **run.data.tags,
            "id": run.info.run_id,
        }
        for run in client.search_runs([experiment])
    }


def index(store: Store) -> str:
    """MLflow's list of the store's sweeps."""
    client, experiment = open_mlflow(store.root)
    return str(client.get_experiment(experiment).tags["mlflow.note.content"])


def test_mlflow_follows(store: Store, tmp_path: Path, empty_database: Path) -> None:
    copy_database(empty_database, store.root)
    sync_store(store, None)
    first, second = members(store, "first"), members(store, "second")
    before = active(store)
    assert set(before) == {"first", "second"} | first | second
    assert "[first]" in index(store)
    delete("first", store)
    sync_store(store, None)
    after = active(store)
    assert set(after) == {"second"} | second
    assert "[first]" not in index(store)
    assert "[second]" in index(store)
    for trial in first & second:  # below the sweep that is left
        assert after[trial]["mlflow.parentRunId"] == after["second"]["id"]
        assert "sweep.first" not in after[trial]
    # The sweep is run again: new runs, and those of the other sweep are the old ones.
    sweep = declared(tmp_path, store, name="first", axes={WEIGHT: [0, 0.1]})
    for config in trial_configs(sweep, store).values():
        if not store.trial(trial_id(config)).path.exists():
            fabricate(store, config, State.FINISHED, 3)
    sync_store(store, None)
    again = active(store)
    assert set(again) == {"first", "second"} | first | second
    assert again["first"]["id"] != before["first"]["id"]
    assert all(again[trial]["id"] == before[trial]["id"] for trial in second)
    assert all(again[trial]["id"] != before[trial]["id"] for trial in first - second)
    sync_store(store, None)
    assert active(store) == again


def test_a_killed_deletion_leaves_mlflow_as_it_is(store: Store, empty_database: Path) -> None:
    """It is recorded before it happens; what is still there keeps its run."""
    copy_database(empty_database, store.root)
    sync_store(store, None)
    before = active(store)
    deletion = plan_deletion("first", store)
    killed = _killed_after_the_record(deletion, store)
    assert killed
    sync_store(store, None)
    assert active(store) == before
    delete("first", store)
    sync_store(store, None)
    assert set(active(store)) == {"second"} | members(store, "second")


def _killed_after_the_record(deletion: Deletion, store: Store) -> bool:
    number = 0
    while not (store.root / "deleted.jsonl").exists():
        assert killed_at(number, Deleter(store).delete, deletion)
        number += 1
    return True
