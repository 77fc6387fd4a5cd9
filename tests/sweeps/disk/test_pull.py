"""Merging another store: complete, verified, and never at the cost of what is here."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from care.errors import CareError
from care.system.claim import Claim
from sweeps.account import AccountRecord, read_account, write_account
from sweeps.disk.pull import PARTS, Pulled, Puller, Verdict, parts_of
from sweeps.disk.remote import fetch, is_remote
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.damaging import DAMAGES, contents
from tests.helpers.killing import killed_at
from tests.helpers.outside import keep_reference
from tests.helpers.small_store import copy_store, finished, numbers, states


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    """A store without trials."""
    return Store(tmp_path / "mine")


def pull(store: Store, other: Store) -> Pulled:
    with parts_of(store):
        return Puller(store, other).pull()


def pull_below(root: Path, other: Path) -> None:
    pull(Store(root), Store(other))


def counts(pulled: Pulled) -> dict[str, int]:
    return {str(verdict): len(trials) for verdict, trials in pulled.trials.items() if trials}


def test_an_empty_store_gets_everything(original: Store, empty: Store) -> None:
    before = contents(original.root)
    pulled = pull(empty, original)
    assert contents(original.root) == before
    assert counts(pulled) == {"copied": 3}
    assert pulled.complete
    assert pulled.sweeps == ["tiny"]
    assert numbers(empty) == numbers(original)
    assert states(empty) == states(original)
    for trial in finished(original):
        assert_equal_to_the_bit(empty.trial(trial.trial_id).path, trial.path)
    assert not (empty.root / PARTS).exists()
    assert empty.prepare() != original.prepare(), "it is another store"


def test_a_second_pull_changes_nothing(original: Store, empty: Store) -> None:
    pull(empty, original)
    before = contents(empty.root)
    pulled = pull(empty, original)
    assert counts(pulled) == {"here": 3}
    assert (pulled.complete, pulled.bytes, pulled.sweeps) == (True, 0, [])
    assert contents(empty.root) == before


def test_finished_there_replaces_unfinished_here(store: Store, original: Store) -> None:
    trial = finished(store)[0]
    status = trial.path / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"paused"'))
    pulled = pull(store, original)
    assert pulled.trials[Verdict.REPLACED] == [trial.trial_id]
    assert numbers(store) == numbers(original)
    (archived,) = (store.root / "archive").iterdir()
    assert archived.name.startswith(trial.trial_id)
    assert "paused" in (archived / "status.json").read_text()


def test_unfinished_there_changes_nothing_here(store: Store, original: Store) -> None:
    trial = finished(original)[0]
    other = copy_store(original, store.root.parent / "other")
    status = other.trial(trial.trial_id).path / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"paused"'))
    assert counts(pull(store, other)) == {"here": 3}
    assert numbers(store) == numbers(original)


def test_other_numbers_are_named_and_nothing_is_overwritten(store: Store, original: Store) -> None:
    other = copy_store(original, store.root.parent / "other")
    trial = other.trial(finished(other)[0].trial_id)
    measures = json.loads((trial.path / "evaluation.json").read_text())
    measures["head/gamma"] += 0.5
    trial.write_evaluation(measures)
    provenance = trial.read_provenance()
    assert provenance
    trial.write_provenance(provenance.model_copy(update={"threads": 7}))
    pulled = pull(store, other)
    assert counts(pulled) == {"here": 2, "different": 1}
    assert not pulled.complete
    reason = pulled.reasons[trial.trial_id]
    assert reason.startswith("head/gamma ")
    assert f"{measures['head/gamma']:.6g} there" in reason
    assert "threads (1 here, 7 there)" in reason
    assert numbers(store) == numbers(original)


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation.json", "details.npz", "trial.json"])
def test_what_is_damaged_there_is_not_copied(original: Store, empty: Store, name: str) -> None:
    other = copy_store(original, empty.root.parent / "other")
    trial = finished(other)[0]
    DAMAGES["flipped"](trial.path / name)
    pulled = pull(empty, other)
    assert pulled.trials[Verdict.DAMAGED] == [trial.trial_id]
    assert name in pulled.reasons[trial.trial_id]
    assert not empty.trial(trial.trial_id).path.exists()
    assert counts(pulled)["copied"] == 2


def test_a_damaged_checkpoint_is_left_out(original: Store, empty: Store) -> None:
    other = copy_store(original, empty.root.parent / "other")
    trial = finished(other)[0]
    bad = max(trial.path.glob("checkpoint-*.pt"))
    DAMAGES["flipped"](bad)
    pulled = pull(empty, other)
    assert counts(pulled) == {"copied": 3}
    assert bad.name in pulled.reasons[trial.trial_id]
    assert not (empty.trial(trial.trial_id).path / bad.name).exists()


def test_what_a_process_holds_is_left_alone(original: Store, store: Store, empty: Store) -> None:
    paused = next(name for name, state in states(store).items() if state == "paused")
    claim = Claim.take(store.trial(paused).path)
    assert claim
    with claim:
        pulled = pull(empty, store)
        assert pulled.trials[Verdict.BUSY] == [paused]
        assert f"process {os.getpid()}" in pulled.reasons[paused]
        assert not empty.trial(paused).path.exists()
    status = finished(store)[0].path / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"paused"'))
    held = Claim.take(status.parent)
    assert held
    with held:
        pulled = pull(store, original)
        assert pulled.trials[Verdict.BUSY] == [status.parent.name]
        assert '"paused"' in status.read_text()


def test_two_pulls_at_once_are_refused(original: Store, empty: Store) -> None:
    empty.prepare()
    claim = Claim.take(empty.root / PARTS)
    assert claim
    with claim, pytest.raises(CareError, match="another pull"):
        pull(empty, original)


def test_a_sweep_that_is_declared_otherwise_is_kept(store: Store, original: Store) -> None:
    path = store.sweep("tiny").path / "sweep.json"
    tree = json.loads(path.read_text())
    tree["spec"]["description"] = "mine"
    path.write_text(json.dumps(tree))
    pulled = pull(store, original)
    assert "declared otherwise" in pulled.reasons["tiny"]
    assert json.loads(path.read_text())["spec"]["description"] == "mine"


def test_a_sweep_brings_its_hours(store: Store, original: Store, empty: Store) -> None:
    """With the reason for its end; pulled again, they follow, and never count twice."""
    reason = "budget of 3 core-hours used up: 2 of 4 trials finished"
    account = AccountRecord(core_hours=3.5, gpu_hours=1.0, planned_core_hours=6.0)
    ended = account.model_copy(update={"stopped": "budget", "reason": reason})
    write_account(store.sweep("tiny"), ended)
    assert pull(empty, store).sweeps == ["tiny"]
    assert read_account(empty.sweep("tiny")) == ended
    before = contents(empty.root)
    pull(empty, store)
    assert contents(empty.root) == before

    later = account.model_copy(update={"core_hours": 7.0})
    write_account(store.sweep("tiny"), later)
    with Claim.take(empty.sweep("tiny").path) or pytest.fail("claimed"):
        assert "runs here" in pull(empty, store).reasons["tiny"]
        assert read_account(empty.sweep("tiny")) == ended, "its driver counts"
    assert not pull(empty, store).reasons
    assert read_account(empty.sweep("tiny")) == later

    more = AccountRecord(core_hours=9.0, gpu_hours=0.5)
    write_account(empty.sweep("tiny"), more)
    pull(empty, store)
    merged = {"gpu_hours": 1.0, "planned_core_hours": 6.0}
    assert read_account(empty.sweep("tiny")) == more.model_copy(update=merged)


@pytest.mark.parametrize("damage", ["cut", "folder", "other types", "dead link"])
def test_a_damaged_account_is_named_and_stops_nothing(
    store: Store, original: Store, empty: Store, tmp_path: Path, damage: str
) -> None:
    account = AccountRecord(core_hours=3.5)
    damaged, sound = store, copy_store(original, tmp_path / "sound")
    for one in (damaged, sound):
        write_account(one.sweep("tiny"), account)
    DAMAGES[damage](damaged.sweep("tiny").path / "account.json")
    before = contents(damaged.sweep("tiny").path)
    for here, there in ((damaged, sound), (sound, damaged)):
        pulled = pull(here, there)
        assert pulled.complete
        assert pulled.reasons["tiny"].startswith("account.json ")
    assert contents(damaged.sweep("tiny").path) == before
    assert read_account(sound.sweep("tiny")) == account
    assert pull(empty, damaged).sweeps == ["tiny"]
    assert numbers(empty) == numbers(original)
    assert read_account(empty.sweep("tiny")) == AccountRecord(), "the next run derives the hours"


def test_killed_anywhere_each_trial_is_whole_and_a_second_pull_finishes(
    original: Store, tmp_path: Path
) -> None:
    expected, ended, number = numbers(original), False, 0
    while not ended:
        root = tmp_path / f"{number}"
        ended = not killed_at(number, pull_below, root, original.root)
        part = numbers(Store(root)) if root.exists() else {}
        assert part.items() <= expected.items()
        ids = {name.partition("/")[0] for name in part}
        assert {name for name in expected if name.partition("/")[0] in ids} == set(part)
        assert pull(Store(root), original).complete
        assert numbers(Store(root)) == expected
        assert states(Store(root)) == states(original)
        number += 29
    assert number >= 58


def test_a_full_disk_leaves_no_part_of_a_trial(
    original: Store, empty: Store, no_space: object
) -> None:
    empty.prepare()
    with no_space(20_000), pytest.raises(CareError, match="cannot write"):  # type: ignore[operator]
        pull(empty, original)
    assert list(empty.all_trials()) == []
    assert not [path for path in (empty.root / PARTS).iterdir() if "claim" not in path.name]
    assert pull(empty, original).complete


def test_what_is_remote() -> None:
    assert is_remote("host:runs")
    assert is_remote("me@host.org:/home/me/runs")
    assert not is_remote("/home/a:b/runs")
    assert not is_remote("runs")


def test_without_rsync_it_is_named(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CareError, match="rsync is not installed on this machine"):
        fetch("host:runs", empty)


def test_another_machines_store(
    original: Store, store: Store, empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through rsync, which CI installs, with a script that runs here for ssh."""
    if shutil.which("rsync") is None:
        with pytest.raises(CareError, match="rsync is not installed"):
            fetch(f"elsewhere:{store.root}", empty)
        return
    shell = empty.root.parent / "shell"
    shell.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    shell.chmod(shell.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    empty.prepare()
    account = AccountRecord(core_hours=3.5)
    write_account(store.sweep("tiny"), account)
    with parts_of(empty):
        pulled = Puller(empty, fetch(f"elsewhere:{store.root}", empty)).pull()
    assert not (empty.root / PARTS).exists()
    assert counts(pulled) == {"copied": 3}
    assert numbers(empty) == numbers(original)
    assert read_account(empty.sweep("tiny")) == account
    with pytest.raises(CareError, match="rsync failed"):
        fetch(f"elsewhere:{store.root}/missing", empty)


def test_references_are_merged_by_identity(store: Store, tmp_path: Path) -> None:
    other = copy_store(store, tmp_path / "other")
    config = restore_sweep(store.sweep("tiny").declaration()).base_config()
    kept = keep_reference(other.root, config, {"encoder/gamma": 0.5})
    same = keep_reference(other.root, config, {"encoder/gamma": 0.25}, sha256="cd" * 32)
    pulled = pull(store, other)
    assert set(pulled.trials[Verdict.COPIED]) == {kept.path.name, same.path.name}
    assert contents(store.root / "references") == contents(other.root / "references")
    assert pull(store, other).complete
    keep_reference(other.root, config, {"encoder/gamma": 0.75})
    damaged = keep_reference(other.root, config, {}, sha256="ef" * 32)
    (damaged.path / "evaluation.json").write_text("{ }")
    before = contents(store.root / "references")
    pulled = pull(store, other)
    assert pulled.trials[Verdict.DIFFERENT] == [kept.path.name]
    assert pulled.trials[Verdict.DAMAGED] == [damaged.path.name]
    assert contents(store.root / "references") == before
