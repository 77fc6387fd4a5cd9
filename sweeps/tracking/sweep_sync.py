"""The sync of a running sweep with MLflow, and of a whole store for ``care track sync``."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from care.config import TrialConfig
from care.errors import CareError
from care.system.claim import LostClaimError, holder
from care.system.files import Writer
from care.trials.identity import identities
from care.trials.staleness import Versions
from care.trials.state import RecordedState, State
from sweeps.account import Ending, describe_end, read_account
from sweeps.deletions import read_deletions
from sweeps.holds import HoldWatch
from sweeps.plan import Plan, make_plan
from sweeps.plan_remarks import find_mixtures
from sweeps.progress import Board
from sweeps.question import is_searched
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.states import TO_TRAIN, UNFINISHED
from sweeps.store import Store, SweepFolder
from sweeps.tracking.answer import AnswerReader, answer_key
from sweeps.tracking.background import BackgroundSync, describe_error
from sweeps.tracking.encoder_export import EncoderExporter
from sweeps.tracking.mlflow_sync import FACTS, MlflowSync
from sweeps.tracking.model_choice import ModelChoice, choose_models
from sweeps.tracking.model_sync import ModelSync, models_key, sync_model, sync_models
from sweeps.tracking.run_record import TrackedTrial, inspect_trial, report_files
from sweeps.tracking.tracking_uri import Destination

_log = logging.getLogger(__name__)

_LONGEST_STANDSTILL_SECONDS = 60.0
# Names in the queue besides the trials' identities, which are hexadecimal.
_PARENT, _BEFORE, _REPORT, _EVERYTHING = "parent", "before", "report", "everything"
_ANSWER, _MODELS, _MODELS_KEPT = "answer", "models", "models kept"
_MODEL = "model "  # before the identity of a trial
# The answer of a running sweep is written after a pause, which grows with the time that it takes.
_ANSWER_PAUSE_SECONDS, _ANSWER_SHARE = 30.0, 0.05


class SweepSync:
    """Syncs the runs of one sweep in the background.

    Args:
        sweep: The sweep.
        store: The store of its trials.
        board: The sweep's board, which has every trial before it is touched.
        uri: MLflow's tracking URI; None for the store's SQLite file.
        writer: The driver's claim on the sweep; nothing is written after it is lost.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        board: Board,
        uri: str | None,
        writer: Writer | None = None,
    ) -> None:
        self.sweep, self.store = sweep, store
        self._mlflow = MlflowSync(store.root, uri)
        self._writer = writer or Writer()
        self._board = board
        self._versions = Versions()
        self._planned: dict[str, Planned] = {}
        self._plan: Plan | None = None
        self._answer = AnswerReader(store)
        self._seen: dict[str, TrackedTrial] = {}
        self._next_answer = 0.0
        self._before: list[str] = []
        self._state: RecordedState = State.RUNNING
        self._mixed, self._ending = "no", Ending()
        self._files: list[Path] = []
        self._background = BackgroundSync(self._sync, lambda: self._mlflow.runs.batches)
        self._models = ModelSync(self._mlflow)
        self._exporter = EncoderExporter()
        self._holds = HoldWatch(store.sweep(sweep.spec.name).path)
        self._choice = ModelChoice()
        self._logged: set[str] = set()
        self._newly_finished = False

    def start(self, plan: Plan) -> None:
        """Queue every trial that was ever started, since a crash may have left some unsynced."""
        self._plan, self._planned = plan, _planned(plan)
        self._before, self._mixed = list(plan.unique()), _mixed(plan)
        self._background.touch(_PARENT)
        self._background.touch(_BEFORE)

    def touch(self, trial_id: str) -> None:
        """Queue a trial to be synced."""
        self._background.start()  # a trial reported, so Ray has started
        self._background.touch(trial_id)

    def prepare_models(self) -> None:
        """Start what :meth:`finish` will need for a model, while the report is written."""
        if self._newly_finished and self.sweep.spec.tracking.models != "none":
            self._exporter.start()

    def finish(self, plan: Plan, page: Path | None, hurry: Callable[[], bool]) -> None:
        """Sync everything, with the report and the parent run last.

        Args:
            plan: The sweep's plan after the run.
            page: Its report, if it was written.
            hurry: Returns True if this process should end soon.
        """
        self._state, self._mixed = _state(plan), _mixed(plan)
        self._ending = _read_ending(self.store, plan)
        self._versions = Versions()  # data may have changed since the start
        self._plan, self._seen = plan, {}
        self._planned |= _planned(plan)
        for identity in plan.unique():
            self._background.touch(identity)
        if page:
            self._files = report_files(page.parent)
            self._background.touch(_REPORT)
        self._background.touch(_ANSWER)
        self._background.touch(_PARENT)
        self._background.touch(_EVERYTHING)
        if not hurry():
            self._background.touch(_MODELS)
        complete = self._background.close(_LONGEST_STANDSTILL_SECONDS, hurry)
        self._exporter.close()
        if not complete:
            _log.warning("MLflow is not up to date; to complete it: care track sync")

    def _sync(self, name: str) -> bool:
        """Sync one name of the queue and return whether MLflow was called."""
        try:
            self._writer.check()
        except LostClaimError:
            return False
        spec = self.sweep.spec
        if name == _PARENT:
            facts = _facts(self._mixed, self._ending)
            self._mlflow.sync_sweep(spec.name, spec.description, self._state, facts)
        elif name == _BEFORE:
            if not self._mlflow.recall(spec.name, self._inspect(self._before)):
                for identity in self._before:
                    self._background.touch(identity)
        elif name == _REPORT:
            self._mlflow.attach(spec.name, self._files)
        elif name == _EVERYTHING:
            self._mlflow.sync_references(self.sweep)
            self._mlflow.confirm(spec.name, self._inspect(self._planned))
        elif name == _ANSWER:
            self._sync_answer()
        elif name.startswith(_MODELS):
            self._sync_models(name)
        elif name.startswith(_MODEL):
            trial = next(self._inspect([name.removeprefix(_MODEL)]))
            if sync_model(self._models, trial, self.sweep, self._exporter):
                self._logged.add(trial.folder.trial_id)
        else:
            trial = next(self._inspect([name]))
            if trial.status.state == State.FINISHED and time.monotonic() > self._next_answer:
                self._background.touch(_ANSWER)
            self._newly_finished |= trial.status.state == State.FINISHED
            return self._mlflow.sync_trial(trial, spec.name)
        return True

    def _sync_models(self, name: str) -> None:
        """Queue the models that are missing, or delete those that are not wanted any more.

        Each model has a name of its own in the queue, because the wait for one name is limited.
        """
        assert self._plan
        versions = {identity: trial.version for identity, trial in self._seen.items()}
        key, sweep = models_key(self._plan, versions), self.sweep.spec.name
        if name == _MODELS_KEPT:
            if self._logged >= set(self._choice.wanted):
                self._models.keep(sweep, self._choice.kept, key)
        elif not self._models.is_current(sweep, key):
            values = functools.partial(self._answer.read_values, versions=versions)
            self._choice = choose_models(self._plan, values)
            for identity in self._choice.wanted:
                self._background.touch(f"{_MODEL}{identity}")
            self._background.touch(_MODELS_KEPT)

    def _sync_answer(self) -> None:
        """Write the answer so far, and set the time before which it is not written again."""
        plan = self._plan
        grows = is_searched(self.sweep) or self.sweep.spec.adaptive
        if plan is None or (self._state == State.RUNNING and grows):
            return  # further points or seeds are in the plan that is made at the end
        began = time.monotonic()
        running = self._state == State.RUNNING  # otherwise, the plan is of now
        seen = self._seen.items()
        states = {identity: trial.status.state for identity, trial in seen if running}
        versions = {identity: trial.version for identity, trial in seen}
        inputs = plan, states, versions, self._ending
        self._mlflow.sync_answer(
            self.sweep.spec.name, answer_key(*inputs), lambda: self._answer.read(*inputs)
        )
        spent = time.monotonic() - began
        pause = max(_ANSWER_PAUSE_SECONDS, spent / _ANSWER_SHARE)
        self._next_answer = time.monotonic() + pause

    def _inspect(self, identities: Iterable[str]) -> Iterator[TrackedTrial]:
        for identity in identities:
            # Optuna suggested it after the start; the board has it before it is touched.
            if identity not in self._planned:
                label = self._board.trials[identity].label
                config, point = self._board.configs[identity], self._board.points[identity]
                self._planned[identity] = Planned(label, config, point)
            planned = self._planned[identity]
            folder = self.store.trial(identity)
            trial = inspect_trial(
                folder, planned.label, self._versions, planned.config, planned.point
            )
            if trial.status.state in TO_TRAIN and (held := self._describe_hold(planned.config)):
                trial = replace(trial, held=held)
            self._seen[identity] = trial
            yield trial

    def _describe_hold(self, config: TrialConfig) -> str:
        """Return by whose wish a trial is held; empty if it is not."""
        self._holds.look()
        if self._holds.empty:
            return ""
        hold = self._holds.of(identities(config)[1], config.seed)
        return hold.wish if hold else ""


class Planned(NamedTuple):
    """The parts of a planned trial that its run shows."""

    label: str
    config: TrialConfig
    point: Mapping[str, Any]


def _planned(plan: Plan) -> dict[str, Planned]:
    return {
        trial.trial_id: Planned(trial.label, trial.config, trial.point) for trial in plan.trials
    }


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


def sync_store(store: Store, uri: str | None) -> Synced:
    """Sync MLflow with every sweep of the store, in the order of their first starts.

    Args:
        store: The store.
        uri: MLflow's tracking URI; None for the store's SQLite file.

    Raises:
        CareError: MLflow cannot be written; names the destination and the reason.
    """
    store.prepare()
    mlflow = MlflowSync(store.root, uri)
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
    models: list[Callable[[EncoderExporter], None]] = []
    if read_deletions(store.root):
        mlflow.follow_deletions()  # perhaps of the last sweep
    for folder in sorted(store.all_sweeps(), key=_created):
        try:
            sweep = restore_sweep(folder.declaration())
            plan = make_plan(sweep, store, versions)
        except (CareError, KeyError, TypeError, AttributeError) as error:
            left_out.append(f"sweep {folder.name} is left out: {describe_error(error)}")
            continue
        trials = {}
        for identity, planned in plan.unique().items():
            trial = inspect_trial(
                store.trial(identity), planned.label, versions, planned.config, planned.point
            )
            held = planned.reason if planned.state == State.HELD else ""
            trials[identity] = replace(trial, held=held)
        running = holder(folder.path) is not None
        state = State.RUNNING if running else _state(plan)
        ending = Ending() if running else _read_ending(store, plan)
        facts = _facts(_mixed(plan), ending)
        mlflow.sync_sweep(sweep.spec.name, sweep.spec.description, state, facts)
        _sync_trials(mlflow, sweep.spec.name, list(trials.values()))
        mlflow.sync_references(sweep)
        mlflow.attach(sweep.spec.name, report_files(folder.report))
        versions_seen = {identity: trial.version for identity, trial in trials.items()}
        answer = AnswerReader(store)
        inputs = plan, dict[str, State](), versions_seen, ending
        mlflow.sync_answer(
            sweep.spec.name, answer_key(*inputs), functools.partial(answer.read, *inputs)
        )
        if not running:  # its driver chooses them at the end
            models.append(functools.partial(sync_models, ModelSync(mlflow), plan, trials, answer))
        damaged = [trial for trial in trials.values() if trial.status.state == State.DAMAGED]
        left_out += [f"{trial.folder.path} is damaged: {trial.status.reason}" for trial in damaged]
        sweeps, seen = sweeps + 1, seen | set(plan.unique())
    # Last: a server may have no storage for files.
    with EncoderExporter() as exporter:
        for sync in models:
            sync(exporter)
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


def _read_ending(store: Store, plan: Plan) -> Ending:
    account = read_account(store.sweep(plan.sweep.spec.name))
    return describe_end(account, plan.sweep.spec, complete=plan.complete)


def _facts(mixed: str, ending: Ending) -> dict[str, str]:
    """Make the tags of :data:`sweeps.tracking.mlflow_sync.FACTS`."""
    return dict(zip(FACTS, (mixed, ending.stopped, ending.hours), strict=True))


def _state(plan: Plan) -> RecordedState:
    """Return the state of a sweep that no driver runs."""
    states = plan.counts()
    if plan.unsuggested or any(state in UNFINISHED for state in states):
        return State.PAUSED
    return State.FAILED if states.keys() & {State.FAILED, State.DAMAGED} else State.FINISHED
