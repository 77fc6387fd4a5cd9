"""Name the states of a trial, with one word each everywhere."""

from __future__ import annotations

import enum
from typing import Literal


class State(enum.StrEnum):
    """The state of a trial.

    Attributes:
        FINISHED: Trained and measured.
        RUNNING: A living process trains it.
        PAUSED: Resumes from a checkpoint, perhaps within its first epoch.
        NEW: Nothing is computed.
        HELD: Not to be trained until a user releases it.
        STOPPED: A sweep's scheduler ended it early, or did not start it.
        ELSEWHERE: A process of another sweep, or of ``care train``, trains it.
        FAILED: An error ended it.
        STALE: Computed with other code or data than the present ones.
        DAMAGED: One of its files cannot be read or rebuilt.
    """

    FINISHED = "finished"
    RUNNING = "running"
    PAUSED = "paused"
    NEW = "new"
    HELD = "held"
    STOPPED = "stopped"
    ELSEWHERE = "elsewhere"
    FAILED = "failed"
    STALE = "stale"
    DAMAGED = "damaged"


RecordedState = Literal[State.RUNNING, State.PAUSED, State.FINISHED, State.FAILED]
"""The states in a trial's ``status.json``; a killed process leaves ``running`` behind."""
