"""The meaning of each state of a trial for the sweep, the terminal and MLflow, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from care.trials.state import State


@dataclass(frozen=True)
class Meaning:
    """A row of :data:`MEANING`.

    Attributes:
        left: Whether the trial is running or still to run. A held one is not, until it is released.
        over: Whether it ended, with success or not. A trial that only ``--rerun-stale`` or
            ``--rerun-damaged`` trains, or that is held, is neither left nor over.
        complete: Whether nothing is left to do for it in this sweep.
        style: Rich's style on a terminal.
        mlflow: Status of its run in MLflow; empty if the run has that of the recorded state.
    """

    left: bool = False
    over: bool = False
    complete: bool = False
    style: str = ""
    mlflow: str = ""


MEANING = {
    State.FINISHED: Meaning(over=True, complete=True, style="green", mlflow="FINISHED"),
    State.RUNNING: Meaning(left=True, style="cyan", mlflow="RUNNING"),
    State.PAUSED: Meaning(left=True, mlflow="KILLED"),
    State.NEW: Meaning(left=True),
    State.HELD: Meaning(style="magenta", mlflow="KILLED"),
    State.STOPPED: Meaning(over=True, complete=True),
    State.ELSEWHERE: Meaning(left=True),
    State.FAILED: Meaning(over=True, style="red", mlflow="FAILED"),
    State.STALE: Meaning(style="yellow"),
    State.DAMAGED: Meaning(style="red", mlflow="FAILED"),
}
"""Every state, in the order in which people see them."""

TO_TRAIN = (State.NEW, State.PAUSED)
"""States of trials that a run trains by default and that no process trains now."""


UNFINISHED = (*(state for state in MEANING if MEANING[state].left), State.HELD)
"""States of trials that will still be trained, some of them once they are released."""


def in_words(counts: Mapping[State, int]) -> str:
    """Describe numbers of trials: ``4 finished, 2 new``."""
    return ", ".join(f"{counts[state]} {state}" for state in MEANING if counts.get(state))
