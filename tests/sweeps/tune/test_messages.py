"""A message arrives as it was sent, whatever Ray and Tune do to the dict that carries it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import cloudpickle
from ray.tune.utils import flatten_dict, merge_dicts

from care.config import TrialConfig
from care.trials.state import State
from sweeps.states import MEANING
from sweeps.tune.messages import (
    Outcome,
    PackResult,
    PackTask,
    TrialResult,
    TrialTask,
    UnopenedStarts,
    trim_result,
)

names = st.text(min_size=1)
counts = st.integers(1, 100)
paths = st.builds(Path, names.filter(lambda name: "\0" not in name))
metrics = st.dictionaries(names, st.floats(allow_nan=False))
trial_tasks = st.builds(
    TrialTask,
    trial_id=names,
    config=st.builds(TrialConfig, seed=st.integers(0, 2**31)),
    folder=paths,
    replay=st.booleans(),
    batch_key=st.none() | names,
    sweep=st.none() | paths,
    share=counts,
    disk_errors=counts,
    alone=st.booleans(),
    unopened=st.none() | st.builds(UnopenedStarts, counts, counts),
)
tasks = st.builds(
    PackTask, st.lists(trial_tasks, min_size=1, max_size=3).map(tuple), st.none() | counts
)
trial_results = st.builds(
    TrialResult,
    trial_id=names,
    outcome=st.sampled_from(Outcome),
    created=st.text(),
    metrics=metrics,
    warnings=st.lists(st.text()).map(tuple),
    error=st.none() | st.text(),
)
results = st.builds(
    PackResult,
    st.lists(trial_results, max_size=3).map(tuple),
    st.booleans(),
    metrics,
    st.none() | counts,
)


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """Pass a dict through a process boundary, as Ray does."""
    received: dict[str, Any] = cloudpickle.loads(cloudpickle.dumps(message))
    return received


@given(tasks)
def test_a_task(task: PackTask) -> None:
    """Tune merges a copy of the configuration into one of its own before it is sent."""
    config = merge_dicts({}, copy.deepcopy(task.to_config()))
    assert PackTask.from_config(sent(config)) == task


@given(results)
def test_a_result(result: PackResult) -> None:
    """Tune adds keys, and flattens the dict for searches and schedulers."""
    received = sent(result.to_result()) | {"trial_id": "tune", "training_iteration": 1}
    assert PackResult.from_result(flatten_dict(received)) == result
    assert received["done"] == result.done, "Tune reads when a trial is over"


@pytest.mark.parametrize("nothing", [None, {}, {"training_iteration": 0}])
def test_a_process_that_reported_nothing(nothing: dict[str, Any] | None) -> None:
    assert PackResult.from_result(nothing) == PackResult()


@given(results)
def test_a_trimmed_result_has_every_outcome(result: PackResult) -> None:
    message = result.to_result()
    trim_result(message, ["epoch"])
    trimmed = PackResult.from_result(message)
    assert [(trial.trial_id, trial.outcome, trial.error) for trial in trimmed.trials] == [
        (trial.trial_id, trial.outcome, trial.error) for trial in result.trials
    ]
    assert not any(trial.metrics.keys() - {"epoch"} for trial in trimmed.trials)


def test_every_outcome_is_a_state_of_a_trial_that_was_handed_out() -> None:
    states = {outcome: state for outcome in Outcome if (state := outcome.state)}
    assert set(Outcome) - set(states) == {Outcome.NOT_STARTED}
    assert not {State.NEW, State.STALE, State.DAMAGED} & set(states.values())
    assert {name for name, state in states.items() if MEANING[state].over} == {
        Outcome.FINISHED,
        Outcome.FAILED,
        Outcome.STOPPED,
    }
