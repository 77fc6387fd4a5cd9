"""The account of a run while it runs: hours are counted and written, and limits end the run."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from care.system.claim import LostClaimError
from care.system.files import DamagedFileError, DiskError
from care.trials.records import read_record
from care.trials.state import State
from sweeps.account import (
    ACCOUNT,
    AccountRecord,
    Hours,
    Meter,
    StopName,
    describe_budget,
    describe_failures,
    hours_in_store,
    planned_hours,
    read_account,
    too_many_failed,
    used_up,
    write_account,
)
from sweeps.plan import Plan, trial_configs
from sweeps.price import PastTrials, price_of
from sweeps.progress import Board
from sweeps.resources import Resources
from sweeps.store import Store, SweepFolder

_log = logging.getLogger(__name__)

_WRITE_SECONDS = 10.0


class Ledger:
    """Counts the hours of a run, and reports when a limit of the sweep is reached.

    Args:
        plan: The sweep's plan before the run.
        store: Its store.
        folder: Its folder, with the driver's claim.
        board: The trials of the run; gets a meter that starts with the hours of earlier runs.
        resources: Of a machine, and a trial's part of them.
        slots: Trials that run side by side.

    Attributes:
        stopped: The limit that is reached; empty until then.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        folder: SweepFolder,
        board: Board,
        resources: Resources,
        slots: int,
    ) -> None:
        self._spec, self._store, self._folder = plan.sweep.spec, store, folder
        self._board, self._resources = board, resources
        self._written_at = 0.0
        self._actions: list[Callable[[], None]] = []
        self.stopped: StopName = ""
        self._account = self._open(plan, slots)
        board.meter = Meter(self._account.spent, resources.request)

    def _open(self, plan: Plan, slots: int) -> AccountRecord:
        account = AccountRecord()
        path = self._folder.path / ACCOUNT
        is_new = not path.exists()
        try:
            account = read_record(path, AccountRecord) or account
        except DamagedFileError as error:
            _log.warning("%s Its hours are derived from the trials' logs.", error)
            is_new = True
        if is_new or account.running:  # no driver has counted, or the last one was killed
            spent = account.spent.or_more(self._derived(plan))
            account = account.model_copy(
                update={"core_hours": spent.core, "gpu_hours": spent.gpu, "running": False}
            )
        if is_new and account.spent == Hours() and (plan.missing() or plan.unsuggested):
            past = PastTrials(self._store, self._spec.resources.gpus, self._resources.threads)
            if planned := planned_hours(price_of(plan, past, slots)):
                changes = {"planned_core_hours": planned.core, "planned_gpu_hours": planned.gpu}
                account = account.model_copy(update=changes)
        return account

    def _derived(self, plan: Plan) -> Hours:
        """Derive the hours of the sweep's trials since its first start."""
        declaration = self._folder.read()
        since = declaration.created if declaration else ""
        identities = trial_configs(plan.sweep.whole(), self._store)
        trials = map(self._store.trial, identities)
        return hours_in_store(trials, since, self._spec.resources.gpus)

    def on_reached(self, action: Callable[[], None]) -> None:
        """Call ``action`` when a limit is reached."""
        self._actions.append(action)

    def reached(self) -> bool:
        """Return whether a limit is reached; the first one stays the reason."""
        if not self.stopped:
            self._check()
            if self.stopped:
                for action in self._actions:
                    action()
        return bool(self.stopped)

    def _check(self) -> None:
        if too_many_failed(self._spec, self._board.failed):
            self.stopped = "failures"
        elif used_up(self._spec, self._board.meter.read()):
            self.stopped = "budget"

    def look(self) -> bool:
        """Check the limits, and write the account now and then; return False."""
        self.reached()
        if time.monotonic() - self._written_at > _WRITE_SECONDS:
            self._written_at = time.monotonic()
            with contextlib.suppress(DiskError, LostClaimError):  # the next call writes it
                write_account(self._folder, self._counted(running=True))
        return False

    def close(self, *, left: bool) -> None:
        """Write the account of a run that ends, unless it is unchanged.

        Args:
            left: Whether trials are left, so that a limit that was reached ended the run.
        """
        self._board.meter.end_all()
        if not self.stopped:  # an interrupt may have come first
            self._check()
        account = self._counted(running=False)
        if left and self.stopped:
            account = account.model_copy(
                update={"stopped": self.stopped, "reason": self._describe()}
            )
        if account != read_account(self._folder):
            with contextlib.suppress(DiskError, LostClaimError):
                write_account(self._folder, account)

    def _counted(self, *, running: bool) -> AccountRecord:
        spent = self._board.meter.read()
        return self._account.model_copy(
            update={
                "core_hours": spent.core,
                "gpu_hours": spent.gpu,
                "running": running,
                "stopped": "",
                "reason": "",
            }
        )

    def _describe(self) -> str:
        board = self._board
        if self.stopped == "failures":
            return describe_failures(self._spec, board.failed.values())
        unit = used_up(self._spec, board.meter.read())
        finished = board.counts().get(State.FINISHED, 0)
        return describe_budget(self._spec, unit, finished, board.target) if unit else ""
