"""Garbage collection: it frees what no number needs, and survives its own death."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from care.config import TrialConfig
from care.evaluation.reevaluate import reevaluate
from care.system.claim import Claim
from care.system.files import write_json
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.state_files import PoolFolder, Request, Workers
from sweeps.disk.collect import Collected, Collector
from sweeps.disk.garbage import Findings, GarbageSearch, Keep, Policy, What
from sweeps.disk.membership import read_membership
from sweeps.disk.scan import measure_below
from sweeps.disk.usage import scan_trials
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.damaging import DAMAGES, contents
from tests.helpers.killing import killed_at
from tests.helpers.small_store import copy_store, finished, numbers, plan_of, states
from tests.helpers.tracked import copy_database, dump

CPU = torch.device("cpu")
LATER = time.time() + 40 * 24 * 3600


def search(store: Store, policy: Policy | None = None, now: float | None = None) -> Findings:
    search = GarbageSearch(store, policy or Policy(), read_membership(store), now)
    return search.search(scan_trials(store).items())


def collect(store: Store, policy: Policy | None = None, now: float | None = None) -> Collected:
    policy = policy or Policy()
    return Collector(store, policy.keep).collect(search(store, policy, now))


def collect_below(root: Path, keep: Keep) -> None:
    collect(Store(root), Policy(keep), LATER)


def networks(store: Store) -> dict[str, dict[str, torch.Tensor]]:
    loaded = {}
    for folder in finished(store):
        network = checkpoint.load_network(folder.path, CPU, pytest.fail, folder.trial_id)
        assert network
        loaded[folder.trial_id] = network[1]
    return loaded


def assert_equal_networks(store: Store, expected: dict[str, dict[str, torch.Tensor]]) -> None:
    torch.testing.assert_close(networks(store), expected, rtol=0, atol=0)


def rubbish(store: Store) -> list[Path]:
    """What accidents leave behind."""
    trial, other = (folder.path for folder in finished(store))
    sweep = store.sweep("tiny").path
    left = [
        trial / ".checkpoint-000002-000000-0123456789abcdef.pt.4242.tmp",
        trial / "checkpoint-000002-000000-0123456789abcdef.damaged",
        other / "status.json.damaged-20200101-000000-000000",
        other / "evaluation" / "linear.npz",
        sweep / ".sweep.json.4242-aaaa.tmp",
        store.root / "mlflow.db.damaged-20200101-000000-000000",
        store.root / "archive" / f"{'a' * 16}-20200101-000000-000000" / "metrics.jsonl",
        store.root / "archive" / ".deleted-x" / "trial.json",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    return left


def test_only_the_checkpoints_of_finished_trials_become_weights(store: Store) -> None:
    before, before_plan, weights = numbers(store), states(store), networks(store)
    paused = next(store.trial(name) for name, state in before_plan.items() if state == "paused")
    kept = contents(paused.path)
    size = measure_below(store.root)
    findings = search(store)
    estimate = findings.frees
    done = collect(store)
    assert (done.busy, done.failed) == ([], [])
    for folder in finished(store):
        assert [path.name[:7] for path in folder.path.glob("*.pt")] == ["weights"]
    assert contents(paused.path) == kept
    assert numbers(store) == before
    assert states(store) == before_plan
    assert_equal_networks(store, weights)
    assert done.freed == pytest.approx(size - measure_below(store.root), abs=2000)  # claims
    assert estimate == pytest.approx(done.freed, rel=0.02)
    assert not any(search(store).all())


def test_a_dry_search_changes_nothing(store: Store) -> None:
    rubbish(store)
    before = contents(store.root)
    assert search(store).frees
    assert contents(store.root) == before


def test_evaluation_report_and_mlflow_are_unchanged(store: Store, empty_database: Path) -> None:
    copy_database(empty_database, store.root)
    sync_store(store, None)
    runs, trial = dump(store.root), finished(store)[0]
    config = TrialConfig.model_validate(trial.read_trial().config)  # type: ignore[union-attr]
    before = reevaluate(trial, config, pytest.fail)
    collect(store)
    after = reevaluate(trial, config, pytest.fail)
    assert after.measures == before.measures == trial.read_evaluation()
    sync_store(store, None)
    assert dump(store.root) == runs


@pytest.mark.parametrize("keep", ["encoder", "none"])
def test_killed_anywhere_the_store_is_valid_and_a_second_one_finishes(
    original: Store, tmp_path: Path, keep: Keep
) -> None:
    """Every change of the disk is a moment to die; a part of them is tried, spread evenly."""
    before, before_plan, weights = numbers(original), states(original), networks(original)
    ended, number, step = False, 0, 11 if keep == "encoder" else 17
    while not ended:
        store = copy_store(original, tmp_path / f"{number}")
        left = rubbish(store)
        ended = not killed_at(number, collect_below, store.root, keep)
        context = f"killed before change {number}"
        assert numbers(store) == before, context
        assert states(store) == before_plan, context
        if keep == "encoder":
            assert_equal_networks(store, weights)
        collect(store, Policy(keep), LATER)
        assert not any(search(store, Policy(keep), LATER).all()), context
        assert not any(path.exists() for path in left), context
        for folder in finished(store):
            kinds = [path.name[:7] for path in folder.path.glob("*.pt")]
            assert kinds == (["weights"] if keep == "encoder" else []), context
        number += step
    assert number >= 3 * step


def test_keep_all_removes_only_rubbish(store: Store) -> None:
    clean = set(contents(store.root))
    left = rubbish(store)
    collect(store, Policy("all"), LATER)
    assert not any(path.exists() for path in left)
    new = {name for name in set(contents(store.root)) ^ clean if "claim-" not in name}
    assert new == {"archive"}


def test_young_things_that_were_kept_on_purpose_stay(store: Store) -> None:
    trial = finished(store)[0].path
    damaged = trial / "checkpoint-000001-000000-0123456789abcdef.pt"
    damaged.write_text("{")
    os.utime(damaged, (1e9, 1e9))
    kept = damaged.rename(damaged.with_suffix(".damaged"))  # just now, whatever its age
    archived = store.archive(finished(store)[1].trial_id)
    assert archived
    collect(store)
    assert kept.exists()
    assert archived.exists()
    collect(store, Policy(older=0))
    assert not kept.exists()
    assert not archived.exists()


def test_an_age_protects_trials_that_finished_later(store: Store) -> None:
    assert not any(search(store, Policy(older=3600)).all())
    assert len(search(store, Policy(older=0)).trials) == 2


def test_a_claimed_trial_is_left_alone_and_named(store: Store) -> None:
    one, other = finished(store)
    before = {path.name for path in one.path.glob("*.pt")}
    late = search(store)
    claim = Claim.take(one.path)
    assert claim
    with claim:
        findings = search(store)
        assert list(findings.busy) == [one.trial_id]
        done = Collector(store, "encoder").collect(late)  # it was taken after the search
        assert done.busy == [one.trial_id]
        assert {path.name for path in one.path.glob("*.pt")} == before
    assert [path.name[:7] for path in other.path.glob("*.pt")] == ["weights"]


@pytest.mark.parametrize("name", ["evaluation.json", "metrics.jsonl", "trial.json"])
@pytest.mark.parametrize("keep", ["encoder", "none"])
def test_a_trial_with_damaged_numbers_keeps_its_checkpoints(
    store: Store, name: str, keep: Keep
) -> None:
    """They may be all that brings the numbers back."""
    trial = finished(store)[0]
    DAMAGES["cut"](trial.path / name)
    before = {path.name for path in trial.path.glob("*.pt")}
    done = collect(store, Policy(keep))
    assert {path.name for path in trial.path.glob("*.pt")} == before
    assert [line for line in done.failed if trial.trial_id in line and name in line]


def test_a_trial_whose_last_checkpoint_is_damaged_keeps_all(store: Store) -> None:
    trial = finished(store)[0]
    DAMAGES["flipped"](max(trial.path.glob("checkpoint-*.pt")))
    before = contents(trial.path)
    done = collect(store)
    assert len(done.failed) == 1
    assert "is damaged" in done.failed[0]
    after = contents(trial.path)
    assert {name for name in after if "claim-" not in name} == {
        name for name in before if "claim-" not in name
    }


def test_one_sweep_only(store: Store, tmp_path: Path) -> None:
    old = store.root / "archive" / f"{'a' * 16}-20200101-000000-000000"
    own = store.root / "archive" / f"{finished(store)[0].trial_id}-20200101-000000-000000"
    for path in (old, own):
        path.mkdir(parents=True)
    findings = search(store, Policy(sweep="tiny"))
    assert [each.paths for each in findings.rest] == [(own,)]
    assert len(findings.trials) == 2


def test_snapshots_of_code_stay_for_the_last_submission(store: Store) -> None:
    pool = PoolFolder(store, "tiny").path
    pool.mkdir()
    cluster = ClusterConfig(partition="cpu")
    PoolFolder(store, "tiny").write_request(
        Request(
            cluster=cluster,
            workers=Workers(least=1, most=1),
            folder=str(pool),
            code=str(pool / "code" / "bbb"),
            command="care sweep submit",
        )
    )
    for name in ("aaa", "bbb", ".part-x"):
        (pool / "code" / name).mkdir(parents=True)
        (pool / "code" / name / "file.py").write_bytes(bytes(100))
    assert not search(store).sweeps, "an earlier submission may still have workers"
    findings = search(store, now=LATER).sweeps["tiny"]
    assert {each.what for each in findings} == {What.SNAPSHOTS}
    collect(store, now=LATER)
    assert [path.name for path in (pool / "code").iterdir()] == ["bbb"]


def test_snapshots_of_revisions_stay_while_their_sweep_names_them(store: Store) -> None:
    folder = store.sweep("tiny")
    declared = folder.declaration()
    code = {"HEAD": {"commit": "c" * 40, "code_version": "ast1-named"}}
    folder.write(declared.model_copy(update={"spec": {**declared.spec, "code": code}}))
    records: dict[str, dict[str, object]] = {
        "ast1-named": {"git_commit": "a" * 40, "git_dirty": False},
        "ast1-before": {"git_commit": "b" * 40, "git_dirty": False},
        "ast1-again": {"git_commit": "b" * 40, "git_dirty": False},
        "ast1-working": {"git_commit": "a" * 40, "git_dirty": True},
    }
    for name, record in records.items():
        (folder.path / "code" / name).mkdir(parents=True)
        write_json(folder.path / "code" / name / "snapshot.json", record)
    snapshots = folder.path / "code"

    def gone(days: float) -> set[str]:
        found = search(store, now=time.time() + days * 24 * 3600).sweeps.get("tiny", [])
        assert {each.what for each in found} <= {What.REVISIONS}
        return {path.name for each in found for path in each.paths}

    assert gone(0.5) == set(), "processes of the last start may import"
    assert gone(2) == {"ast1-before", "ast1-again"}
    assert gone(40) == {"ast1-before", "ast1-again", "ast1-working"}, "git has no other copy"
    findings = search(store, now=LATER)
    for name in ("ast1-before", "ast1-working"):
        os.utime(snapshots / name, (1e9, 1e9))
    Collector(store, "encoder").collect(findings)
    left = {path.name for path in snapshots.iterdir()}
    assert left == {"ast1-named", "ast1-again"}, "a start has touched it since it was found"
    for path in snapshots.iterdir():
        os.utime(path, (1e9, 1e9))
    with Claim.take(folder.path) or pytest.fail("claimed"):
        assert "tiny" in search(store, now=LATER).busy
    collect(store, now=LATER)
    assert [path.name for path in snapshots.iterdir()] == ["ast1-named"]


def test_a_full_disk_is_reported_and_loses_nothing(
    store: Store, no_space: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = networks(store)
    with no_space(20_000):  # type: ignore[operator]
        done = collect(store)
    assert len(done.failed) == 2
    assert all("cannot write" in line for line in done.failed)
    assert_equal_networks(store, weights)
    assert not collect(store).failed
    assert_equal_networks(store, weights)


def test_a_later_plan_trains_nothing(store: Store) -> None:
    collect(store, Policy("none"))
    plan = plan_of(store)
    assert {trial.trial_id for trial in plan.missing()} == {
        trial.trial_id for trial in plan.trials if trial.state in ("new", "paused")
    }
    assert all(TrialFolder(folder.path).read_evaluation() for folder in finished(store))
