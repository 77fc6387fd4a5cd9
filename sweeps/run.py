"""The run of a sweep from its plan to its report, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from care.config.metrics import COLLAPSE_METRIC
from care.system.claim import Claim
from care.system.files import DiskError
from care.trials.state import State
from sweeps.account import AccountRecord, read_account
from sweeps.notify.notifier import make_notifier
from sweeps.plan import Plan, make_plan
from sweeps.process.signals import Interrupt
from sweeps.process.wall_time import WallTime
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, final_value
from sweeps.tracking.sweep_sync import SweepSync
from sweeps.tune.backend import Backend
from sweeps.tune.driver import Driver, take_sweep

_CTRL_C = 130

View = Callable[[Board], AbstractContextManager[object]]


@dataclass(frozen=True)
class RunOptions:
    """Options of a run, as on the command line.

    Attributes:
        retry_failed: Whether to resume failed trials.
        rerun_stale: Whether to rerun trials of other code or data.
        tracking_uri: MLflow's tracking URI; None for the store's SQLite file.
        report: Whether to write the report.
        restart_search: Whether to restart the search and the scheduler.
        rerun_damaged: Whether to rerun trials with damaged files.
    """

    retry_failed: bool = False
    rerun_stale: bool = False
    tracking_uri: str | None = None
    report: bool = True
    restart_search: bool = False
    rerun_damaged: bool = False


@dataclass(frozen=True)
class SweepResult:
    """The outcome of a run.

    Attributes:
        plan: The sweep's plan after the run.
        page: The report, if one was written.
        seconds: Seconds of wall time by activity.
        without_value: Number of finished trials without a value of the sweep's metric.
        account: The sweep's hours, and the limit that ended the run.
    """

    plan: Plan
    page: Path | None
    seconds: dict[str, float]
    without_value: int = 0
    account: AccountRecord = field(default_factory=AccountRecord)

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        return self.plan.complete

    def in_a_word(self, interrupt: Interrupt) -> str:
        """Name the outcome: complete, unfinished, interrupted, or the limit that ended the run."""
        if self.complete:
            return "complete"
        if self.account.stopped:
            return self.account.stopped
        return "interrupted" if interrupt.requested else "unfinished"

    @property
    def compared(self) -> bool:
        """Whether the sweep's metric has a value for any of the finished trials."""
        finished = self.plan.counts()[State.FINISHED]
        return finished == 0 or self.without_value < finished


class SweepRun:
    """Runs the missing trials of a sweep, tracks them and writes the report.

    Args:
        sweep: The sweep.
        store: The store of its trials.
        backend: The backend that runs them.
        options: Options of the run.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        backend: Backend,
        options: RunOptions,
    ) -> None:
        self.sweep, self.store, self.backend = sweep, store, backend
        self.options = options

    def __call__(self, interrupt: Interrupt, view: View) -> SweepResult:
        """Run the sweep until no trial is missing, or until soon after an interrupt or a limit.

        Args:
            interrupt: Polled throughout the run.
            view: Shows the sweep's board while entered.

        Raises:
            LostClaimError: Another driver has taken over the sweep; nothing was written since.
        """
        claim = take_sweep(self.store.sweep(self.sweep.spec.name), interrupt)
        if claim is None:
            return SweepResult(make_plan(self.sweep, self.store), None, {})
        with claim, make_notifier(self.sweep, self.store) as notifier:
            claim.when_lost(interrupt.request)
            self.backend.hold(claim)
            outcome = self._drive(claim, interrupt, notifier.watching(view))
            claim.check()
            # After a limit no machine waits for another driver.
            interrupted = interrupt.requested and not outcome.account.stopped
            self.backend.end(interrupted=interrupted)
            if interrupt.status != _CTRL_C:  # its user is here
                word = outcome.in_a_word(interrupt)
                notifier.end(word, outcome.page, outcome.account.reason or word)
        return outcome

    def _drive(self, claim: Claim, interrupt: Interrupt, view: View) -> SweepResult:
        plan = make_plan(self.sweep, self.store)
        time = WallTime(self.backend.slots)
        monitor = self.sweep.base_config().evaluation.monitor
        board = Board(self.sweep.spec.metric, plan.wanted, self._uniformity, monitor)
        board.plan(plan, self._metric)
        uri = self.options.tracking_uri
        tracking = SweepSync(self.sweep, self.store, board, uri, claim)
        driver = Driver(self.sweep, self.store, claim, self.backend, board, tracking.touch)
        tracking.start(self._plan_all(plan))
        page = None
        try:
            with view(board):
                driver.run(interrupt)
            time.mark("start-up", board.first_step_at)
            time.mark("trials")
            tracking.prepare_models()
            if self.options.report and not interrupt.hurried:
                page = self._report(claim)
            time.mark("report")
        except Exception:
            self._finish(tracking, None, interrupt)
            raise
        final = self._finish(tracking, page, interrupt)
        time.mark("tracking")
        account = read_account(self.store.sweep(self.sweep.spec.name))
        parts = time.parts(board.spent)
        return SweepResult(final, page, parts, board.without_value(), account)

    def _finish(self, tracking: SweepSync, page: Path | None, interrupt: Interrupt) -> Plan:
        """Bring MLflow up to date. A second signal ends the process without this step."""
        final = make_plan(self.sweep, self.store)
        tracking.finish(self._plan_all(final), page, lambda: interrupt.requested)
        return final

    def _report(self, claim: Claim) -> Path:
        from sweeps.report import write_sweep_report

        try:
            return write_sweep_report(
                self.sweep.whole(), self.store, if_current=False, work=claim.own_folder
            )
        except DiskError:
            claim.check()
            raise

    def _plan_all(self, plan: Plan) -> Plan:
        """Return the plan of all trials: report and MLflow show the sweep as declared."""
        return make_plan(self.sweep.whole(), self.store) if self.sweep.selection else plan

    def _uniformity(self, identity: str) -> float | None:
        return final_value(self.store.trial(identity), COLLAPSE_METRIC)

    def _metric(self, identity: str) -> float | None:
        return final_value(self.store.trial(identity), self.sweep.spec.metric.name)
