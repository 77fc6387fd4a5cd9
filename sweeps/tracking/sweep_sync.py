"""The sync of a running sweep with MLflow, and of a whole store for ``care track sync``."""

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
from sweeps.plan_remarks import find_mixtures
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.states import MEANING
from sweeps.store import Store, SweepFolder
from sweeps.tracking.background import BackgroundSync, describe_error
from sweeps.tracking.mlflow_sync import MlflowSync
from sweeps.tracking.run_record import TrackedTrial, inspect_trial, report_files
from sweeps.tracking.tracking_uri import Destination

_LONGEST_STANDSTILL_SECONDS = 60.0
# Names in the queue besides the trials' identities, which are hexadecimal.
_PARENT, _BEFORE, _REPORT, _EVERYTHING = "parent", "before", "report", "everything"


class SweepSync:
    """Syncs the runs of one sweep in the background.

    Args:
        sweep: The sweep.
        store: The store of its trials.
        board: The sweep's board, which has every trial before it is touched.
        uri: MLflow's tracking URI; None for the store's SQLite file.
        say: Called with lines for the user.
        writer: The driver's claim on the sweep; nothing is written after it is lost.
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
        self._mlflow = MlflowSync(store.root, uri, say)
        self._say = say
        self._writer = writer or Writer()
        self._board = board
        self._versions = Versions()
        self._planned: dict[str, tuple[str, TrialConfig]] = {}
        self._before: list[str] = []
        self._state: RecordedState = State.RUNNING
        self._mixed = "no"
        self._files: list[Path] = []
        self._background = BackgroundSync(self._sync, say)

    def start(self, plan: Plan) -> None:
        """Queue every trial that was ever started, since a crash may have left some unsynced."""
        self._planned = {trial.trial_id: (trial.label, trial.config) for trial in plan.trials}
        self._before, self._mixed = list(plan.unique()), _mixed(plan)
        self._background.touch(_PARENT)
        self._background.touch(_BEFORE)

    def touch(self, trial_id: str) -> None:
        """Queue a trial to be synced."""
        self._background.start()  # a trial reported, so Ray has started
        self._background.touch(trial_id)

    def finish(self, plan: Plan, page: Path | None, hurry: Callable[[], bool]) -> None:
        """Sync everything, with the report and the parent run last.

        Args:
            plan: The sweep's plan after the run.
            page: Its report, if it was written.
            hurry: Returns True if this process should end soon.
        """
        self._state, self._mixed = _state(plan), _mixed(plan)
        self._versions = Versions()  # data may have changed since the start
        self._planned |= {trial.trial_id: (trial.label, trial.config) for trial in plan.trials}
        for identity in plan.unique():
            self._background.touch(identity)
        if page:
            self._files = report_files(page.parent)
            self._background.touch(_REPORT)
        self._background.touch(_PARENT)
        self._background.touch(_EVERYTHING)
        if not self._background.close(_LONGEST_STANDSTILL_SECONDS, hurry):
            self._say("MLflow is not up to date; to complete it: care track sync")

    def _sync(self, name: str) -> bool:
        """Sync one name of the queue and return whether MLflow was called."""
        try:
            self._writer.check()
        except LostClaimError:
            return False
        spec = self.sweep.spec
        if name == _PARENT:
            self._mlflow.sync_sweep(spec.name, spec.description, self._state, self._mixed)
        elif name == _BEFORE:
            if not self._mlflow.recall(spec.name, self._inspect(self._before)):
                for identity in self._before:
                    self._background.touch(identity)
        elif name == _REPORT:
            self._mlflow.attach(spec.name, self._files)
        elif name == _EVERYTHING:
            self._mlflow.confirm(spec.name, self._inspect(self._planned))
        else:
            return self._mlflow.sync_trial(next(self._inspect([name])), spec.name)
        return True

    def _inspect(self, identities: Iterable[str]) -> Iterator[TrackedTrial]:
        for identity in identities:
            # Optuna suggested it after the start; the board has it before it is touched.
            if identity not in self._planned:
                label = self._board.trials[identity].label
                self._planned[identity] = label, self._board.configs[identity]
            label, config = self._planned[identity]
            yield inspect_trial(self.store.trial(identity), label, self._versions, config)


@dataclass(frozen=True)
class Synced:
    """The result of ``care track sync``.

    Attributes:
        sweeps: Number of synced sweeps.
        trials: Number of synced trials.
        left_out: A line for each sweep or trial that cannot be read.
    """

    sweeps: int
    trials: int
    left_out: tuple[str, ...]


def sync_store(store: Store, uri: str | None, say: Callable[[str], None] = print) -> Synced:
    """Sync MLflow with every sweep of the store, in the order of their first starts.

    Args:
        store: The store.
        uri: MLflow's tracking URI; None for the store's SQLite file.
        say: Called with lines for the user.

    Raises:
        CareError: MLflow cannot be written; names the destination and the reason.
    """
    store.prepare(say)
    mlflow = MlflowSync(store.root, uri, say)
    try:
        return _sync_all(store, mlflow)
    except CareError:
        raise
    except Exception as error:
        if not mlflow.destination.own:
            raise _unwritable(mlflow.destination, error) from error
    # A write may find damage that opening the file did not: the second one sets the file aside.
    try:
        return _sync_all(store, mlflow)
    except Exception as error:
        raise _unwritable(mlflow.destination, error) from error


def _unwritable(destination: Destination, error: Exception) -> CareError:
    return CareError(f"{destination}: MLflow cannot be written ({describe_error(error)})")


def _sync_all(store: Store, mlflow: MlflowSync) -> Synced:
    versions = Versions()
    sweeps, seen, left_out = 0, set[str](), list[str]()
    for folder in sorted(store.all_sweeps(), key=_created):
        try:
            sweep = restore_sweep(folder.declaration())
            plan = make_plan(sweep, store, versions)
        except (CareError, KeyError, TypeError, AttributeError) as error:
            left_out.append(f"sweep {folder.name} is left out: {describe_error(error)}")
            continue
        trials = [
            inspect_trial(store.trial(identity), planned.label, versions, planned.config)
            for identity, planned in plan.unique().items()
        ]
        state = State.RUNNING if holder(folder.path) else _state(plan)
        mlflow.sync_sweep(sweep.spec.name, sweep.spec.description, state, _mixed(plan))
        _sync_trials(mlflow, sweep.spec.name, trials)
        mlflow.attach(sweep.spec.name, report_files(folder.report))
        damaged = [trial for trial in trials if trial.status.state == State.DAMAGED]
        left_out += [f"{trial.folder.path} is damaged: {trial.status.reason}" for trial in damaged]
        sweeps, seen = sweeps + 1, seen | set(plan.unique())
    return Synced(sweeps, len(seen), tuple(left_out))


def _sync_trials(mlflow: MlflowSync, name: str, trials: list[TrackedTrial]) -> None:
    if not mlflow.recall(name, trials):
        for trial in trials:
            mlflow.sync_trial(trial, name)
        mlflow.confirm(name, trials)


def _created(folder: SweepFolder) -> tuple[str, str]:
    """Return the time of a sweep's first start, empty if unknown, and its name."""
    with contextlib.suppress(CareError):
        return folder.declaration().created, folder.name
    return "", folder.name


def _mixed(plan: Plan) -> str:
    """Describe the facts beside the configuration in which a sweep's trials differ, or ``no``."""
    return "; ".join(map(str, find_mixtures(plan))) or "no"


def _state(plan: Plan) -> RecordedState:
    """Return the state of a sweep that no driver runs."""
    states = plan.counts()
    if plan.unsuggested or any(MEANING[state].left for state in states):
        return State.PAUSED
    return State.FAILED if states.keys() & {State.FAILED, State.DAMAGED} else State.FINISHED
