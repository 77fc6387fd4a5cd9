"""What a person sees while a sweep runs."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import pytest
from rich.console import Console

from care.config import MonitorConfig, TrialConfig
from care.trials.state import State
from sweeps.live import LiveView, duration
from sweeps.plan import make_plan
from sweeps.progress import Board, TrialProgress
from sweeps.spec.search import MetricConfig
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate, load
from tests.helpers.processes import wait_for

METRIC = MetricConfig(name="head/gamma", mode="min")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Four trials of three epochs: one is finished already, one is at its second epoch."""
    clock = itertools.count(step=1)  # every look at the clock is a second later
    monkeypatch.setattr("sweeps.progress.time.monotonic", lambda: float(next(clock)))
    sweep = load(tmp_path, axes={WEIGHT: [0, 0.1]}, seeds=2)
    store = Store(tmp_path / "runs")
    fabricate(store, sweep.trial({WEIGHT: 0}, 0), State.FINISHED, 3)
    fabricate(store, sweep.trial({WEIGHT: 0}, 1), State.PAUSED, 1)
    made = Board(METRIC, 4)
    made.plan(make_plan(sweep, store), lambda _: 0.5)
    return made


def identity(board: Board, point: str, seed: int) -> str:
    (found,) = (
        name for name, trial in board.trials.items() if (trial.point, trial.seed) == (point, seed)
    )
    return found


def test_counts(board: Board) -> None:
    assert board.counts() == {"finished": 1, "paused": 1, "new": 2}
    running = identity(board, "λ=0.1", 0)
    board.report(running, State.RUNNING, {"epoch": 1, "images_per_second": 1e4})
    assert board.counts() == {"finished": 1, "running": 1, "paused": 1, "new": 1}
    board.complete(running)
    assert board.counts() == {"finished": 1, "stopped": 1, "paused": 1, "new": 1}
    board.report(identity(board, "λ=0.1", 1), State.FAILED, error="broke")
    board.report(identity(board, "λ=0", 1), State.ELSEWHERE)
    assert board.counts() == {"finished": 1, "stopped": 1, "failed": 1, "elsewhere": 1}


def test_what_optuna_has_still_to_suggest_is_new() -> None:
    assert Board(METRIC, 30).counts() == {"new": 30}


def test_time_left(board: Board) -> None:
    assert board.seconds_left() is None
    board.report(identity(board, "λ=0.1", 0), State.RUNNING, {"epoch": 2})
    left = 2 + 1 + 3  # epochs of λ=0 seed 1, of this trial, and of the one that is new
    rate = board.epochs_per_second()
    assert rate > 0
    assert board.seconds_left() == pytest.approx(left / rate, rel=0.5)
    assert [trial.seed for trial in board.running()] == [0]


def test_nothing_left_takes_no_time(board: Board) -> None:
    for name in board.trials:
        board.report(name, State.FINISHED)
    assert board.seconds_left() == 0


def test_epochs_that_were_done_before_are_not_this_launchs_speed(board: Board) -> None:
    board.report(identity(board, "λ=0", 1), State.RUNNING, {"epoch": 1})
    assert board.seconds_left() is None


def test_the_best_is_a_mean_over_finished_seeds(board: Board) -> None:
    assert board.best() == ("λ=0", 0.5, 1)
    better = {"epoch": 3, "head/gamma": 0.1}
    board.report(identity(board, "λ=0", 1), State.FINISHED, better)
    assert board.best() == ("λ=0", 0.3, 2)
    running = {"epoch": 2, "head/gamma": 0.0}
    board.report(identity(board, "λ=0.1", 0), State.RUNNING, running)
    assert board.best() == ("λ=0", 0.3, 2)
    board.report(identity(board, "λ=0.1", 0), State.FINISHED, {"head/gamma": 0.0})
    assert board.best() == ("λ=0.1", 0.0, 1)


def shown(board: Board, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None)
    with LiveView(board, "tiny", console):
        pass
    return file.getvalue()


def test_a_terminal_gets_a_table_of_what_runs(board: Board) -> None:
    running = identity(board, "λ=0.1", 0)
    board.report(running, State.RUNNING, {"epoch": 2, "images_per_second": 12345.6})
    text = shown(board, terminal=True)
    (row,) = (line for line in text.splitlines() if "2/3" in line)
    assert row.split()[:3] == ["λ=0.1", "0", "2/3"]
    assert "12,346" in row
    assert "1 finished   1 running   1 paused   1 new" in text
    assert "best so far λ=0: head/gamma 0.5 (mean, n = 1)" in text


def test_a_file_gets_a_line_at_the_end(board: Board) -> None:
    text = shown(board, terminal=False)
    assert "tiny: 1 finished, 1 paused, 2 new; best so far λ=0" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_final_metric_has_a_stand_in_while_a_trial_trains(board: Board) -> None:
    """head/gamma comes at the end; heldout/gamma is there after every epoch."""
    line = {"epoch": 2, "heldout/gamma": 0.4321, "train/loss": 3.0}
    board.report(identity(board, "λ=0.1", 0), State.RUNNING, line)
    text = shown(board, terminal=True)
    (header,) = (line for line in text.splitlines() if "images/s" in line)
    (row,) = (line for line in text.splitlines() if "2/3" in line)
    assert header.split()[-1] == "heldout/gamma"
    assert row.split()[-1] == "0.4321"
    assert Board(MetricConfig(name="encoder/knn_accuracy"), 1).column == "train/loss"
    assert Board(MetricConfig(name="train/equivariance"), 1).column == "train/equivariance"


def test_a_metric_of_every_few_epochs_stays_until_the_next() -> None:
    monitor = MonitorConfig(every=2, measures=("knn_accuracy",))
    made = Board(MetricConfig(name="encoder/knn_accuracy"), 1, monitor=monitor)
    made.enter("one", TrialConfig(), {})
    made.report("one", State.RUNNING, {"epoch": 2, "heldout/knn_accuracy": 0.7})
    made.report("one", State.RUNNING, {"epoch": 3, "train/loss": 3.0})
    assert made.column == "heldout/knn_accuracy"
    assert made.trials["one"].latest == 0.7


def test_the_silent_start_is_named(board: Board) -> None:
    file = io.StringIO()
    board.activity = "starting Ray"
    with LiveView(board, "tiny", Console(file=file, force_terminal=True, width=80)):
        wait_for(lambda: "starting Ray …" in file.getvalue())
    assert "elapsed " in file.getvalue()
    assert not str(board.activity), "at the end nothing starts any more"
    lines = io.StringIO()
    board.activity = "starting Ray"
    with LiveView(board, "tiny", Console(file=lines, width=80)):
        wait_for(lambda: "tiny (starting Ray): 1 finished" in lines.getvalue())
    board.activity = "starting trials"
    board.report(identity(board, "λ=0.1", 0), State.RUNNING, {"epoch": 1})
    assert not str(board.activity)
    board.activity = "pausing trials"
    board.report(identity(board, "λ=0.1", 0), State.RUNNING, {"epoch": 2})
    assert str(board.activity) == "pausing trials"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_rows_fit_the_terminal(width: int) -> None:
    board = Board(MetricConfig(name="heldout/positive_cosine"), 40)
    for number in range(40):
        name = f"a long name [b] of a variant, number {number}, λ=0.123 splits=16"
        board.trials[str(number)] = TrialProgress(
            name, 0, 400, 399, State.RUNNING, latest=-0.0001234, images_per_second=123456.0
        )
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=width, height=20, color_system=None, markup=False
    )
    with LiveView(board, "long-" * 12, console):
        pass
    lines = [re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", line) for line in file.getvalue().splitlines()]
    rows = [line for line in lines if "399/400" in line]
    assert rows
    assert all(len(line.rstrip()) <= width for line in lines)
    for row in rows:
        assert "-0.0001234" in row
        assert "123,456" in row
        assert row.startswith("a long")
    assert any("more" in line for line in lines), "the table leaves room for the footer"
    assert any("time left" in line for line in lines)


def test_collapse_is_left_out_of_the_best_and_marked(board: Board) -> None:
    for seed, uniformity in ((0, 0.2), (1, 0.965)):
        measures = {"head/gamma": 0.01, "heldout/uniformity": uniformity}
        board.report(identity(board, "λ=0.1", seed), State.FINISHED, measures)
    text = shown(board, terminal=False)
    assert "best so far λ=0: head/gamma 0.5 (mean, n = 1; left out: ⚠ 1 nearly collapsed)" in text


def test_where_all_points_nearly_collapsed_there_is_no_best(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes={WEIGHT: [0, 0.1]}, seeds=1)
    store = Store(tmp_path / "runs")
    for weight in (0, 0.1):
        fabricate(store, sweep.trial({WEIGHT: weight}, 0), State.FINISHED, 3)
    made = Board(METRIC, 2, uniformity=lambda _: 0.9)
    made.plan(make_plan(sweep, store), lambda _: 0.5)
    assert made.best() is None
    assert "best so far – (left out: ⚠ 2 nearly collapsed)" in shown(made, terminal=False)


def test_points_with_other_seeds_are_not_compared(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes={WEIGHT: [0, 0.1, 1]}, seeds=3)
    store = Store(tmp_path / "runs")
    made = Board(METRIC, 9)
    made.plan(make_plan(sweep, store), lambda _: None)
    values = {"λ=0": (0.5, 0.5, 0.5), "λ=0.1": (0.4, 0.4, 0.4), "λ=1": (0.1,)}
    for point, found in values.items():
        for seed, value in enumerate(found):
            made.report(identity(made, point, seed), State.FINISHED, {"head/gamma": value})
    best = made.best()
    assert best
    assert (best[0], best[2]) == ("λ=0.1", 3)
    assert best[1] == pytest.approx(0.4)
    assert "(mean, n = 3; left out: 1 with other seeds)" in shown(made, terminal=False)


def test_points_whose_labels_read_alike_are_two(tmp_path: Path) -> None:
    close = (0.123456789, 0.123456788)
    sweep = load(tmp_path, axes={WEIGHT: list(close)}, seeds=1)
    made = Board(METRIC, 2)
    made.plan(make_plan(sweep, Store(tmp_path / "runs")), lambda _: None)
    for trial, value in zip(made.trials, (0.1, 0.9), strict=True):
        made.report(trial, State.FINISHED, {"head/gamma": value})
    assert made.best() == ("λ=0.1235", 0.1, 1)
