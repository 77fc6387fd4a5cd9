"""The run of a sweep as a reviewer's first page: exact, and never at the cost of their text."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from scipy import stats

from care.system.claim import Claim
from care.trials.state import State
from sweeps.account import AccountRecord, write_account
from sweeps.holds import Wish, hold, read_holds, release_all
from sweeps.plan import make_plan
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.tracking.marks import NOTE, short_digest
from sweeps.tracking.notes import merge_note
from sweeps.tracking.sweep_sync import SweepSync, sync_store
from sweeps.tracking.views import PREFIX
from tests.helpers.declaring import fabricate
from tests.helpers.reviewing import falling, start_sweep
from tests.helpers.tracked import copy_database, dump, open_mlflow, run_ids

WEIGHTS = [0, 0.01, 0.1]
BY_AXIS = "care-by-axis-tiny"


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    """A folder with an empty store in ``runs``."""
    copy_database(empty_database, tmp_path / "runs")
    return tmp_path


def parent(store: Store) -> dict[str, Any]:
    (run,) = [run for run in dump(store.root) if run["tags"]["care.kind"] == "sweep"]
    return run


def curve(run: dict[str, Any], name: str) -> dict[int, float]:
    """A curve by step; each step once."""
    rows = {step: value for value, step, _ in run["metrics"].get(name, [])}
    assert len(rows) == len(run["metrics"].get(name, []))
    return rows


def artifact(store: Store, name: str) -> str:
    path = store.root / "mlflow-artifacts" / run_ids(store.root)["tiny"] / "artifacts" / name
    return path.read_text()


def experiment_tags(store: Store) -> dict[str, str]:
    client, experiment = open_mlflow(store.root)
    return dict(client.get_experiment(experiment).tags)


def test_the_run_of_a_sweep_has_its_means_intervals_and_differences(folder: Path) -> None:
    store, _ = start_sweep(folder, WEIGHTS, 3)
    sync_store(store, None)
    run = parent(store)
    for step, weight in enumerate(WEIGHTS):
        values = [falling(weight, seed) for seed in range(3)]
        low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        shown = [curve(run, f"head/gamma {part}")[step] for part in ("mean", "low", "high", "n")]
        assert shown == pytest.approx([np.mean(values), low, high, 3])
        assert curve(run, "head/gamma difference")[step] == pytest.approx(-weight)
        assert curve(run, "λ")[step] == weight
    x = curve(run, "log10 λ - 0 leftmost")
    assert (x[1], x[2]) == (-2, -1)
    assert x[0] < x[1], "0 has no logarithm, and is drawn apart"
    table = json.loads(artifact(store, "summary.json"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert {row["n"] for row in rows} == {3}
    assert [row["λ"] for row in rows if row["metric"] == "head/gamma"] == WEIGHTS
    declared = yaml.safe_load(artifact(store, "sweep.yaml"))
    assert declared["experiment"]["training"]["epochs"] == 3
    note = run["tags"][NOTE]
    assert (
        note.index("0.510 at λ=0, 0.410 at λ=0.1") < note.index("[Charts by λ]") < note.index("```")
    )
    assert "`care sweep run sweep.yaml`" in note
    assert note.count("workflowType=machine_learning") == note.count("](#/")
    assert "falls" in run["tags"]["answer"]


def test_why_a_sweep_stopped_and_its_hours(folder: Path) -> None:
    """They follow the account: a driver that runs has no end, nor has a sweep that is complete."""
    store, sweep = start_sweep(folder, WEIGHTS, 2, unfinished=2, budget={"core_hours": 40})
    reason = "budget of 40 core-hours used up: 4 of 6 trials finished"
    hours = "core-hours: 38 planned, 40 spent, budget 40"
    account = AccountRecord(core_hours=40.2, planned_core_hours=38.0)
    ended = account.model_copy(update={"stopped": "budget", "reason": reason})
    write_account(store.sweep("tiny"), ended)
    sync_store(store, None)
    run = parent(store)
    assert (run["tags"]["stopped"], run["tags"]["hours"]) == (reason, hours)
    assert f"- {reason}\n- {hours}\n" in run["tags"][NOTE]
    sync_store(store, None)
    assert parent(store) == run

    with Claim.take(store.sweep("tiny").path) or pytest.fail("claimed"):
        write_account(store.sweep("tiny"), account.model_copy(update={"running": True}))
        sync_store(store, None)
    run = parent(store)
    assert not {"stopped", "hours"} & run["tags"].keys()
    assert "core-hours: " not in run["tags"][NOTE]

    write_account(store.sweep("tiny"), ended)
    for trial in make_plan(sweep, store).missing():
        fabricate(store, trial.config, State.FINISHED, 3, measures={"head/gamma": 0.3})
    sync_store(store, None)
    tags = parent(store)["tags"]
    assert "stopped" not in tags, "nothing is left to do"
    assert tags["hours"] == hours
    (store.root / "mlflow.db").unlink()
    sync_store(store, None)
    assert parent(store)["tags"]["hours"] == hours


def test_the_driver_writes_why_it_stopped_and_who_holds_a_trial(folder: Path) -> None:
    """The run that a limit ended has it at once; the next run has no end until it ends."""
    store, sweep = start_sweep(folder, WEIGHTS, 2, unfinished=3, max_failures=0)
    failed, paused, _ = make_plan(sweep, store).missing()
    fabricate(store, failed.config, State.FAILED, 1)
    fabricate(store, paused.config, State.PAUSED, 1)
    reason = f"stopped after 1 failed trials (max_failures: 0): {failed.label}"
    account = AccountRecord(core_hours=1.5, stopped="failures", reason=reason)
    write_account(store.sweep("tiny"), account)
    hold(store.sweep("tiny").path, [Wish(paused.group_id, "λ=0.1", None)], "ada")
    run_nothing(store, sweep)
    run = parent(store)
    assert run["tags"]["stopped"] == reason
    assert run["tags"]["hours"] == "core-hours: 1.5 spent"
    assert f"- {reason}\n- core-hours: 1.5 spent\n" in run["tags"][NOTE]
    held = read_holds(store.sweep("tiny").path).by_group[paused.group_id].wish
    assert held.startswith("by ada since ")
    assert held_tags(store) == {paused.label: held}, "a trial that was never started has no run"
    before = dump(store.root)
    sync_store(store, None)
    assert dump(store.root) == before, "both ways of syncing write the same"

    release_all(store.sweep("tiny").path)
    run_nothing(store, sweep)
    assert held_tags(store) == {}
    hold(store.sweep("tiny").path, [Wish(paused.group_id, "λ=0.1", None)], "eve")
    fabricate(store, paused.config, State.FINISHED, 3)
    sync_store(store, None)
    assert held_tags(store) == {}, "it is finished"


def run_nothing(store: Store, sweep: Sweep) -> None:
    """Sync a sweep as a driver does that starts and ends."""
    plan = make_plan(sweep, store)
    board = Board(sweep.spec.metric, plan.wanted)
    tracking = SweepSync(sweep, store, board, None)
    tracking.start(plan)
    tracking.finish(plan, None, lambda: False)


def held_tags(store: Store) -> dict[str, str]:
    """The tags that name who holds a trial of the sweep, by the trial's run."""
    runs = {run["name"]: run["tags"].get("held.tiny") for run in dump(store.root)}
    return {name: tag for name, tag in runs.items() if tag is not None}


def test_synced_again_nothing_changes_and_rebuilt_it_is_equal(folder: Path) -> None:
    store, _ = start_sweep(folder, WEIGHTS, 2)
    sync_store(store, None)
    before, tags = dump(store.root), experiment_tags(store)
    sync_store(store, None)
    assert dump(store.root) == before
    assert experiment_tags(store) == tags
    (store.root / "mlflow.db").unlink()
    sync_store(store, None)

    def shown(runs: list[dict[str, Any]]) -> list[Any]:  # run ids within links differ
        return [[run["name"], run["metrics"], run["params"], run["tags"]["care.sync"][:0]]
                for run in runs]  # fmt: skip

    assert shown(dump(store.root)) == shown(before)


def test_a_point_has_a_curve_when_none_of_its_trials_is_left(folder: Path) -> None:
    store, _ = start_sweep(folder, WEIGHTS, 2, unfinished=1)
    sync_store(store, None)
    run = parent(store)
    assert set(curve(run, "head/gamma mean")) == {0, 1}
    assert "5 finished, 1 new" in run["tags"][NOTE]
    assert "0.1    1   0.400" in run["tags"][NOTE], "the table has what there is"
    start_sweep(folder, WEIGHTS, 2)
    sync_store(store, None)
    assert set(curve(parent(store), "head/gamma mean")) == {0, 1, 2}
    assert parent(store)["tags"].keys() == run["tags"].keys(), "the run was not replaced"


def test_other_numbers_are_in_a_new_run_that_keeps_the_reviewers_part(folder: Path) -> None:
    """MLflow cannot take back a value, so that both would be drawn."""
    store, _ = start_sweep(folder, WEIGHTS, 2)
    sync_store(store, None)
    client, _ = open_mlflow(store.root)
    old = run_ids(store.root)["tiny"]
    client.set_tag(old, "reviewed by", "Ada")
    client.set_tag(old, NOTE, "Mine.\n\n" + client.get_run(old).data.tags[NOTE] + "\nMine, too.")
    start_sweep(folder, [0, 0.01, 0.05, 0.1], 3)
    for _ in range(2):
        sync_store(store, None)
        run = parent(store)
        assert curve(run, "head/gamma n") == {0: 3, 1: 3, 2: 3, 3: 3}
        assert curve(run, "λ") == {0: 0, 1: 0.01, 2: 0.05, 3: 0.1}
        assert run["tags"]["reviewed by"] == "Ada"
        note = run["tags"][NOTE]
        assert (note[:5], note[-11:]) == ("Mine.", "\nMine, too.")
        assert "0.05" in note
        assert {other["parent"] for other in dump(store.root)} == {None, "tiny"}
        assert client.get_run(old).info.lifecycle_stage == "deleted"
    new = run_ids(store.root)["tiny"]
    parents = {run.data.tags.get("mlflow.parentRunId") for run in client.search_runs(["1"])}
    assert parents == {None, new}


def as_an_older_version_wrote_it(store: Store) -> None:
    with closing(sqlite3.connect(store.root / "mlflow.db")) as database, database:
        database.execute("delete from tags where key = 'care.sync'")
        database.execute("delete from metrics where key like '% %' or key = 'λ'")
        database.execute("update metrics set step = 0 where key like 'head/%'")
        database.execute("update latest_metrics set step = 0 where key like 'head/%'")
        database.execute("insert into tags select 'git_dirty', 'false', run_uuid from runs")


def test_runs_of_an_older_version_are_written_again_once(folder: Path) -> None:
    store, _ = start_sweep(folder, WEIGHTS, 2)
    sync_store(store, None)
    as_an_older_version_wrote_it(store)
    client, _ = open_mlflow(store.root)
    before = run_ids(store.root)
    client.set_tag(before["λ=0.1 seed=1"], "reviewed by", "Ada")
    client.delete_run(before["λ=0 seed=1"])
    sync_store(store, None)
    after = run_ids(store.root)
    assert after.keys() == before.keys() - {"λ=0 seed=1"}, "a deleted run stays deleted"
    assert not set(after.values()) & set(before.values())
    sync_store(store, None)
    assert run_ids(store.root) == after
    runs = {run["name"]: run for run in dump(store.root)}
    assert runs["λ=0.1 seed=1"]["tags"]["reviewed by"] == "Ada"
    assert [run["parent"] for run in runs.values()].count("tiny") == 5
    for run in runs.values():
        assert "git_dirty" not in run["tags"]
        assert all(step == 3 for _, step, _ in run["metrics"].get("head/gamma", []))


@pytest.mark.parametrize("deleted", [0, 1, 3])
def test_a_replacement_that_a_crash_stopped_is_completed(
    folder: Path, deleted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = start_sweep(folder, WEIGHTS, 1)
    sync_store(store, None)
    as_an_older_version_wrote_it(store)
    delete, calls = MlflowClient.delete_run, []

    def crash(client: MlflowClient, run: str) -> None:
        calls.append(run)
        if len(calls) > deleted:
            raise KeyboardInterrupt
        delete(client, run)

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "delete_run", crash)
        with pytest.raises(KeyboardInterrupt):
            sync_store(store, None)
    sync_store(store, None)
    names = [run["name"] for run in dump(store.root)]
    assert names == ["tiny", "λ=0 seed=0", "λ=0.01 seed=0", "λ=0.1 seed=0"]
    assert [run["parent"] for run in dump(store.root)] == [None, "tiny", "tiny", "tiny"]


def test_views_and_index_follow_until_a_reviewer_changes_them(folder: Path) -> None:
    store, _ = start_sweep(folder, WEIGHTS, 1, unfinished=3)
    sync_store(store, None)
    client, experiment = open_mlflow(store.root)
    client.set_experiment_tag(experiment, f"{PREFIX}care-trials-tiny", "a reviewer's")
    note = experiment_tags(store)[NOTE]
    client.set_experiment_tag(experiment, NOTE, note.replace("tiny", "my tiny"))
    first = experiment_tags(store)
    start_sweep(folder, WEIGHTS, 1)
    sync_store(store, None)
    tags = experiment_tags(store)
    assert tags[f"{PREFIX}{BY_AXIS}"] != first[f"{PREFIX}{BY_AXIS}"]
    assert tags[f"{PREFIX}care-trials-tiny"] == "a reviewer's"
    assert tags[NOTE] == first[NOTE]


@pytest.mark.parametrize(
    ("current", "merged"),
    [
        (None, "<!-- care -->\nnew\n<!-- end of care -->\n"),
        ("a\n<!-- care -->\nold\n<!-- end of care -->\nb",
         "a\n<!-- care -->\nnew\n<!-- end of care -->\nb"),
        ("<!-- care -->\nold and mine\n<!-- end of care -->\n", None),
        ("old", "<!-- care -->\nnew\n<!-- end of care -->\n"),
        ("mine", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_reviewers_part_of_a_description_is_kept(current: str | None, merged: str | None) -> None:
    assert merge_note(current, "new", short_digest("old")) == merged


def test_stores_share_the_description_of_an_experiment() -> None:
    one = merge_note(None, "of A", "", "a")
    both = merge_note(one, "of B", "", "b")
    assert both is not None
    assert both.count("<!-- end of care") == 2
    assert "of A" in both
