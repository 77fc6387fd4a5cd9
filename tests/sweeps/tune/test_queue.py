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
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialResult, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import NextTry, RetryPolicy
from sweeps.tune.search import ListSearch
from tests.helpers import messages

POLICY = RetryPolicy(retries=2, largest_share=4)


@pytest.fixture
def folder(tmp_path: Path, tiny_config: TrialConfig) -> TrialFolder:
    folder = TrialFolder(tmp_path / "trial")
    folder.create(tiny_config)
    return folder


def queue(*names: str, stopping: list[bool] | None = None) -> TaskQueue:
    """Make a queue where paused trials return at once, lost ones never."""
    flag = stopping or [False]
    made = TaskQueue(
        lambda _, outcome: NextTry(0, 1) if outcome == Outcome.PAUSED else None, lambda: flag[0]
    )
    for name in names:
        made.put(messages.task(name))
    return made


def names_of(suggested: Any) -> list[str]:
    return PackTask.from_config(suggested).trial_ids


def taken(tasks: TaskQueue, key: str) -> PackTask:
    task = tasks.take(key)
    assert task is not None
    return task


def test_a_list_is_handed_out_in_order_and_then_ends() -> None:
    search = ListSearch(queue("a", "b"))
    assert [names_of(search.suggest(key)) for key in "12"] == [["a"], ["b"]]
    assert search.suggest("3") is None, "a or b may come back"
    search.on_trial_complete("1", messages.result({"a": Outcome.FINISHED}))
    search.on_trial_complete("2", messages.result({"b": Outcome.PAUSED}))
    assert names_of(search.suggest("4")) == ["b"]
    search.on_trial_complete("4", messages.result({"b": Outcome.FINISHED}))
    assert search.suggest("5") == Searcher.FINISHED


def test_what_was_begun_ends_first() -> None:
    tasks = queue("a", "b", "c")
    tasks.take("1")
    tasks.report("1", PackResult((TrialResult("a", Outcome.PAUSED),), done=True))
    tasks.end("1")
    assert [taken(tasks, key).trial_ids for key in "234"] == [["a"], ["b"], ["c"]]


def test_a_lost_process_counts_as_lost_whatever_it_said_before() -> None:
    tasks = queue("a")
    search = ListSearch(tasks)
    search.suggest("1")
    search.on_trial_result("1", messages.result({"a": Outcome.RUNNING}))
    search.on_trial_complete("1", error=True)
    assert tasks.given_up == {"a"}
    assert search.suggest("2") == Searcher.FINISHED


def test_a_trial_that_the_scheduler_stopped_is_over() -> None:
    tasks = queue("a")
    search = ListSearch(tasks)
    search.suggest("1")
    search.on_trial_complete("1", messages.result({"a": Outcome.RUNNING}))
    assert search.suggest("2") == Searcher.FINISHED
    assert not tasks.given_up


def test_nothing_is_handed_out_while_stopping() -> None:
    stopping = [False]
    search = ListSearch(queue("a", "b", stopping=stopping))
    search.suggest("1")
    stopping[0] = True
    search.on_trial_complete("1", messages.result({"a": Outcome.PAUSED}))
    assert search.suggest("2") == Searcher.FINISHED


def test_a_task_comes_back_when_its_time_has_come() -> None:
    tasks = TaskQueue(lambda *_: NextTry(after=0.2, share=1))
    tasks.put(messages.task("a"))
    tasks.take("1")
    ended = time.monotonic()
    assert not tasks.end("1")
    assert (len(tasks), tasks.take("2")) == (1, None)
    while tasks.take("3") is None:
        time.sleep(0.01)
    assert time.monotonic() - ended >= 0.2


def task(folder: TrialFolder, **changes: Any) -> TrialTask:
    return messages.task("trial", folder=folder.path, **changes)


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.FAILED, Outcome.RUNNING])
def test_what_is_over_is_not_tried_again(folder: TrialFolder, outcome: Outcome) -> None:
    assert POLICY(task(folder), outcome) is None


@pytest.mark.parametrize("outcome", [Outcome.PAUSED, Outcome.BUSY])
def test_pre_emption_is_never_counted(folder: TrialFolder, outcome: Outcome) -> None:
    again = POLICY(task(folder, share=2, disk_errors=10_000), outcome)
    assert again
    assert again.share == 2
    assert again.after > 0


def test_a_process_lost_without_progress_is_given_up(folder: TrialFolder) -> None:
    folder.write_status(State.RUNNING, 1, 3)
    for start in range(1, 3):
        folder.append_start(1, 0)
        again = POLICY(task(folder), Outcome.LOST)
        assert again
        assert (again.after, again.share) == (0, start), "from the second loss on with more room"
    folder.append_start(1, 0)
    assert POLICY(task(folder), Outcome.LOST) is None


@pytest.mark.parametrize("starts", [0, 1])
def test_a_process_lost_before_it_opened_its_trial_is_given_up(
    folder: TrialFolder, starts: int
) -> None:
    """A full memory kills a process that still imports: its log of starts does not grow."""
    for _ in range(starts):
        folder.append_start(0, 0)
    losing = task(folder)
    pauses = []
    while again := POLICY(losing, Outcome.LOST):
        pauses.append(again.after)
        losing = task(folder, share=again.share, unopened=again.unopened)
        assert len(pauses) < 10
    assert len(pauses) == 2
    assert pauses[-1] > 0
    assert losing.share == 2


def test_a_process_lost_after_progress_is_tried_again(folder: TrialFolder) -> None:
    folder.write_status(State.RUNNING, 1, 3)
    for step in range(20):
        folder.append_start(1, step)
        again = POLICY(task(folder), Outcome.LOST)
        assert again
        assert (again.after, again.share) == (0, 1)


def test_full_memory_means_less_packing(folder: TrialFolder) -> None:
    error = ErrorRecord(kind="out_of_memory", message="")
    folder.write_status(State.FAILED, 0, 3, error)
    assert POLICY(task(folder, share=1), Outcome.LOST) == NextTry(0, 2)
    assert POLICY(task(folder, share=2), Outcome.LOST) == NextTry(0, 4)
    assert POLICY(task(folder, share=4), Outcome.LOST) is None


def test_a_disk_that_stays_full_ends_the_trial_at_last(folder: TrialFolder) -> None:
    patience = 0.0
    errors = 1
    while again := POLICY(task(folder, disk_errors=errors), Outcome.DISK_ERROR):
        patience += again.after
        errors += 1
    assert 300 < patience < 3600


def test_only_disk_errors_in_a_row_count() -> None:
    seen = []

    def retry(trial: TrialTask, outcome: Outcome) -> NextTry:
        seen.append(trial.disk_errors)
        return NextTry(0, 1)

    tasks = TaskQueue(retry)
    tasks.put(messages.task("a"))
    for outcome in (Outcome.BUSY, Outcome.DISK_ERROR, Outcome.DISK_ERROR, Outcome.PAUSED):
        taken(tasks, "1")
        tasks.report("1", PackResult((TrialResult("a", outcome),)))
        tasks.end("1")
    assert seen == [0, 1, 2, 0]


def test_tasks_that_come_back_keep_their_order() -> None:
    tasks = TaskQueue(lambda *_: NextTry(0, 1))
    for name in ("a", "b", "new"):
        tasks.put(messages.task(name))
    for key in ("a", "b"):
        taken(tasks, key)
    for key in ("a", "b"):
        tasks.end(key)
    assert [taken(tasks, key).trial_ids for key in "123"] == [["a"], ["b"], ["new"]]


def streams(pack: Any, slots: int | None = None, count: int = 12) -> TaskQueue:
    """Make a queue of trials of three batch keys in turn, as a plan has its seeds."""
    over = (Outcome.FINISHED, Outcome.RUNNING)
    made = TaskQueue(
        lambda _, outcome: None if outcome in over else NextTry(0, 1), pack=pack, slots=slots
    )
    for number in range(count):
        made.put(messages.task(str(number), batch_key=str(number % 3)))
    return made


def result(names: str, *outcomes: Outcome, size: int | None = None) -> dict[str, Any]:
    return messages.result(dict(zip(names, outcomes, strict=True)), size=size)


def test_trials_of_one_stream_are_handed_out_together() -> None:
    tasks = streams(pack=3)
    names = [taken(tasks, key).trial_ids for key in "abcdef"]
    assert names == [["0", "3", "6"], ["1", "4", "7"], ["2", "5", "8"], ["9"], ["10"], ["11"]]


def test_nobody_stands_idle_for_a_pack() -> None:
    tasks = streams(pack=8, slots=4, count=6)
    sizes = [len(taken(tasks, key).trials) for key in "abcd"]
    assert sizes == [2, 2, 1, 1]


def test_the_last_packs_are_as_even_as_the_first() -> None:
    tasks = streams(pack=3, slots=2, count=18)
    sizes = [len(taken(tasks, key).trials) for key in "abcdef"]
    assert sizes == [3] * 6


def test_of_a_pack_only_what_is_not_over_comes_back() -> None:
    search = ListSearch(tasks := streams(pack=4, count=12))
    assert names_of(search.suggest("a")) == list("0369")
    running = [Outcome.RUNNING] * 3
    search.on_trial_result("a", result("0369", Outcome.FINISHED, *running))
    search.on_trial_complete("a", result("369", Outcome.RUNNING, Outcome.PAUSED, Outcome.PAUSED))
    assert len(tasks) == 8 + 2, "one finished, one was stopped by the scheduler"
    assert taken(tasks, "b").trial_ids[0] in ("6", "9"), "what was begun ends first"


@pytest.mark.parametrize("lost", [True, False])
def test_what_took_the_process_or_its_memory_is_tried_alone(lost: bool) -> None:
    search = ListSearch(tasks := streams(pack=4, count=12))
    search.suggest("a")
    last = Outcome.RUNNING if lost else Outcome.OUT_OF_MEMORY
    search.on_trial_result("a", result("0369", Outcome.FINISHED, Outcome.PAUSED, last, last))
    search.on_trial_complete("a", error=lost)
    names = [taken(tasks, key).trial_ids for key in "bcd"]
    assert sorted(names) == [["3"], ["6"], ["9"]], "the finished one is over"


def test_a_size_that_was_found_holds_for_the_next_ones() -> None:
    search = ListSearch(tasks := streams(pack="auto"))
    first = PackTask.from_config(search.suggest("a"))  # type: ignore[arg-type]
    assert (first.trial_ids, first.neighbors) == (["0", "3", "6", "9"], 1)
    outcomes = [Outcome.RUNNING] * 2 + [Outcome.NOT_STARTED] * 2
    search.on_trial_result("a", result("0369", *outcomes, size=2))
    second = taken(tasks, "b")
    assert second.trial_ids == ["1", "4"]
    assert second.neighbors is None
