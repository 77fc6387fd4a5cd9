"""One launch: a fresh Ray Tune experiment over tasks for the trainable."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ray import tune

from care.trials.records import ErrorRecord
from sweeps.holds import HoldWatch
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep
from sweeps.tune.backend import Backend
from sweeps.tune.callback import DriverCallback, PausedStopper
from sweeps.tune.held_trials import HeldTrials
from sweeps.tune.messages import PackTask, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.replay import Replay
from sweeps.tune.retry import RetryPolicy
from sweeps.tune.scheduler import FirstComeScheduler
from sweeps.tune.trainable import CareTrainable

_STAGED = 16
_STAGED_OF_A_SEARCH = 4


class Launch:
    """Runs tasks until they are done, failed or, if the launch is stopped, paused.

    Tune itself retries nothing: a trial that is not over returns to the queue.

    Args:
        sweep: The sweep.
        replay: Its search and scheduler.
        backend: Machines that its trials run on.
        board: Takes each trial's progress.
        scratch: A local folder for Tune's files.
        holds: The sweep's folder, where users hold points.
        changed: Called with the identity of each trial that changed.
        stopping: Returns whether the launch is to end.
    """

    def __init__(
        self,
        sweep: Sweep,
        replay: Replay,
        backend: Backend,
        board: Board,
        scratch: Path,
        *,
        holds: Path,
        changed: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.sweep, self.backend, self.scratch = sweep, backend, scratch
        self._replay = replay
        policy = RetryPolicy(sweep.spec.resources.retries, backend.resources.largest_share)
        pack = sweep.spec.pack
        self._queue = TaskQueue(
            policy,
            stopping,
            pack,
            backend.slots,
            backend.resources.largest_share,
        )
        self._callback = DriverCallback(
            board, self._queue, changed, [metric.name for metric in sweep.spec.objectives]
        )
        held = HeldTrials(HoldWatch(holds), board, self._queue, changed)
        self._stopper = PausedStopper(stopping, self._callback, held.look)
        self._queue.on_stop.append(changed)

    @property
    def lost(self) -> dict[str, ErrorRecord]:
        """Trials that get no other try though they are not over, with the reason."""
        return self._callback.lost

    def run(self, tasks: Iterable[TrialTask]) -> None:
        """Block until the launch is over."""
        for task in tasks:
            self._queue.put(task)
        # Tune reads it when the experiment starts.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self._staged)
        request = self.backend.resources.request
        tuner = tune.Tuner(
            tune.with_resources(
                CareTrainable,
                lambda config: _placement(*request(PackTask.from_config(config).share)),
            ),
            tune_config=tune.TuneConfig(
                search_alg=self._replay.search(self._queue),
                scheduler=self._replay.scheduler or FirstComeScheduler(),
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=self.backend.concurrency,
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
        point that Optuna suggests early is suggested with less knowledge, and a further seed that
        is taken early is decided about with less.
        """
        if self.sweep.spec.scheduler.by_seed:
            return 1
        return _STAGED_OF_A_SEARCH if self.sweep.spec.search.suggests else _STAGED


@functools.cache
def _placement(cpus: float, gpus: float) -> Any:
    """Make the request of a trial; one object for all trials, since Tune keeps it with each."""
    return tune.PlacementGroupFactory([{"CPU": cpus, "GPU": gpus}])
