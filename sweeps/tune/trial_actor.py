"""The work of a process that trains: trials of the store, epoch by epoch, one task after another.

The process opens a trial's folder and resumes from its checkpoint, so any process, launch or
machine may have trained it before.
"""

from __future__ import annotations

import time
from dataclasses import replace

from care.data.shared_batches import SharedBatches
from care.training.pack import EpochResult, lockstep
from care.training.pack_size import Pace, SizeSearch
from care.training.trial_run import TrialRun
from care.trials.failure import classify
from care.trials.records import Values
from sweeps.event_log import read_decisions
from sweeps.holds import HoldWatch
from sweeps.process.wall_time import Stopwatch
from sweeps.store import SweepFolder
from sweeps.tune.claimed_trial import ClaimedTrial
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialResult
from sweeps.tune.node import Node
from sweeps.tune.pause_flag import PAUSING_SECONDS, REPORT_SECONDS, PauseFlag

_ENDS_THE_PROCESS = ("out_of_memory", "lost")


class TrialActor:
    """Trains the trials of one task.

    Args:
        task: The task.
    """

    def __init__(self, task: PackTask) -> None:
        self._task = task
        self._node = Node.of_this_process()
        self._stop = PauseFlag(self._node)
        self._holds = HoldWatch(task.trials[0].holds)
        self._holds.look()
        self._pausing = False  # as a user holds one of the trials
        self._trials = [ClaimedTrial(trial, self._node) for trial in task.trials]
        self._shared: SharedBatches | None = None
        self._waiting = list(self._trials)
        self._training: dict[TrialRun, ClaimedTrial] = {}
        self._evaluation_seconds = 0.0
        # A pack whose size is not known has a search for it, and a pace while it may grow.
        self._search: SizeSearch | None = None
        self._pace: Pace | None = None
        self._size: int | None = None

    def close(self) -> None:
        """Release all trials of the task."""
        for trial in self._trials:
            trial.close()

    def step(self) -> PackResult:
        """Train for an epoch, or for a second of short ones, and report each trial that changed.

        Raises:
            Exception: The memory is full, or another process of the trial was lost; this process
                has to end.
        """
        watch = Stopwatch()
        results = self._open() if self._shared is None else []
        watch.lap("start of trials")
        results += self._drop_stopped()
        results += self._replay() or self._train()
        watch.lap("training")
        watch.move("evaluation", self._evaluation_seconds, out_of="training")
        self._evaluation_seconds = 0.0
        done = not self._training
        if done:
            results += self._return_waiting()
        return PackResult(tuple(results), done, watch.seconds, self._size)

    def _open(self) -> list[TrialResult]:
        """Open all trials, or the first of a pack whose size is not known yet."""
        self._shared = SharedBatches()
        if self._task.neighbors is None:
            results = self._open_next(len(self._waiting))
        else:
            results = self._open_next(1)
            self._search = SizeSearch(len(self._trials), self._task.neighbors)
            self._pace = self._new_pace()
        if not self._training and self._stop():
            # A node that pauses gets one trial after another until its Ray has ended.
            time.sleep(PAUSING_SECONDS)
        return results

    def _open_next(self, count: int) -> list[TrialResult]:
        """Open waiting trials until ``count`` train; return results about those that do not."""
        results = []
        while self._waiting and len(self._training) < count:
            trial = self._waiting.pop(0)
            try:
                waits = self._stop() or self._is_held(trial)
                run = None if waits else trial.open(self._shared)
            except Exception as error:  # noqa: BLE001 - the trial's own, which it reports
                results.append(self._fail(trial, error))
                continue
            if run:
                self._training[run] = trial
            else:
                outcome = Outcome.PAUSED if waits else Outcome.BUSY
                results.append(trial.result(outcome))
        return results

    def _drop_stopped(self) -> list[TrialResult]:
        """Release the members of a pack that the scheduler has stopped."""
        sweep = self._task.trials[0].sweep
        if sweep is None or not self._packed:
            return []
        stopped = read_decisions(SweepFolder(sweep)).stopped()
        trials = [trial for trial in self._training.values() if trial.is_stopped(stopped)]
        return [self._release(trial, Outcome.STOPPED) for trial in trials]

    def _replay(self) -> list[TrialResult]:
        """Report an earlier epoch of each trial again, for the scheduler."""
        return [
            trial.result(Outcome.RUNNING, trial.replayed.pop(0))
            for trial in self._training.values()
            if trial.replayed
        ]

    def _train(self) -> list[TrialResult]:
        """Train for an epoch; follow it by further ones that end within a second of its start.

        The driver handles some hundred results a second, whatever the length of an epoch. It needs
        each one for a scheduler only, and at once if a trial has ended or a pack still grows.
        """
        began = time.monotonic()
        results = self._train_epoch()
        longest = time.monotonic() - began
        while (
            self._may_train_another(results) and time.monotonic() - began + longest < REPORT_SECONDS
        ):
            epoch_began = time.monotonic()
            results = _latest(results + self._train_epoch())
            longest = max(longest, time.monotonic() - epoch_began)
        return results

    def _may_train_another(self, results: list[TrialResult]) -> bool:
        scheduled = any(trial.replay for trial in self._task.trials)
        quiet = not any(result.done for result in results)
        return bool(self._training) and quiet and not scheduled and self._pace is None

    def _train_epoch(self) -> list[TrialResult]:
        """Train the trials with the lowest epoch for one epoch; release those that finished."""
        results = [
            self._release_finished(trial)
            for run, trial in list(self._training.items())
            if run.finished
        ]
        for step in lockstep(self._training, self._should_pause):
            results += [self._report(run, epoch) for run, epoch in step.ended.items()]
            if self._pace and (seconds := self._pace.measure(step)):
                results += self._grow(seconds)
        return results

    def _should_pause(self) -> bool:
        """Return whether all trials here should pause: the node does, or a user holds one of them.

        The others of a pack resume at once, in another one.
        """
        if self._stop():
            return True
        if self._holds.look():
            self._pausing = any(map(self._is_held, self._training.values()))
        return self._pausing

    def _is_held(self, trial: ClaimedTrial) -> bool:
        return self._holds.of(trial.task.group_id, trial.task.config.seed) is not None

    def _report(self, run: TrialRun, epoch: EpochResult) -> TrialResult:
        trial = self._training[run]
        if isinstance(epoch, Exception):
            return self._fail(trial, epoch)
        if epoch is None:
            return self._release(trial, Outcome.PAUSED)
        if run.finished:
            return self._release(trial, Outcome.FINISHED, epoch)
        return trial.result(Outcome.RUNNING, epoch)

    def _grow(self, seconds: float) -> list[TrialResult]:
        """Open trials up to the size that pays, and return the others once it is known.

        Args:
            seconds: Of a step of all trials so far.
        """
        assert self._search
        assert self._shared
        before = len(self._training)
        trainers = [run.trainer for run in self._training if not run.finished]
        wanted = self._search.next(seconds, self._shared.seconds, trainers)
        results = self._open_next(wanted)
        if len(self._training) > before and not self._search.settled:
            self._pace = self._new_pace()
        else:
            self._size, self._pace = wanted, None
            results += self._return_waiting()
        return results

    def _new_pace(self) -> Pace | None:
        device = next((run.trainer.device for run in self._training if not run.finished), None)
        return Pace(device) if device else None

    def _return_waiting(self) -> list[TrialResult]:
        waiting, self._waiting = self._waiting, []
        return [trial.result(Outcome.NOT_STARTED) for trial in waiting]

    def _release_finished(self, trial: ClaimedTrial) -> TrialResult:
        """Report a trial that was finished before."""
        try:
            metrics = trial.final_metrics()
        except Exception as error:  # noqa: BLE001 - the trial's own, which it reports
            return self._fail(trial, error)
        return self._release(trial, Outcome.FINISHED, metrics)

    def _fail(self, trial: ClaimedTrial, error: Exception) -> TrialResult:
        """Release a trial that an error ended; raise the error if the process has to end."""
        # A file that another process writes at the moment may look damaged.
        kind = "superseded" if trial.superseded else classify(error)
        if kind == "out_of_memory" and self._packed:
            self._forget(trial)
            trial.put_back()
            return trial.result(Outcome.OUT_OF_MEMORY)
        if kind == "superseded":
            return self._release(trial, Outcome.BUSY)
        if kind in _ENDS_THE_PROCESS:
            self._drop(trial)
            raise error
        outcome = Outcome.DISK_ERROR if kind == "disk" else Outcome.FAILED
        return self._release(trial, outcome, error=f"{kind}: {error}")

    def _release(
        self,
        trial: ClaimedTrial,
        outcome: Outcome,
        metrics: Values | None = None,
        error: str | None = None,
    ) -> TrialResult:
        if outcome == Outcome.FINISHED:
            trial.prune_checkpoints()
        self._drop(trial)
        return trial.result(outcome, metrics, error)

    def _drop(self, trial: ClaimedTrial) -> None:
        self._forget(trial)
        trial.close()

    def _forget(self, trial: ClaimedTrial) -> None:
        """Remove a trial from those that train, and count its evaluation."""
        if trial.run and self._training.pop(trial.run, None):
            self._evaluation_seconds += trial.run.evaluation_seconds

    @property
    def _packed(self) -> bool:
        return len(self._trials) > 1


def _latest(results: list[TrialResult]) -> list[TrialResult]:
    """Keep the last result of each trial, with the warnings of all."""
    latest: dict[str, TrialResult] = {}
    for result in results:
        earlier = latest.pop(result.trial_id, None)
        warnings = earlier.warnings if earlier else ()
        latest[result.trial_id] = replace(result, warnings=warnings + result.warnings)
    return list(latest.values())
