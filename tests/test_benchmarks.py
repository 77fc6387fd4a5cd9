"""The benchmarks' own logic; nothing here is timed."""

from __future__ import annotations

import math
import multiprocessing
import threading
from pathlib import Path

import pytest
from ray import cloudpickle

from benchmarks.__main__ import main
from benchmarks.agreement import check_step
from benchmarks.history import slower_than_before
from benchmarks.measure import FASTER, SECONDS, Line, ratios
from benchmarks.sides import SideError
from benchmarks.simulated_node import UntrainedRun, run_node
from benchmarks.whole_sweep import check_equal
from benchmarks.workload import Workload
from care.config import TrialConfig
from care.errors import ConfigError
from care.trials.folder import TrialFolder
from sweeps.backends.scratch import make_scratch
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialTask
from sweeps.tune.node import Node


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


def test_a_simulated_worker_does_all_of_a_trial_but_its_training(
    tiny_config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(make_scratch(tmp_path))
    for name, value in node.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("claimed_trial.TrialRun", "trial_actor.time"):  # to be restored afterwards
        monkeypatch.setattr(f"sweeps.tune.{name}", UntrainedRun)
    here, there = multiprocessing.Pipe()
    worker = threading.Thread(target=run_node, args=(there, 0.3, node), daemon=True)
    worker.start()

    def call(number: int, method: str, **arguments: object) -> object:
        here.send((number, 0, method, cloudpickle.dumps(((), arguments))))
        assert here.poll(60), "no answer"
        return cloudpickle.loads(here.recv()[1])

    folder = tmp_path / "trial"
    call(0, "__init__", config=PackTask((TrialTask("a", tiny_config, folder),)).to_config())
    results = [PackResult.from_result(call(1, "train")).trials[0]]  # type: ignore[arg-type]
    while not results[-1].done:
        results.append(PackResult.from_result(call(2, "train")).trials[0])  # type: ignore[arg-type]
    assert [one.metrics["epoch"] for one in results] == [3], "of 0.3 s each: one message"
    assert results[-1].outcome == Outcome.FINISHED
    status = TrialFolder(folder).read_status()
    assert status
    assert status.finished
    call(3, "stop")
    here.send(None)
    worker.join(60)
    assert not worker.is_alive()
