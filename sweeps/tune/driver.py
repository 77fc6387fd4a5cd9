"""The driver: launches the missing trials of a plan, until none is missing.

A launch is a fresh Ray Tune experiment over the trials that are missing now. Nothing of Tune's is
kept: when a launch ends, or dies, the next one plans from the store. One driver at a time runs
a sweep, the one that holds the claim on its folder; another one waits, and takes over if the first
one dies. A driver that was taken over while it was suspended writes nothing more.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.config.training import RuntimeConfig
from care.data.shared_batches import batch_key
from care.system.cgroup import oom_kills
from care.system.claim import Claim, holder
from care.system.files import DamagedFileError, DiskError
from care.trials.folder import TrialFolder
from care.trials.identity import identities
from care.trials.pinned import PinnedTrial
from care.trials.records import ErrorRecord
from care.trials.state import State
from sweeps.event_log import begin
from sweeps.plan import Plan, PlannedTrial, make_plan
from sweeps.process.polling import polling
from sweeps.process.signals import Interrupt
from sweeps.progress import Board
from sweeps.revisions.snapshot import snapshot_folder
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, SweepFolder, final_value
from sweeps.tune.backend import Backend
from sweeps.tune.disk_wait import PatientFolder
from sweeps.tune.ledger import Ledger
from sweeps.tune.messages import TrialTask

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LOOK_SECONDS = 1.0


def take_sweep(folder: SweepFolder, interrupt: Interrupt) -> Claim | None:
    """Claim a sweep; wait while another driver holds it.

    Returns:
        The claim, or None when interrupted.
    """
    waiting = False
    while not interrupt.requested:
        claim = Claim.take(folder.path)
        if claim:
            return claim
        if not waiting:
            _log.info(
                "This sweep is being run by %s; waiting for it. "
                "If it dies, this one takes over. Ctrl-C ends the wait only.",
                holder(folder.path),
            )
            waiting = True
        time.sleep(_POLL_SECONDS)
    return None


class Driver:
    """Runs one sweep on one Ray.

    Args:
        sweep: The sweep.
        store: Holds its trials.
        claim: On the sweep's folder.
        backend: Machines that its trials run on.
        board: Takes each trial's progress.
        changed: Called with the identity of each trial that changed.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        claim: Claim,
        backend: Backend,
        board: Board,
        changed: Callable[[str], None],
    ) -> None:
        self.sweep, self.store, self.backend, self.board = sweep, store, backend, board
        self._on_change = changed
        self._claim = claim
        self._folder = SweepFolder(store.sweep(sweep.spec.name).path, claim)
        # Tune's actors have a working folder of their own.
        self._folder_path, self._trials_path = self._folder.path.resolve(), store.trials.resolve()
        self._runtimes: dict[RuntimeConfig, RuntimeConfig] = {}
        self._oom_kills = oom_kills()
        self._may_grow = 0

    def run(self, interrupt: Interrupt) -> None:
        """Return when nothing is missing, or soon after an interrupt or a limit of the sweep.

        Raises:
            LostClaimError: Another driver has taken the sweep over.
            OtherQuestionError: The decisions in the sweep's log are about another question.
        """
        begin(self._folder, self.sweep)
        plan = make_plan(self.sweep, self.store)
        backend = self.backend
        ledger = Ledger(
            plan, self.store, self._folder, self.board, backend.resources, backend.slots
        )
        try:
            self._run(plan, ledger, interrupt)
        finally:
            ledger.close(left=self.board.left() > 0)

    def _run(self, plan: Plan, ledger: Ledger, interrupt: Interrupt) -> None:
        def stopping() -> bool:
            return interrupt.requested or ledger.reached()

        with ExitStack() as stack:
            scratch = None
            while not stopping():
                self._add_seeds(plan, stopping)
                self.backend.wants(self._left())
                missing = self._missing(plan)
                if missing or plan.unsuggested:
                    if scratch is None:
                        self.board.activity = "starting Ray"
                        log = self._folder.path / "ray.log"
                        scratch = stack.enter_context(self.backend.start(log))
                        interrupt.arm()
                        interrupt.on_request(self._pause)
                        ledger.on_reached(self._pause)
                        if not stopping():
                            self.board.activity = "starting trials"
                        stack.enter_context(polling("limits", _LOOK_SECONDS, ledger.look))
                    self._launch(plan, missing, scratch, stopping)
                    self.board.meter.end_all()
                else:
                    return
                if not stopping():
                    plan = make_plan(self.sweep, self.store)

    def _pause(self) -> None:
        self.board.activity = "pausing trials"
        self.backend.pause_trials()

    def _add_seeds(self, plan: Plan, stopping: Callable[[], bool]) -> None:
        """Log the comparisons that gave points their seeds, then enter the new trials."""
        if plan.seeds is None:
            return
        logged = self._folder.events()
        for record in plan.seeds.records():
            if record not in logged:
                PatientFolder(self._folder, stopping).log(record)
        self._may_grow = plan.seeds.may_grow
        self.board.extend(plan, self._metric)

    def _metric(self, identity: str) -> float | None:
        return final_value(self.store.trial(identity), self.sweep.spec.metric.name)

    def _left(self) -> int:
        """Number of trials for which machines are kept; further seeds may follow the last one."""
        return max(self.board.left(), self._may_grow)

    def _changed(self, identity: str) -> None:
        self.backend.wants(self._left())
        self._on_change(identity)

    def _missing(self, plan: Plan) -> list[PlannedTrial]:
        """List the trials to launch: those to train, then those that other processes have.

        A trial that another process runs, or ran when its node was lost, is tried until it is free
        or finished.
        """
        others = [trial for trial in plan.unique().values() if trial.state == State.RUNNING]
        return plan.missing() + others

    def _launch(
        self,
        plan: Plan,
        missing: list[PlannedTrial],
        scratch: Path,
        stopping: Callable[[], bool],
    ) -> None:
        from sweeps.tune.experiment import Launch
        from sweeps.tune.replay import Replay

        folder = PatientFolder(self._folder, stopping)
        launch = Launch(
            self.sweep,
            Replay(plan, self.store, folder, self.board, self._task),
            self.backend,
            self.board,
            scratch,
            holds=self._folder.path,
            changed=self._changed,
            stopping=stopping,
        )
        try:
            if plan.counts()[State.HELD]:  # they may be released while others train
                waiting = plan.missing(held=True)
                known = {trial.trial_id for trial in waiting}
                missing = waiting + [trial for trial in missing if trial.trial_id not in known]
            launch.run([self._task(trial.config, trial.point) for trial in missing])
        except Exception:
            self._claim.check()  # a lost claim may have ended the launch
            raise
        for identity, error in launch.lost.items():
            # The plan names a damaged trial; one whose disk is still full stays paused.
            with contextlib.suppress(DamagedFileError, DiskError):
                self._mark_lost(identity, error)

    def _task(self, config: TrialConfig, point: dict[str, Any]) -> TrialTask:
        """Make a trial's task, and enter the trial on the board."""
        resolved = self._resolved(config)
        identity, group = identities(config)
        scheduled = self.sweep.spec.scheduler.by_epoch
        packed = self.sweep.spec.pack != 1
        # A trial that starts first shares no process with those that come later.
        rank, _ = self.sweep.start_order(point, config.seed)
        self.board.enter(identity, config, point)
        return TrialTask(
            identity,
            resolved,
            self._trials_path / identity,
            replay=scheduled,
            batch_key=f"{rank} {batch_key(resolved)}" if packed else None,
            sweep=self._folder_path if packed and scheduled else None,
            only_weights=self.sweep.spec.checkpoints.keep == "encoder",
            group_id=group,
            holds=self._folder_path,
            snapshot=self._snapshot(config),
        )

    def _snapshot(self, config: TrialConfig) -> Path | None:
        """Return the folder of the code that trains a trial; None for this code."""
        if not isinstance(config, PinnedTrial):
            return None
        return snapshot_folder(self._folder_path, config.code_version)

    def _resolved(self, config: TrialConfig) -> TrialConfig:
        """Return a configuration as a process of the backend runs it."""
        given = config.runtime
        if given not in self._runtimes:
            self._runtimes[given] = given.model_copy(
                update={
                    "threads": self.backend.resources.threads,
                    "data_root": str(Path(given.data_root).resolve()),
                }
            )
        return config.model_copy(update={"runtime": self._runtimes[given]})

    def _explain(self, error: ErrorRecord) -> ErrorRecord:
        """Add to the error of a lost process how often it was retried, and signs of full memory."""
        if error.kind != "lost":
            return error
        tries = 1 + self.sweep.spec.resources.retries
        message = f"its process was lost {tries} times without progress: {error.message}"
        if oom_kills() > self._oom_kills:
            message += " (the kernel ended processes here, as the memory was full)"
        return error.model_copy(update={"message": message})

    def _mark_lost(self, identity: str, error: ErrorRecord) -> None:
        """Mark a trial failed that is not retried any more."""
        folder = self.store.trial(identity)
        claim = Claim.take(folder.path)
        if claim is None:
            return
        folder = TrialFolder(folder.path, claim)
        with claim:
            status = folder.read_status()
            if status and status.finished:
                return
            error = (status.error if status else None) or self._explain(error)
            epochs = self.board.trials[identity].epochs
            # A process that died before it opened the trial left no trial.json.
            folder.create(self._resolved(self.board.configs[identity]))
            folder.write_status(State.FAILED, status.epoch if status else 0, epochs, error)
        self.board.report(identity, State.FAILED, error=error.message)
        self._changed(identity)
