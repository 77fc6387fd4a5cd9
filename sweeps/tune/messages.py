"""Messages between the driver, Ray Tune and the processes that train.

Tune passes dicts. A message travels as the one entry of such a dict, pickled whole; only this
module makes and reads those dicts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from care.config import TrialConfig
from care.trials.state import State

_TASK, _RESULT = "task", "result"


class Outcome(StrEnum):
    """The last event of a trial in the process that has it.

    Attributes:
        RUNNING: Trained for an epoch; the next one follows.
        FINISHED: Trained and evaluated.
        FAILED: Ended by an error that another try would repeat.
        PAUSED: Checkpointed and released, because its node drains.
        STOPPED: Ended early by the scheduler, as a member of a pack.
        BUSY: Claimed by another process.
        DISK_ERROR: Released, because its folder cannot be written now.
        OUT_OF_MEMORY: Released, because it does not fit beside the other members of its pack.
        NOT_STARTED: Returned unopened: its pack has as many members as pay.
        LOST: Its process ended without a last result. Set by the driver, never by the process.
    """

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    PAUSED = "paused"
    STOPPED = "stopped"
    BUSY = "busy"
    DISK_ERROR = "disk_error"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_STARTED = "not_started"
    LOST = "lost"

    @property
    def state(self) -> State | None:
        """The state that the sweep's table shows; None where the trial's state is unchanged."""
        return _STATES[self]


_STATES: dict[Outcome, State | None] = {
    Outcome.RUNNING: State.RUNNING,
    Outcome.FINISHED: State.FINISHED,
    Outcome.FAILED: State.FAILED,
    Outcome.PAUSED: State.PAUSED,
    Outcome.STOPPED: State.STOPPED,
    Outcome.BUSY: State.ELSEWHERE,
    Outcome.DISK_ERROR: State.PAUSED,
    Outcome.OUT_OF_MEMORY: State.PAUSED,
    Outcome.NOT_STARTED: None,
    Outcome.LOST: State.PAUSED,
}


@dataclass(frozen=True)
class UnopenedStarts:
    """Losses of a trial's process before it had opened the trial, in a row.

    Attributes:
        starts: Lines of the trial's ``starts.jsonl`` at the last loss.
        losses: Losses since that file grew.
    """

    starts: int
    losses: int


@dataclass(frozen=True)
class TrialTask:
    """A trial to train.

    Attributes:
        trial_id: Its identity.
        config: Its configuration, with the threads of this backend and an absolute ``data_root``.
        folder: Its folder in the store.
        replay: Report epochs that are done again, because a scheduler needs them.
        batch_key: Equal for trials that can share batches; None for a trial that has its process
            for itself.
        sweep: Folder of the sweep whose scheduler may stop it as a member of a pack, or None.
        share: Factor on a trial's part of a machine, 1 or more.
        disk_errors: Tries in a row that ended because the folder could not be written.
        alone: Never packed again, because it lost its process or memory in a pack.
        unopened: Losses so far, for the next decision about another try.
        snapshot: Folder of the code that trains it; None for this code.
        only_weights: Replace the checkpoints by a weights file once the trial is finished.
        group_id: Its identity without the seed, by which users hold points.
        holds: Folder of the sweep whose users may hold it, or None.
    """

    trial_id: str
    config: TrialConfig = field(repr=False)
    folder: Path
    replay: bool = False
    batch_key: str | None = field(default=None, repr=False)
    sweep: Path | None = None
    share: int = 1
    disk_errors: int = 0
    alone: bool = False
    unopened: UnopenedStarts | None = None
    only_weights: bool = False
    group_id: str = ""
    holds: Path | None = None
    snapshot: Path | None = None


@dataclass(frozen=True)
class PackTask:
    """Trials for one process. One of Tune's trials is one pack, also of a single trial.

    Attributes:
        trials: One, or several that share batches.
        neighbors: Number of packs, this one included, that share a GPU, or the memory of a machine
            without one; the process chooses how many of the trials it trains. None: all of them.
    """

    trials: tuple[TrialTask, ...]
    neighbors: int | None = None

    def __deepcopy__(self, memo: object) -> Self:
        """Return the task itself: it is frozen, and Tune copies a configuration several times."""
        return self

    @property
    def trial_ids(self) -> list[str]:
        """Identities of its trials."""
        return [trial.trial_id for trial in self.trials]

    @property
    def share(self) -> int:
        """Factor on a trial's part of a machine; a pack takes one part."""
        return self.trials[0].share

    def to_config(self) -> dict[str, Any]:
        """Make the configuration that Tune passes to the trainable."""
        return {_TASK: self}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read the configuration of one of Tune's trials."""
        task: Self = config[_TASK]
        return task


@dataclass(frozen=True)
class TrialResult:
    """The progress of one trial.

    Attributes:
        trial_id: The trial.
        outcome: Its last event.
        created: When its folder was created; empty for a trial that was not opened.
        metrics: The last epoch's line of ``metrics.jsonl`` and images per second, with the final
            measures of a finished trial.
        warnings: For the user.
        error: The error that ended it, or None.
    """

    trial_id: str
    outcome: Outcome
    created: str = ""
    # Not printed: Tune formats each result for its debug log, which nobody reads.
    metrics: Mapping[str, Any] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def done(self) -> bool:
        """Whether the process has released the trial."""
        return self.outcome != Outcome.RUNNING


@dataclass(frozen=True)
class PackResult:
    """One step of a process.

    Attributes:
        trials: A result for each trial that changed.
        done: Whether the process has released all trials of its task.
        seconds: Time that the step took, by activity.
        size: Trials that pay in a pack like this one, once the process has measured it.
    """

    trials: tuple[TrialResult, ...] = ()
    done: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)
    size: int | None = None

    def to_result(self) -> dict[str, Any]:
        """Make the result that Tune takes from the trainable."""
        return {_RESULT: self, "done": self.done}

    @classmethod
    def from_result(cls, result: Mapping[str, Any] | None) -> Self:
        """Read a result that Tune passes on; an empty one if the process had reported none."""
        found: Self = (result or {}).get(_RESULT, cls())
        return found


def trim_result(result: dict[str, Any], metrics: Collection[str]) -> None:
    """Remove all but ``metrics`` of each trial from a result that Tune keeps."""
    whole = PackResult.from_result(result)
    trials = (
        replace(
            trial,
            metrics={name: value for name, value in trial.metrics.items() if name in metrics},
            warnings=(),
        )
        for trial in whole.trials
    )
    result[_RESULT] = replace(whole, trials=tuple(trials), seconds={})
