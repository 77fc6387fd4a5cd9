from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from sweeps.process.wall_time import Stopwatch, WallTime, format_wall_time
from sweeps.progress import Board
from sweeps.spec.search import MetricConfig
from tests.helpers.declaring import declare
from tests.helpers.processes import care


def test_parts_add_up_to_the_time_since_the_process_started() -> None:
    wall = WallTime(slots=2)
    now = time.monotonic()
    wall.mark("start-up", now + 10)
    wall.mark("trials", now + 110)
    wall.mark("tracking", now + 115)
    parts = wall.parts({"training": 150.0, "evaluation": 30.0})
    assert list(parts) == ["start-up", "training", "evaluation", "idle", "tracking"]
    assert (parts["training"], parts["evaluation"]) == (75, 15)
    assert parts["idle"] == pytest.approx(10)
    assert parts["tracking"] == pytest.approx(5)
    assert parts["start-up"] > 10.1, "python itself takes a tenth of a second to start"


def test_a_watch_loses_nothing() -> None:
    watch, began = Stopwatch(), time.monotonic()
    time.sleep(0.02)
    watch.lap("one")
    time.sleep(0.02)
    watch.lap("two")
    whole, laps = time.monotonic() - began, sum(watch.seconds.values())
    assert 0.04 <= laps <= whole
    watch.move("three", 0.005, out_of="two")
    assert watch.seconds["three"] == 0.005
    assert sum(watch.seconds.values()) == pytest.approx(laps)


def test_a_table_adds_up() -> None:
    lines = format_wall_time({"training": 30.0, "idle": 10.0})
    assert [line.split()[-2] for line in lines[1:]] == ["75.0", "25.0", "100.0"]


def test_the_phase_of_the_trials_begins_with_the_step_that_began_first() -> None:
    board, began = Board(MetricConfig(name="encoder/knn_accuracy"), target=2), time.monotonic()
    board.spend({"start of trials": 1.0, "training": 2.0})
    board.spend({"start of trials": 9.0, "training": 1.0})  # longer, so reported second
    board.spend({"training": 1.0})
    assert board.first_step_at is not None
    assert began - 10 <= board.first_step_at <= time.monotonic() - 10


def test_a_sweep_says_where_its_time_went(tmp_path: Path) -> None:
    declare(tmp_path)
    began = time.monotonic()
    said = care("sweep", "run", "sweep.yaml", "--no-report", "--timings", cwd=tmp_path).stdout
    whole = time.monotonic() - began
    seconds = {
        name.strip(): float(value)
        for name, value in re.findall(r"^  (\D+?) +([-\d.]+) s", said, re.M)
    }
    together = seconds.pop("together")
    assert set(seconds) >= {
        "start-up",
        "start of trials",
        "training",
        "evaluation",
        "idle",
        "tracking",
    }
    assert sum(seconds.values()) == pytest.approx(together, abs=0.5)
    assert min(seconds.values()) > -0.1
    assert 0.5 * whole < together <= whole
