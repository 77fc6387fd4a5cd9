"""A sweep from its plan to its report, wherever its trials run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from care.config.metrics import COLLAPSE_METRIC
from care.system.claim import Claim
from care.system.files import DiskError
from care.trials.state import State
from sweeps.plan import Plan, make_plan
from sweeps.process.signals import Interrupt
from sweeps.process.wall_time import WallTime
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep
from sweeps.states import MEANING
from sweeps.store import Store, final_value
from sweeps.tracking.sweep_sync import SweepSync
from sweeps.tune.backend import Pool
from sweeps.tune.driver import Driver, take_sweep

View = Callable[[Board], AbstractContextManager[object]]


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run.

    Attributes:
        retry_failed: Whether failed trials are continued.
        rerun_stale: Whether trials of other code are run anew.
        tracking_uri: MLflow server; None for the store's own file.
        report: Whether the report is written.
        restart_search: Whether search and scheduler decide anew.
        rerun_damaged: Whether trials with damaged files are run anew.
    """

    retry_failed: bool = False
    rerun_stale: bool = False
    tracking_uri: str | None = None
    report: bool = True
    restart_search: bool = False
    rerun_damaged: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        plan: The plan held against the store afterwards.
        page: The report, if one was written.
        seconds: Of wall time, by what it was spent on.
        without_value: Finished trials that have no value of the sweep's metric.
    """

    plan: Plan
    page: Path | None
    seconds: dict[str, float]
    without_value: int = 0

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        counts = self.plan.counts()
        done = sum(counts[state] for state, meaning in MEANING.items() if meaning.complete)
        return done == self.plan.wanted

    @property
    def compared(self) -> bool:
        """Whether the sweep's metric has a value for any of the finished trials."""
        finished = self.plan.counts()[State.FINISHED]
        return finished == 0 or self.without_value < finished


class SweepRun:
    """Runs what is missing of a sweep, tracks it and reports it.

    Args:
        sweep: The sweep.
        store: Where its trials are.
        pool: Where they run.
        options: How.
        say: Called with lines for the user.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        pool: Pool,
        options: RunOptions,
        say: Callable[[str], None],
    ) -> None:
        self.sweep, self.store, self.pool = sweep, store, pool
        self.options, self._say = options, say

    def __call__(self, interrupt: Interrupt, view: View) -> Outcome:
        """Return when nothing is missing, or soon after an interrupt.

        Args:
            interrupt: Asked all the time.
            view: Shows the sweep's board while entered.

        Raises:
            LostClaimError: Another driver has taken the sweep over; nothing was written since.
        """
        claim = take_sweep(self.store.sweep(self.sweep.spec.name), interrupt, self._say)
        if claim is None:
            return Outcome(make_plan(self.sweep, self.store), None, {})
        with claim:
            claim.when_lost(interrupt.request)
            self.pool.hold(claim)
            outcome = self._drive(claim, interrupt, view)
            claim.check()
            self.pool.end(interrupted=interrupt.requested)
        return outcome

    def _drive(self, claim: Claim, interrupt: Interrupt, view: View) -> Outcome:
        plan = make_plan(self.sweep, self.store)
        time = WallTime(self.pool.slots)
        board = Board(self.sweep.spec.metric, plan.wanted, self._uniformity)
        board.plan(plan, self._metric)
        uri = self.options.tracking_uri
        tracking = SweepSync(self.sweep, self.store, board, uri, self._say, claim)
        driver = Driver(self.sweep, self.store, claim, self.pool, board, tracking.touch, self._say)
        tracking.start(self._whole(plan))
        page = None
        try:
            with view(board):
                driver.run(interrupt)
            time.mark("start-up", board.first_step_at)
            time.mark("trials")
            if self.options.report and not interrupt.hurried:
                page = self._report(claim)
            time.mark("report")
        except Exception:
            self._finish(tracking, None, interrupt)
            raise
        final = self._finish(tracking, page, interrupt)
        time.mark("tracking")
        return Outcome(final, page, time.parts(board.spent), board.without_value())

    def _finish(self, tracking: SweepSync, page: Path | None, interrupt: Interrupt) -> Plan:
        """Bring MLflow up to date; a second signal, which ends at once, does not get here."""
        final = make_plan(self.sweep, self.store)
        tracking.finish(self._whole(final), page, lambda: interrupt.requested)
        return final

    def _report(self, claim: Claim) -> Path:
        from sweeps.report import write_sweep_report

        try:
            whole = self.sweep.whole()
            return write_sweep_report(whole, self.store, again=False, work=claim.own_folder)
        except DiskError:
            claim.check()
            raise

    def _whole(self, plan: Plan) -> Plan:
        """Return the plan of all trials: report and MLflow show the sweep as declared."""
        return make_plan(self.sweep.whole(), self.store) if self.sweep.selection else plan

    def _uniformity(self, identity: str) -> float | None:
        return final_value(self.store.trial(identity), COLLAPSE_METRIC)

    def _metric(self, identity: str) -> float | None:
        """The sweep's metric of a finished trial."""
        return final_value(self.store.trial(identity), self.sweep.spec.metric.name)
