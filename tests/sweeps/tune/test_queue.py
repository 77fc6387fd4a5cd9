"""What becomes of a task whose try has ended, and what the search says meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from care.config import TrialConfig
from care.trials.folder import TrialFolder
from care.trials.records import ErrorRecord
from care.trials.state import State
from sweeps.tune.messages import identities
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import Again, RetryPolicy
from sweeps.tune.search import ListSearch

POLICY = RetryPolicy(retries=2, largest_share=4)


@pytest.fixture
def folder(tmp_path: Path, tiny_config: TrialConfig) -> TrialFolder:
    folder = TrialFolder(tmp_path / "trial")
    folder.create(tiny_config)
    return folder


def queue(*names: str, stopping: list[bool] | None = None) -> TaskQueue:
    """Tries that end with ``paused`` come back at once, lost ones do not."""
    flag = stopping or [False]
    made = TaskQueue(
        lambda _, outcome: Again(0, 1) if outcome == "paused" else None, lambda: flag[0]
    )
    for name in names:
        made.put({"trial_id": name})
    return made


def name_of(suggested: Any) -> str:
    return str(suggested["trial_id"])


def test_a_list_is_handed_out_in_order_and_then_ends() -> None:
    search = ListSearch(queue("a", "b"))
    assert [name_of(search.suggest(key)) for key in "12"] == ["a", "b"]
    assert search.suggest("3") is None, "a or b may come back"
    search.on_trial_complete("1", {"outcome": "finished"})
    search.on_trial_complete("2", {"outcome": "paused"})
    assert name_of(search.suggest("4")) == "b"
    search.on_trial_complete("4", {"outcome": "finished"})
    assert search.suggest("5") == Searcher.FINISHED


def test_what_was_begun_ends_first() -> None:
    tasks = queue("a", "b", "c")
    tasks.take("1")
    tasks.end("1", "paused")
    taken = [tasks.take(key) for key in "234"]
    assert [name_of(task) for task in taken] == ["a", "b", "c"]


def test_a_lost_process_counts_as_lost_whatever_it_said_before() -> None:
    tasks = queue("a")
    search = ListSearch(tasks)
    search.suggest("1")
    search.on_trial_complete("1", {"outcome": "running"}, error=True)
    assert tasks.given_up == {"a"}
    assert search.suggest("2") == Searcher.FINISHED


def test_nothing_is_handed_out_while_stopping() -> None:
    stopping = [False]
    search = ListSearch(queue("a", "b", stopping=stopping))
    search.suggest("1")
    stopping[0] = True
    search.on_trial_complete("1", {"outcome": "paused"})
    assert search.suggest("2") == Searcher.FINISHED


def test_a_task_comes_back_when_its_time_has_come() -> None:
    tasks = TaskQueue(lambda *_: Again(after=0.2, share=1))
    tasks.put({"trial_id": "a"})
    tasks.take("1")
    ended = time.monotonic()
    assert not tasks.end("1", "busy")
    assert (len(tasks), tasks.take("2")) == (1, None)
    while tasks.take("3") is None:
        time.sleep(0.01)
    assert time.monotonic() - ended >= 0.2


def task(folder: TrialFolder, share: int = 1, tries: int = 1, **more: Any) -> dict[str, Any]:
    return {"folder": str(folder.path), "share": share, "tries": tries, **more}


@pytest.mark.parametrize("outcome", ["finished", "failed", "running"])
def test_what_is_over_is_not_tried_again(folder: TrialFolder, outcome: str) -> None:
    assert POLICY(task(folder), outcome) is None


@pytest.mark.parametrize("outcome", ["paused", "busy"])
def test_pre_emption_is_never_counted(folder: TrialFolder, outcome: str) -> None:
    again = POLICY(task(folder, share=2, tries=10_000), outcome)
    assert again
    assert again.share == 2
    assert again.after > 0


def test_a_process_lost_without_progress_is_given_up(folder: TrialFolder) -> None:
    folder.write_status(State.RUNNING, 1, 3)
    for start in range(1, 3):
        folder.append_start(1, 0)
        again = POLICY(task(folder), None)
        assert again
        assert (again.after, again.share) == (0, start), "from the second loss on with more room"
    folder.append_start(1, 0)
    assert POLICY(task(folder), None) is None


@pytest.mark.parametrize("starts", [0, 1])
def test_a_process_lost_before_it_opened_its_trial_is_given_up(
    folder: TrialFolder, starts: int
) -> None:
    """A full memory kills a process that still imports: its log of starts does not grow."""
    for _ in range(starts):
        folder.append_start(0, 0)
    losing = task(folder)
    pauses = []
    while again := POLICY(losing, None):
        pauses.append(again.after)
        losing = task(folder, share=again.share, unopened=again.unopened)
        assert len(pauses) < 10
    assert len(pauses) == 2
    assert pauses[-1] > 0
    assert losing["share"] == 2


def test_a_process_lost_after_progress_is_tried_again(folder: TrialFolder) -> None:
    folder.write_status(State.RUNNING, 1, 3)
    for step in range(20):
        folder.append_start(1, step)
        again = POLICY(task(folder), None)
        assert again
        assert (again.after, again.share) == (0, 1)


def test_full_memory_means_less_packing(folder: TrialFolder) -> None:
    error = ErrorRecord(kind="out_of_memory", message="")
    folder.write_status(State.FAILED, 0, 3, error)
    assert POLICY(task(folder, share=1), None) == Again(0, 2)
    assert POLICY(task(folder, share=2), None) == Again(0, 4)
    assert POLICY(task(folder, share=4), None) is None


def test_a_disk_that_stays_full_ends_the_trial_at_last(folder: TrialFolder) -> None:
    again = POLICY(task(folder), "disk")
    assert again
    patience = 0.0
    tries = 1
    while again := POLICY(task(folder, tries=tries), "disk"):
        patience += again.after
        tries += 1
    assert 300 < patience < 3600


def streams(pack: Any, slots: int | None = None, count: int = 12) -> TaskQueue:
    """Trials of three streams in turn, as a plan has its seeds."""
    made = TaskQueue(
        lambda _, outcome: None if outcome in ("finished", "running") else Again(0, 1),
        pack=pack,
        slots=slots,
    )
    for number in range(count):
        made.put({"trial_id": str(number), "stream": str(number % 3)})
    return made


def told(task: dict[str, Any], *outcomes: str, **more: Any) -> dict[str, Any]:
    names = identities(task)
    said = [{"trial_id": n, "outcome": o} for n, o in zip(names, outcomes, strict=True)]
    return {"members": said, "outcome": "ended", **more}


def identity_of(name: str) -> dict[str, Any]:
    return {"trial_id": name}


def taken(tasks: TaskQueue, key: str) -> dict[str, Any]:
    task = tasks.take(key)
    assert task is not None
    return task


def test_trials_of_one_stream_are_handed_out_together() -> None:
    tasks = streams(pack=3)
    names = [identities(taken(tasks, key)) for key in "abcdef"]
    assert names == [["0", "3", "6"], ["1", "4", "7"], ["2", "5", "8"], ["9"], ["10"], ["11"]]


def test_nobody_stands_idle_for_a_pack() -> None:
    tasks = streams(pack=8, slots=4, count=6)
    sizes = [len(identities(taken(tasks, key))) for key in "abcd"]
    assert sizes == [2, 2, 1, 1]


def test_the_last_packs_are_as_even_as_the_first() -> None:
    tasks = streams(pack=3, slots=2, count=18)
    sizes = [len(identities(taken(tasks, key))) for key in "abcdef"]
    assert sizes == [3] * 6


def test_of_a_pack_only_what_is_not_over_comes_back() -> None:
    search = ListSearch(tasks := streams(pack=4, count=12))
    first = search.suggest("a")
    assert isinstance(first, dict)
    search.on_trial_result("a", told(first, "finished", "running", "running", "running"))
    rest = {"members": [*map(identity_of, "369")]}
    search.on_trial_complete("a", told(rest, "running", "paused", "paused"))
    assert len(tasks) == 8 + 2, "one finished, one was stopped by the scheduler"
    assert identities(taken(tasks, "b"))[0] in ("6", "9"), "what was begun ends first"


def test_what_was_in_a_lost_process_is_tried_alone() -> None:
    search = ListSearch(tasks := streams(pack=4, count=12))
    first = search.suggest("a")
    assert isinstance(first, dict)
    search.on_trial_result("a", told(first, "finished", "paused", "running", "running"))
    search.on_trial_complete("a", error=True)
    names = [identities(taken(tasks, key)) for key in "bcd"]
    assert sorted(names) == [["3"], ["6"], ["9"]], "the finished one is over"


def test_a_size_that_was_found_holds_for_the_next_ones() -> None:
    search = ListSearch(tasks := streams(pack="auto"))
    first = search.suggest("a")
    assert isinstance(first, dict)
    assert (identities(first), first["neighbors"]) == (["0", "3", "6", "9"], 1)
    outcomes = ("running", "running", "unpacked", "unpacked")
    search.on_trial_result("a", told(first, *outcomes, pack=2))
    second = taken(tasks, "b")
    assert identities(second) == ["1", "4"]
    assert "neighbors" not in second
