"""The benchmarks' own logic; nothing here is timed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.agreement import check_step
from benchmarks.history import slower_than_before
from benchmarks.measure import FASTER, SECONDS, Line, ratios
from benchmarks.sides import SideError
from benchmarks.whole_sweep import check_equal
from benchmarks.workload import Workload
from care.errors import ConfigError


def _line(low: float, high: float, unit: str = FASTER) -> Line:
    return Line("a-line", "another way", (low + high) / 2, low, high, unit)


@pytest.mark.parametrize(
    ("before", "after", "slower"),
    [
        (_line(2.0, 3.0), _line(1.0, 1.9), True),
        (_line(2.0, 3.0), _line(1.0, 2.1), False),
        (_line(2.0, 3.0), _line(3.5, 4.0), False),
        (_line(2.0, 3.0, SECONDS), _line(3.1, 4.0, SECONDS), True),
        (_line(2.0, 3.0, SECONDS), _line(1.0, 1.9, SECONDS), False),
    ],
)
def test_slower_is_what_lies_outside_the_earlier_range(
    tmp_path: Path, before: Line, after: Line, slower: bool
) -> None:
    history = tmp_path / "history.json"
    assert slower_than_before(history, [before]) == []
    assert bool(slower_than_before(history, [after])) is slower
    assert slower_than_before(history, [after]) == []


def test_lines_that_were_not_measured_stay_known(tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    slower_than_before(history, [_line(2.0, 3.0)])
    slower_than_before(history, [])
    assert slower_than_before(history, [_line(1.0, 1.5)])


def test_a_damaged_history_is_begun_anew(tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    history.write_text("{")
    assert slower_than_before(history, [_line(2.0, 3.0)]) == []


def test_a_ratio_is_of_times_measured_in_turn() -> None:
    line = ratios("a-line", "another way", [(1.0, 2.0), (2.0, 10.0), (1.0, 3.0)])
    assert (line.low, line.ratio, line.high) == (2.0, 3.0, 5.0)


def test_a_bad_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as refused:
        main("care-step-smal")
    assert refused.value.problems[0].nearest == "care-step-small"


def test_the_authors_step_computes_what_ours_does() -> None:
    check_step(Workload("small"))


def test_a_sweep_is_compared_with_equal_work_only() -> None:
    ours = {"trial": {"loss": 0.1, "undefined": float("nan")}}
    check_equal(ours, {"trial": {"loss": 0.1, "undefined": float("nan"), "more": 1.0}})
    for other in ({"loss": math.nextafter(0.1, 1.0)}, {}):
        with pytest.raises(SideError, match="loss"):
            check_equal(ours, {"trial": other})


def test_the_scale_benchmark_runs_a_whole_sweep(tmp_path: Path) -> None:
    """Real are plan, store, driver, Tune's controller and MLflow; the trials are not trained."""
    file = tmp_path / "scale.json"
    options = "--trials 20 --workers 4 --processes 2 --epochs 5 --epoch-seconds 0.3 --catch-up"
    command = [sys.executable, "-m", "benchmarks.scale", *options.split(), "--json", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr, "of a thread"
    results = json.loads(file.read_text())
    assert results["windows"]
    assert results["MLflow runs at the end"] == 21, "one of the sweep"
    assert {"care track sync", "second run"} <= results["stages"].keys()
