"""Every state has a meaning, and what people and MLflow see of it."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from care.trials.state import RecordedState, State
from sweeps.states import MEANING, TO_TRAIN, in_words

MLFLOW = {"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}  # mlflow.entities.RunStatus


def test_every_state_has_a_meaning() -> None:
    assert set(MEANING) == set(State)
    assert not any(meaning.left and meaning.over for meaning in MEANING.values())
    assert all(meaning.over for meaning in MEANING.values() if meaning.complete)
    assert all(MEANING[state].left for state in TO_TRAIN)


def test_every_state_that_a_folder_records_has_a_status_in_mlflow() -> None:
    assert {MEANING[state].mlflow for state in get_args(RecordedState)} <= MLFLOW


def test_a_run_trains_stale_and_damaged_trials_only_when_asked() -> None:
    asked = {state for state, meaning in MEANING.items() if not (meaning.left or meaning.over)}
    assert asked == {State.STALE, State.DAMAGED, State.HELD}, "held ones are released by a command"


def test_counts_in_words_leave_out_what_does_not_occur() -> None:
    counts = Counter({State.NEW: 2, State.STALE: 0, State.FINISHED: 4})
    assert in_words(counts) == "4 finished, 2 new"
    assert in_words({}) == ""
