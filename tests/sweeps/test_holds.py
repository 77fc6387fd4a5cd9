"""Points of a sweep that a user holds: the file, the commands, and what plan and status say."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from care.errors import ConfigError
from care.system.files import DamagedFileError
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.cli.sweep_hold import hold_command, release_command
from sweeps.holds import HOLDS, HoldWatch, Wish, hold, read_holds, release
from sweeps.inventory import SweepReader
from sweeps.plan import make_plan
from sweeps.plan_remarks import plan_remarks
from sweeps.progress import Board
from sweeps.report import write_sweep_report
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate, load
from tests.helpers.playing import World, play

GRID: dict[str, Any] = {"axes": {WEIGHT: [0.01, 0.1, 1.0]}, "seeds": 2}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def sweep(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A sweep of six trials, started once: those of λ = 1 are finished."""
    declared = load(tmp_path, **GRID)
    play(World(), declared.select(["λ=1"], None), store, monkeypatch)
    return declared


def states(sweep: Sweep, store: Store) -> dict[str, str]:
    return {trial.label: str(trial.state) for trial in make_plan(sweep, store).trials}


def test_a_point_is_held_and_released(
    sweep: Sweep, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_command("tiny", ["λ=0.1"], store.root)
    said = capsys.readouterr().out
    assert "held: λ=0.1 seed=0,1 (2 new)" in said
    assert "to release: care sweep release tiny 'λ=0.1'" in said
    plan = make_plan(sweep, store)
    assert plan.counts() == {State.FINISHED: 2, State.NEW: 2, State.HELD: 2}
    assert {trial.label for trial in plan.missing()} == {"λ=0.01 seed=0", "λ=0.01 seed=1"}
    assert len(plan.missing(held=True)) == 4
    (line,) = plan_remarks(plan)
    assert line.startswith("held: λ=0.1 seed=0,1, by ")
    view = SweepReader(store.sweep("tiny"), store, Versions()).read()
    assert view.remarks() == [line]
    assert view.counts() == {State.FINISHED: 2, State.NEW: 2, State.HELD: 2}
    assert not view.complete
    assert "Held: λ=0.1 seed=0,1, by " in write_sweep_report(sweep, store).read_text()
    board = Board(sweep.spec.metric, plan.wanted)
    board.plan(plan, lambda _: None)
    assert board.left() == 2, "no machine waits for held trials"

    release_command("tiny", ["λ=0.1", "seed=1"], store.root)
    assert states(sweep, store)["λ=0.1 seed=0"] == "held"
    assert states(sweep, store)["λ=0.1 seed=1"] == "new"
    release_command("tiny", [], store.root)
    assert make_plan(sweep, store).counts() == {State.FINISHED: 2, State.NEW: 4}
    capsys.readouterr()
    release_command("tiny", [], store.root)
    assert "nothing is held" in capsys.readouterr().out


def test_a_run_leaves_held_trials(
    sweep: Sweep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_command("tiny", ["seed=1"], store.root)
    fabricate(store, make_plan(sweep, store).trials[1].config, State.PAUSED, 1)
    world = World()
    plan = play(world, sweep, store, monkeypatch).plan
    assert len(world.taken) == 2
    assert plan.counts() == {State.FINISHED: 4, State.HELD: 2}
    assert not plan.complete
    release_command("tiny", [], store.root)
    assert play(world, sweep, store, monkeypatch).complete


def test_a_hold_counts_for_seeds_that_are_added(sweep: Sweep, store: Store, tmp_path: Path) -> None:
    hold_command("tiny", ["λ=0.1"], store.root)
    hold_command("tiny", ["λ=0.01", "seed=1"], store.root)
    more = states(load(tmp_path, **{**GRID, "seeds": 3}), store)
    assert {label for label, state in more.items() if state == "held"} == {
        "λ=0.1 seed=0", "λ=0.1 seed=1", "λ=0.1 seed=2", "λ=0.01 seed=1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["λ=0.2"], r"trials λ: got '0.2'; allowed: 0.01, 0.1, 1"),
        (
            ["lamda=0.1"],
            r"trials: got 'lamda'; allowed: an axis \(λ, seed\); did you mean 'lambda'",
        ),
        (["seed=5"], r"trials seed: got '5'; allowed: 0, 1"),
        (["0.1"], r"trials: got '0.1'; allowed: AXIS=VALUE"),
        (["λ=1"], r"trials: got 'λ=1'; allowed: trials that are not over; these are 2 finished"),
    ],
)
def test_refused(sweep: Sweep, store: Store, chosen: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hold_command("tiny", chosen, store.root)
    assert not (store.sweep("tiny").path / HOLDS).exists()


def test_release_of_what_is_not_held_is_refused(sweep: Sweep, store: Store) -> None:
    hold_command("tiny", ["λ=0.1"], store.root)
    with pytest.raises(ConfigError, match=r"allowed: held trials, which are of: λ=0.1"):
        release_command("tiny", ["λ=0.01"], store.root)


def test_finished_trials_of_a_point_are_named(
    sweep: Sweep, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_command("tiny", ["λ=0.1,1"], store.root)
    said = capsys.readouterr().out
    assert "held: λ=0.1 seed=0,1 (2 new)" in said
    assert "not held, as it is over: λ=1 seed=0,1" in said


def test_a_damaged_file_is_named_and_the_last_holds_stay(sweep: Sweep, store: Store) -> None:
    hold_command("tiny", ["λ=0.1"], store.root)
    folder = store.sweep("tiny").path
    (entry,) = read_holds(folder).by_group.values()
    watch = HoldWatch(folder)
    assert watch.look()
    (folder / HOLDS).write_text("{")
    watch._next_look = 0.0
    assert not watch.look()
    assert watch.of(entry.group_id, 0) == entry
    with pytest.raises(DamagedFileError, match=r"holds.json: .*Delete it"):
        make_plan(sweep, store)


def _hold_one(folder: Path, number: int) -> None:
    hold(folder, [Wish(f"group-{number}", f"λ={number}", frozenset({number}))], "ada")


def test_commands_at_one_time_lose_no_wish(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_hold_one, args=(tmp_path, n)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert set(read_holds(tmp_path).by_group) == {f"group-{n}" for n in range(8)}


def test_seeds_are_added_and_removed(tmp_path: Path) -> None:
    def seeds() -> list[int] | None:
        record = json.loads((tmp_path / HOLDS).read_text())["holds"]
        found: list[int] | None = record[0]["seeds"] if record else []
        return found

    def wish(*numbers: int) -> list[Wish]:
        return [Wish("group", "λ=0.1", frozenset(numbers) or None)]

    hold(tmp_path, wish(1), "ada")
    hold(tmp_path, wish(3), "eve")
    assert seeds() == [1, 3]
    release(tmp_path, wish(3), range(4))
    assert seeds() == [1]
    hold(tmp_path, wish(), "ada")
    hold(tmp_path, wish(2), "eve")
    assert seeds() is None
    release(tmp_path, wish(0, 2), range(4))
    assert seeds() == [1, 3]
    release(tmp_path, wish(), range(4))
    assert seeds() == []
