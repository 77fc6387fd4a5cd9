"""One name of a point, wherever a person meets it."""

from __future__ import annotations

import html
import re
from pathlib import Path

from care.trials.state import State
from sweeps.cli.sweep import prepare
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.plan import make_plan
from sweeps.process.terminal import make_console
from sweeps.progress import Board
from sweeps.report import write_sweep_report
from sweeps.run import RunOptions
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.declaring import WEIGHT, declare, fabricate
from tests.helpers.tracked import copy_database, run_ids

RATE = "optimizer.learning_rate"


def test_the_terminal_mlflow_and_the_report_print_one_name(
    tmp_path: Path, empty_database: Path
) -> None:
    """And each part of it chooses trials with ``--only``."""
    axes = {WEIGHT: [0.0, 0.1], RATE: [0.03, 0.12345]}
    arguments = SweepArguments(declare(tmp_path, axes=axes, metric={"name": "head/gamma"}))
    sweep = arguments.load()
    store = Store(tmp_path / "runs")
    copy_database(empty_database, store.root)
    plan = make_plan(sweep, store)
    for number, trial in enumerate(plan.trials):
        fabricate(store, trial.config, State.FINISHED, 3, measures={"head/gamma": 0.1 * number})
    prepare(arguments, make_plan(sweep, store), store, RunOptions(), make_console())

    best = "λ=0.1 learning_rate=0.12345"
    planned = [trial.label for trial in make_plan(sweep, store).trials]
    board = Board(sweep.spec.metric, target=8)
    board.plan(make_plan(sweep, store), lambda _: 0.5)
    sync_store(store, None)
    tracked = run_ids(store.root)
    page = html.unescape(write_sweep_report(sweep, store).read_text(encoding="utf-8"))
    assert f"{best} seed=0" in planned
    assert best in [entry.point for entry in board.trials.values()]
    assert f"{best} seed=0" in tracked
    assert re.search(rf"Best by γ_f, [^.]* is {re.escape(best)}: .*, of 4 points with 2 ", page)
    chosen = make_plan(sweep.select(best.split(), "1"), store).trials
    assert [trial.label for trial in chosen] == [f"{best} seed=0"]
