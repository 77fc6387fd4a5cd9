"""One launch: a fresh Ray Tune experiment over tasks for the trainable."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from sweeps.process.signals import Interrupt
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep
from sweeps.tune.backend import Pool
from sweeps.tune.messages import identities, results_of
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import RetryPolicy
from sweeps.tune.search_and_scheduler import Deciders
from sweeps.tune.trainable import CareTrainable

_GRACE_SECONDS = 60.0
_STAGED = 16
_STAGED_OF_A_SEARCH = 4


class Launch:
    """Runs tasks until they are done, failed or, after an interrupt, paused.

    Tune itself retries nothing: what is not over goes back to the queue.

    Attributes:
        lost: Trials that get no other try though they are not over, by identity, with the reason.
    """

    def __init__(
        self,
        sweep: Sweep,
        deciders: Deciders,
        pool: Pool,
        board: Board,
        scratch: Path,
        *,
        changed: Callable[[str], None],
        say: Callable[[str], None],
        interrupt: Interrupt,
    ) -> None:
        self.sweep, self.pool, self.scratch = sweep, pool, scratch
        self._deciders = deciders
        policy = RetryPolicy(sweep.spec.resources.retries, pool.resources.largest_share)
        pack = sweep.spec.pack
        self._queue = TaskQueue(policy, lambda: interrupt.requested, pack, pool.slots)
        self._callback = _Callback(board, self._queue, changed, say)
        self._stopper = _Stopper(interrupt, self._callback)

    @property
    def lost(self) -> dict[str, str]:
        """See the class's text."""
        return self._callback.lost

    def run(self, tasks: list[dict[str, Any]]) -> None:
        """Blocks until the launch is over."""
        for task in tasks:
            self._queue.put(task)
        # Tune reads it when the experiment starts.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self._staged)
        # A pack's metrics are those of its members.
        os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
        tuner = tune.Tuner(
            tune.with_resources(CareTrainable, self.pool.resources.request),
            tune_config=tune.TuneConfig(
                search_alg=self._deciders.search(self._queue),
                scheduler=self._deciders.scheduler,
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=self.pool.concurrency,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name=f"launch-{uuid.uuid4().hex[:8]}",
                storage_path=str(self.scratch / "tune"),
                callbacks=[self._callback],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
                stop=self._stopper,
                verbose=0,
            ),
        )
        tuner.fit()

    @property
    def _staged(self) -> int:
        """Trials that Tune has actors started for at a time.

        Tune's own choice, one, would let nodes that arrive together start one after another. A
        point that Optuna suggests early is suggested with less knowledge.
        """
        return _STAGED_OF_A_SEARCH if self.sweep.spec.search.name == "optuna" else _STAGED


class _NotSaved:
    """Pickled as nothing: Tune saves its parts for its own restore, which is never used."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Callback(_NotSaved, tune.Callback):  # type: ignore[misc]
    """Tells the board, and whoever else wants to know, of everything Tune hears."""

    def __init__(
        self,
        board: Board,
        queue: TaskQueue,
        changed: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._board, self._queue = board, queue
        self._changed = changed
        self._say = say
        self._said: set[str] = set()
        self.lost: dict[str, str] = {}
        self.active: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial got its actor."""
        self.active.update(identities(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported."""
        self._board.spend(result.get("spent", {}))
        for identity, told in results_of(trial.config, result):
            self._take(identity, told)
        _keep_little(result, self._board.metric.name)

    def _take(self, identity: str, told: dict[str, Any]) -> None:
        if told["done"]:
            self.active.discard(identity)
        self._board.report(identity, told)
        label = self._board.trials[identity].label
        for text in told.get("warnings", ()):
            self._say(f"{label}: {text}")
        if told["outcome"] == "disk":
            self._say_once(told["error"])
        if told["outcome"] == "crowded":
            self._say(f"{label}: the memory is full; it goes on alone.")
        self._changed(identity)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial is over; one that said it goes on was stopped by the scheduler."""
        for identity in identities(trial.config):
            self.active.discard(identity)
            self._board.complete(identity)
            if identity in self._queue.given_up:
                self.lost[identity] = str(trial.last_result.get("error"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process was lost; the queue has decided about another try."""
        for identity in identities(trial.config):
            self.active.discard(identity)
            self._board.lose(identity)
            if identity in self._queue.given_up:
                self.lost[identity] = _reason(trial)
            else:
                label = self._board.trials[identity].label
                self._say(f"{label}: its process was lost; it resumes from its last checkpoint.")
            self._changed(identity)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(f"{text} It is tried again every few seconds.")


def _reason(trial: Any) -> str:
    """Return what Tune recorded of a trial's last error.

    ``trial.get_error()`` reads a copy that Tune makes later.
    """
    try:
        text = Path(trial.error_file).read_text(errors="replace").strip()
    except (OSError, TypeError):  # Tune has no file, or could not write it
        text = ""
    return text or "Ray gives no reason"


def _keep_little(result: dict[str, Any], metric: str) -> None:
    """Leave of a result what the end of a trial is judged by.

    Tune keeps statistics of every number of every trial, 200 KB a trial, and writes them all when
    the experiment ends, though the driver may have little time then. The store has the numbers.
    """
    kept = {"trial_id", "created", "training_iteration", "done", "outcome", "error", "epoch"}
    kept |= {"pack", metric}
    for told in (result, *result.get("members", ())):
        for name in told.keys() - kept - {"members"}:
            del told[name]


class _Stopper(_NotSaved, tune.Stopper):  # type: ignore[misc]
    """Ends the experiment after an interrupt, once the running trials have paused."""

    def __init__(self, interrupt: Interrupt, callback: _Callback) -> None:
        self._interrupt = interrupt
        self._callback = callback
        self._asked_at: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped here."""
        return False

    def stop_all(self) -> bool:
        """Whether the experiment is over."""
        if not self._interrupt.requested:
            return False
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        return not self._callback.active or time.monotonic() - self._asked_at > _GRACE_SECONDS
