"""MLflow as a projection: made once, brought up to date idempotently, never in the way."""

from __future__ import annotations

import multiprocessing
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from care.config import TrialConfig
from care.system.claim import Claim
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import ErrorRecord, ProvenanceRecord, TimingRecord, UsageRecord
from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.progress import Board
from sweeps.store import Store
from sweeps.tracking import BackgroundSync, MlflowSync
from sweeps.tracking.background import describe_error
from sweeps.tracking.database import EXPERIMENT
from sweeps.tracking.sweep_sync import SweepSync
from tests.helpers.declaring import WEIGHT, load
from tests.helpers.tracked import (
    begin,
    copy_database,
    dump,
    finish,
    open_mlflow,
    seen,
    sync,
    write_epochs,
)
from tests.helpers.users import BOB, public_folder


@pytest.fixture
def folder(tmp_path: Path, tiny_config: TrialConfig, empty_database: Path) -> TrialFolder:
    """A trial after two of three epochs, paused."""
    copy_database(empty_database, tmp_path)
    return begin(tmp_path, tiny_config)


def test_a_run_for_the_sweep_and_a_child_for_the_trial(tmp_path: Path, folder: TrialFolder) -> None:
    finish(folder)
    sync(tmp_path, folder)
    parent, trial = dump(tmp_path)
    assert (parent["name"], parent["status"], parent["parent"]) == ("s", "RUNNING", None)
    assert parent["tags"]["mlflow.note.content"] == "what it is"
    assert (trial["name"], trial["status"], trial["parent"]) == ("λ=0.1 seed=0", "FINISHED", "s")
    assert trial["tags"]["trial_id"] == folder.trial_id
    assert trial["tags"]["stale"] == "yes"
    assert "error" not in trial["tags"]
    assert trial["params"]["objective.equivariance.weight"] == "0.1"
    assert not any(name.startswith("runtime") for name in trial["params"])
    assert [row[:2] for row in trial["metrics"]["train/loss"]] == [(1.0, 1), (0.5, 2), (1 / 3, 3)]
    assert [row[:2] for row in trial["metrics"]["head/gamma"]] == [(0.25, 3)]


def test_a_second_sync_changes_nothing_and_adds_new_epochs(
    tmp_path: Path, folder: TrialFolder
) -> None:
    sync(tmp_path, folder)
    before = dump(tmp_path)
    assert before[1]["status"] == "KILLED"
    sync(tmp_path, folder)
    assert dump(tmp_path) == before
    finish(folder)
    sync(tmp_path, folder)
    sync(tmp_path, folder)
    after = dump(tmp_path)
    assert len(after) == 2
    assert after[1]["status"] == "FINISHED"
    assert len(after[1]["metrics"]["train/loss"]) == 3


def test_rebuilt_from_nothing_it_is_the_same(tmp_path: Path, folder: TrialFolder) -> None:
    sync(tmp_path, folder)
    finish(folder)
    sync(tmp_path, folder)
    before = dump(tmp_path)
    (tmp_path / "mlflow.db").unlink()
    sync(tmp_path, folder)
    assert dump(tmp_path) == before


def test_a_crash_after_the_rows_leaves_no_second_ones(
    tmp_path: Path, folder: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore._set_tags", crash)
        with pytest.raises(MlflowException):
            MlflowSync(tmp_path).sync_trial(seen(folder), "s")
    assert "epochs" not in dump(tmp_path)[1]["tags"]["care.sync"]
    sync(tmp_path, folder)
    assert len(dump(tmp_path)[1]["metrics"]["train/loss"]) == 2


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call of MLflow's store from now on, by name."""
    calls: list[str] = []

    def note(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return method(*arguments, **named)

        return noted

    for name in ("get_run", "search_runs", "create_run", "log_batch", "update_run_info"):
        monkeypatch.setattr(SqlAlchemyStore, name, note(name, getattr(SqlAlchemyStore, name)))
    return calls


def test_what_is_known_is_neither_asked_nor_written_again(
    tmp_path: Path, folder: TrialFolder, asked: list[str]
) -> None:
    """A sweep of ten thousand trials could not afford it."""
    projection = MlflowSync(tmp_path)
    projection.sync_sweep("s", "what it is")
    asked.clear()
    projection.sync_trial(seen(folder), "s")
    assert asked == ["search_runs", "create_run", "log_batch", "update_run_info"]
    asked.clear()
    projection.sync_trial(seen(folder), "s")
    assert asked == []
    finish(folder)
    projection.sync_trial(seen(folder), "s")
    assert asked == ["log_batch", "update_run_info"]
    assert projection.runs.batches == 3, "the wait at a sweep's end sees progress"
    assert len(dump(tmp_path)[1]["metrics"]["train/loss"]) == 3


def test_what_was_confirmed_is_up_to_date_for_the_next_process(
    tmp_path: Path, folder: TrialFolder, asked: list[str]
) -> None:
    finish(folder)
    sync(tmp_path, folder)
    projection = MlflowSync(tmp_path)
    projection.confirm("s", [seen(folder)])
    assert not MlflowSync(tmp_path).recall("s", [seen(folder)]), (
        "nothing of it was synced by this one"
    )
    projection.sync_trial(seen(folder), "s")
    projection.confirm("s", [seen(folder)])
    later = MlflowSync(tmp_path)
    assert later.recall("s", [seen(folder)])
    asked.clear()
    later.sync_trial(seen(folder), "s")
    assert asked == []


def test_a_change_undoes_a_confirmation(
    tmp_path: Path, folder: TrialFolder, asked: list[str]
) -> None:
    projection = MlflowSync(tmp_path)
    projection.sync_trial(seen(folder), "s")
    projection.confirm("s", [seen(folder)])
    finish(folder)
    later = MlflowSync(tmp_path)
    assert not later.recall("s", [seen(folder)])
    asked.clear()
    later.sync_trial(seen(folder), "s")
    assert "search_runs" not in asked, "its run was recalled with those of the sweep"
    assert dump(tmp_path)[1]["status"] == "FINISHED"


def test_a_trial_of_two_sweeps_has_one_run(tmp_path: Path, folder: TrialFolder) -> None:
    finish(folder)
    sync(tmp_path, folder, "first")
    sync(tmp_path, folder, "second")
    runs = {run["name"]: run for run in dump(tmp_path)}
    assert set(runs) == {"first", "second", "λ=0.1 seed=0"}
    trial = runs["λ=0.1 seed=0"]
    assert trial["parent"] == "first"
    assert trial["tags"]["sweep.second"] == "λ=0.1"


def test_without_its_timings_a_trial_has_its_numbers(tmp_path: Path, folder: TrialFolder) -> None:
    finish(folder)
    (folder.path / "timings.jsonl").write_text("damaged\n")
    sync(tmp_path, folder)
    trial = dump(tmp_path)[1]
    assert trial["status"] == "FINISHED"
    assert [row[:2] for row in trial["metrics"]["train/loss"]] == [(1.0, 1), (0.5, 2), (1 / 3, 3)]
    assert "images_per_second" not in trial["metrics"]


def test_the_use_of_the_machine_is_a_system_metric(tmp_path: Path, folder: TrialFolder) -> None:
    usage = UsageRecord(cpu_percent=87.5, memory_megabytes=300, gpu_watts=70)
    timing = TimingRecord(epoch=3, seconds=1.0, images_per_second=9.0, finished_at=1e9, usage=usage)
    folder.append_epoch({"epoch": 3, "step": 15, "train/loss": 0.1}, timing)
    folder.write_status(State.PAUSED, 3, 3)
    sync(tmp_path, folder)
    metrics = dump(tmp_path)[1]["metrics"]
    shown = {name: [row[:2] for row in rows] for name, rows in metrics.items() if "system" in name}
    assert shown == {
        "system/process_cpu_percentage": [(87.5, 3)],
        "system/process_memory_megabytes": [(300, 3)],
        "system/gpu_0_power_usage_watts": [(70, 3)],
    }


def test_status_follows_the_trial(tmp_path: Path, folder: TrialFolder) -> None:
    claim = Claim.take(folder.path)
    assert claim
    folder.write_status(State.RUNNING, 2, 3)
    sync(tmp_path, folder)
    assert dump(tmp_path)[1]["status"] == "RUNNING"
    claim.release()  # as after SIGKILL: the status still says running, without a process
    sync(tmp_path, folder)
    assert dump(tmp_path)[1]["status"] == "KILLED"
    failure = ErrorRecord(kind="diverged", message="the loss was not finite")
    folder.write_status(State.FAILED, 2, 3, failure)
    sync(tmp_path, folder)
    failed = dump(tmp_path)[1]
    assert failed["status"] == "FAILED"
    assert failed["tags"]["error"] == "diverged: the loss was not finite"
    folder.write_status(State.PAUSED, 2, 3)  # to be tried again
    sync(tmp_path, folder)
    assert "error" not in dump(tmp_path)[1]["tags"]


def test_a_trial_that_is_run_anew_has_a_run_of_its_own(
    tmp_path: Path, folder: TrialFolder, tiny_config: TrialConfig
) -> None:
    """Rows of other code must not stand among the new ones."""
    finish(folder)
    sync(tmp_path, folder)
    folder.path.rename(tmp_path / "archived")
    folder.create(tiny_config)
    folder.write_provenance(ProvenanceRecord(code_version="c0de2", threads=1))
    write_epochs(folder, 1, 1)
    folder.write_status(State.PAUSED, 1, 3)
    sync(tmp_path, folder)
    sync(tmp_path, folder)
    parent, trial = dump(tmp_path)
    assert [row[:2] for row in trial["metrics"]["train/loss"]] == [(1.0, 1)]
    assert "head/gamma" not in trial["metrics"]
    assert trial["tags"]["care.code_version"] == "c0de2"
    assert parent["name"] == "s"


def test_the_report_is_attached(tmp_path: Path, empty_database: Path) -> None:
    copy_database(empty_database, tmp_path)
    page = tmp_path / "report.html"
    page.write_text("<p>")
    projection = MlflowSync(tmp_path)
    projection.attach("s", [page])
    projection.attach("s", [page])
    assert len(list((tmp_path / "mlflow-artifacts").rglob("report.html"))) == 1


def test_many_processes_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=open_mlflow, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    client, _ = open_mlflow(tmp_path)
    assert [e.name for e in client.search_experiments()].count(EXPERIMENT) == 1


def _open_where_no_file_can_grow(store: Path, largest: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    open_mlflow(store)


@pytest.mark.parametrize("largest", [0, 20_000, 300_000])
def test_a_disk_that_fills_up_while_tables_are_made(tmp_path: Path, largest: int) -> None:
    """A database with some of its tables could never be opened again."""
    process = multiprocessing.get_context("spawn").Process(
        target=_open_where_no_file_can_grow, args=(tmp_path, largest)
    )
    process.start()
    process.join(120)
    assert process.exitcode == 1
    assert [run["name"] for run in dump(tmp_path)] == []


class Unreliable:
    """Replaces MLflow's side of a sync: fails while it is down."""

    def __init__(self) -> None:
        self.down = False
        self.synced: list[str] = []
        self.called = threading.Event()

    def __call__(self, name: str) -> None:
        self.called.set()
        if self.down:
            raise ConnectionError("no route to host")
        self.synced.append(name)


def test_a_connection_of_a_read_only_moment_is_replaced(
    tiny_config: TrialConfig, empty_database: Path
) -> None:
    """SQLite never writes by a connection that it opened without the right to write."""
    with public_folder() as root:
        copy_database(empty_database, root)
        trial = begin(root, tiny_config)
        mlflow = MlflowSync(root)
        mlflow.sync_sweep("s", "what it is")
        mlflow.runs.client._tracking_client.store.engine.dispose()
        root.chmod(0o755)
        (root / "mlflow.db").chmod(0o644)
        with BOB.acting():  # who may only read
            mlflow.runs.client.search_experiments()
        tracker = BackgroundSync(lambda _: mlflow.sync_trial(seen(trial), "s"))
        tracker.touch(trial.trial_id)
        assert tracker.close(60)
        assert [run["name"] for run in dump(root)] == ["s", "λ=0.1 seed=0"]


def test_tracker_writes_what_was_touched(log_lines: list[str]) -> None:
    target = Unreliable()
    tracker = BackgroundSync(target)
    for _ in range(50):
        tracker.touch("a")
    tracker.touch("b")
    assert tracker.close(30)
    assert sorted(set(target.synced)) == ["a", "b"]
    assert len(target.synced) <= 4
    assert log_lines == []


def test_tracker_catches_up_when_mlflow_is_back(log_lines: list[str]) -> None:
    target = Unreliable()
    target.down = True
    tracker = BackgroundSync(target)
    tracker.touch("a")
    assert not target.called.wait(1.5), "nothing is done before the start"
    tracker.start()
    assert target.called.wait(30)
    started = time.monotonic()
    tracker.touch("b")
    assert time.monotonic() - started < 1, "touching must not wait for MLflow"
    target.down = False
    assert tracker.close(30)
    assert sorted(set(target.synced)) == ["a", "b"]
    assert len(log_lines) == 2
    assert "Training continues" in log_lines[0]
    assert "back" in log_lines[1]


def test_what_needs_no_mlflow_does_not_tell_that_it_is_back(log_lines: list[str]) -> None:
    def sync(name: str) -> bool:
        if name == "trial":
            raise ConnectionError("no route to host")
        return False

    tracker = BackgroundSync(sync)
    tracker.touch("trial")
    tracker.touch("nothing new")
    tracker.start()
    while not log_lines:
        tracker._thread.join(0.05)
    assert not tracker.close(30)
    assert len(log_lines) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("HTTPConnectionPool(): Max retries exceeded (Caused by NewConnectionError('Failed to "
         "establish a new connection: [Errno 111] Connection refused'))",
         "no answer: Connection refused"),
        ("Max retries exceeded (Caused by ReadTimeoutError('Read timed out. (read timeout=20)'))",
         "no answer: timed out"),
        ("Max retries exceeded (ResponseError('too many 503 error responses'))",
         "no answer: too many 503 error responses"),
        ("Permission denied\nTraceback", "Permission denied"),
        ("", "RuntimeError"),
    ],
)  # fmt: skip
def test_a_reason_is_short(text: str, reason: str) -> None:
    assert describe_error(RuntimeError(text)) == reason


@pytest.mark.parametrize("hurry", [False, True])
@pytest.mark.parametrize("names", [1, 40])
def test_tracker_is_waited_for_as_long_as_it_goes_on(names: int, hurry: bool) -> None:
    """Thousands of trials may be behind when a sweep ends, or one name take many batches."""
    accepted = 0

    def sync(name: str) -> None:
        nonlocal accepted
        for _ in range(40 // names):
            time.sleep(0.1)
            accepted += 1

    tracker = BackgroundSync(sync, (lambda: accepted) if names == 1 else (lambda: 0))
    for number in range(names):
        tracker.touch(str(number))
    assert tracker.close(1.5, lambda: hurry) is not hurry
    assert (accepted == 40) is not hurry


def test_tracker_gives_up_at_the_end_and_says_so() -> None:
    target = Unreliable()
    target.down = True
    tracker = BackgroundSync(target)
    tracker.touch("a")
    assert not tracker.close(30)


def test_names_do_not_depend_on_the_moment(tmp_path: Path, empty_database: Path) -> None:
    """A trial that Optuna suggests after the start is not in the plan that the start saw."""
    sweep = load(
        tmp_path,
        axes={WEIGHT: {"low": 0.0, "high": 1.0}},
        seeds=1,
        search={"name": "optuna", "trials": 1},
        name="later",
    )
    store = Store(tmp_path / "runs")
    copy_database(empty_database, store.root)
    board = Board(sweep.spec.metric, 1)
    tracking = SweepSync(sweep, store, board, None)
    tracking.start(make_plan(sweep, store))
    point = {WEIGHT: 0.25}
    config = sweep.trial(point, 0)
    entry = board.enter(trial_id(config), config, point)
    finish(begin(store.root, config, trial_id(config)))
    tracking.touch(trial_id(config))
    tracking.finish(make_plan(sweep, store), None, lambda: False)
    names = {run["name"]: run["status"] for run in dump(store.root)}
    assert names == {"later": "KILLED", entry.label: "FINISHED"}
    assert entry.label == "λ=0.25 seed=0"
