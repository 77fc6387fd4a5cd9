"""A sweep's trials in MLflow while it runs, and all sweeps' when asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from care.config import TrialConfig
from care.errors import CareError
from care.system.claim import LostClaimError, holder
from care.system.files import Writer
from care.trials.staleness import Versions
from care.trials.state import RecordedState, State
from sweeps.plan import Plan, make_plan
from sweeps.plan_remarks import mixed
from sweeps.progress import Board
from sweeps.spec.spec import Sweep, restore_sweep
from sweeps.states import MEANING
from sweeps.store import Store, SweepFolder
from sweeps.tracking.background import Tracker, why
from sweeps.tracking.destination import Destination
from sweeps.tracking.mlflow_sync import Projection
from sweeps.tracking.trial_record import TrackedTrial, look_at, report_files

_LONGEST_STANDSTILL_SECONDS = 60.0
# Places in the tracker that no trial's identity can take.
_PARENT, _BEFORE, _REPORT, _EVERYTHING = "parent", "before", "report", "everything"


class SweepTracking:
    """Keeps the runs of one sweep up to date in the background.

    Args:
        sweep: The sweep.
        store: Where its trials are.
        board: Has every trial before it is touched.
        uri: Where MLflow keeps runs; None for the store's own SQLite file.
        say: Called with lines for the user.
        writer: The driver's claim on the sweep: once it is lost, nothing more is written.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        board: Board,
        uri: str | None,
        say: Callable[[str], None],
        writer: Writer | None = None,
    ) -> None:
        self.sweep, self.store = sweep, store
        self._projection = Projection(store.root, uri, say)
        self._say = say
        self._writer = writer or Writer()
        self._board = board
        self._versions = Versions()
        self._planned: dict[str, tuple[str, TrialConfig]] = {}
        self._before: list[str] = []
        self._state: RecordedState = State.RUNNING
        self._mixed = "no"
        self._files: list[Path] = []
        self._tracker = Tracker(self._sync, say)

    def start(self, plan: Plan) -> None:
        """Note every trial that was ever started: what a crash kept from MLflow is made up for."""
        self._planned = {trial.trial_id: (trial.label, trial.config) for trial in plan.trials}
        self._before, self._mixed = list(plan.unique()), _mixed(plan)
        self._tracker.touch(_PARENT)
        self._tracker.touch(_BEFORE)

    def touch(self, trial_id: str) -> None:
        """A trial has news, so Ray is up and it is time to begin with MLflow."""
        self._tracker.start()
        self._tracker.touch(trial_id)

    def finish(self, plan: Plan, page: Path | None, hurry: Callable[[], bool]) -> None:
        """Bring everything up to date, the parent run with the report last.

        Args:
            plan: How the sweep stands now.
            page: Its report, if it was written.
            hurry: Whether somebody wants this process to end.
        """
        self._state, self._mixed = _state(plan), _mixed(plan)
        self._versions = Versions()  # data may have changed since the start
        self._planned |= {trial.trial_id: (trial.label, trial.config) for trial in plan.trials}
        for identity in plan.unique():
            self._tracker.touch(identity)
        if page:
            self._files = report_files(page.parent)
            self._tracker.touch(_REPORT)
        self._tracker.touch(_PARENT)
        self._tracker.touch(_EVERYTHING)
        if not self._tracker.close(_LONGEST_STANDSTILL_SECONDS, hurry):
            self._say("MLflow is not up to date; 'care track sync' makes up for it.")

    def _sync(self, name: str) -> bool:
        """Bring one part up to date; whether MLflow had to be asked."""
        try:
            self._writer.check()
        except LostClaimError:
            return False
        spec = self.sweep.spec
        if name == _PARENT:
            self._projection.sync_sweep(spec.name, spec.description, self._state, self._mixed)
        elif name == _BEFORE:
            if not self._projection.recall(spec.name, self._look(self._before)):
                for identity in self._before:
                    self._tracker.touch(identity)
        elif name == _REPORT:
            self._projection.attach(spec.name, self._files)
        elif name == _EVERYTHING:
            self._projection.confirm(spec.name, self._look(self._planned))
        else:
            return self._projection.sync_trial(next(self._look([name])), spec.name)
        return True

    def _look(self, identities: Iterable[str]) -> Iterator[TrackedTrial]:
        for identity in identities:
            # A trial that Optuna suggested since the start is on the board before it is touched.
            if identity not in self._planned:
                label = self._board.trials[identity].label
                self._planned[identity] = label, self._board.configs[identity]
            label, config = self._planned[identity]
            yield look_at(self.store.trial(identity), label, self._versions, config)


@dataclass(frozen=True)
class Synced:
    """What ``care track sync`` did.

    Attributes:
        sweeps: Sweeps that are in MLflow now.
        trials: Trials that are in MLflow now.
        left_out: A line for each sweep or trial that cannot be read.
    """

    sweeps: int
    trials: int
    left_out: tuple[str, ...]


def sync_store(store: Store, uri: str | None, say: Callable[[str], None] = print) -> Synced:
    """Bring MLflow up to date with every sweep of the store, in the order of their first starts.

    Args:
        store: The store.
        uri: Where MLflow keeps runs; None for the store's own SQLite file.
        say: Called with lines for the user.

    Raises:
        CareError: MLflow cannot be written; names the place and the reason.
    """
    store.prepare(say)
    projection = Projection(store.root, uri, say)
    try:
        return _sync_all(store, projection)
    except CareError:
        raise
    except Exception as error:
        if not projection.destination.own:
            raise _unwritable(projection.destination, error) from error
    # The file may have been damaged where only this write looked: the next one sets it aside.
    try:
        return _sync_all(store, projection)
    except Exception as error:
        raise _unwritable(projection.destination, error) from error


def _unwritable(destination: Destination, error: Exception) -> CareError:
    return CareError(f"{destination}: MLflow cannot be written ({why(error)})")


def _sync_all(store: Store, projection: Projection) -> Synced:
    versions = Versions()
    sweeps, seen, left_out = 0, set[str](), list[str]()
    for folder in sorted(store.all_sweeps(), key=_created):
        try:
            sweep = restore_sweep(folder.read() or {})
            plan = make_plan(sweep, store, versions)
        except (CareError, KeyError, TypeError, AttributeError) as error:
            left_out.append(f"sweep {folder.name} is left out: {why(error)}")
            continue
        trials = [
            look_at(store.trial(identity), planned.label, versions, planned.config)
            for identity, planned in plan.unique().items()
        ]
        state = State.RUNNING if holder(folder.path) else _state(plan)
        projection.sync_sweep(sweep.spec.name, sweep.spec.description, state, _mixed(plan))
        _sync_trials(projection, sweep.spec.name, trials)
        projection.attach(sweep.spec.name, report_files(folder.report))
        damaged = [trial for trial in trials if trial.status.state == State.DAMAGED]
        left_out += [f"{trial.folder.path} is damaged: {trial.status.reason}" for trial in damaged]
        sweeps, seen = sweeps + 1, seen | set(plan.unique())
    return Synced(sweeps, len(seen), tuple(left_out))


def _sync_trials(projection: Projection, name: str, trials: list[TrackedTrial]) -> None:
    if not projection.recall(name, trials):
        for trial in trials:
            projection.sync_trial(trial, name)
        projection.confirm(name, trials)


def _created(folder: SweepFolder) -> tuple[str, str]:
    """When a sweep was first started, as far as is known, and its name."""
    with contextlib.suppress(CareError, AttributeError):
        return str((folder.read() or {}).get("created", "")), folder.name
    return "", folder.name


def _mixed(plan: Plan) -> str:
    """What the trials of a sweep differ in besides their configuration."""
    return "; ".join(map(str, mixed(plan))) or "no"


def _state(plan: Plan) -> RecordedState:
    """Return the state of a sweep that no driver runs."""
    states = plan.counts()
    if plan.unsuggested or any(MEANING[state].left for state in states):
        return State.PAUSED
    return State.FAILED if states.keys() & {State.FAILED, State.DAMAGED} else State.FINISHED
