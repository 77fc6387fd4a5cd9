"""A sweep as a file of Optuna's own storage, for optuna-dashboard and Optuna's functions.

The file is a projection of the store: it is written anew each time and nothing reads it back.
"""

from __future__ import annotations

import datetime
import json
import sqlite3
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from care.config.metrics import COLLAPSE_METRIC, epoch_metrics, is_collapsed
from care.errors import CareError
from care.system.files import DamagedFileError, write_atomic
from care.trials.folder import TrialFolder
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.event_log import describe_ways_to_continue, read_decisions
from sweeps.plan import Plan, PlannedTrial, make_plan
from sweeps.question import OtherQuestionError
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, final_values, finite
from sweeps.sweep_command import format_command
from sweeps.tune.search import DIRECTIONS
from sweeps.tune.study_space import StudySpace
from sweeps.warm_start import read_values

_SWEEP = "care sweep"
_NO_TIME = datetime.datetime(1970, 1, 1)
_STUDY_TABLE = "study_user_attributes"


@dataclass(frozen=True)
class WrittenStudy:
    """A file that was written.

    Attributes:
        path: The file.
        states: Number of Optuna's trials by state.
    """

    path: Path
    states: Mapping[TrialState, int]


def write_study(sweep: Sweep, store: Store, path: Path, *, overwrite: bool = False) -> WrittenStudy:
    """Write the points of a sweep as the trials of a study.

    Args:
        sweep: The sweep.
        store: The store of its trials.
        path: The file; a study that was written of this sweep is replaced.
        overwrite: Whether to replace any other file.

    Raises:
        CareError: Another file has this path.
        OtherQuestionError: The search that was run under the sweep's name asked something else.
        DiskError: The file cannot be written.
    """
    _check_target(path, sweep.spec.name, overwrite)
    plan = make_plan(sweep, store)
    if plan.differences:
        declaration = store.sweep(sweep.spec.name).read()
        command = format_command(declaration) if declaration else f"care sweep run {sweep.source}"
        advice = describe_ways_to_continue(sweep, command)
        raise OtherQuestionError(sweep, plan.differences, advice)
    trials = list(_StudyTrials(plan, store))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.db"
        _fill(file, plan, trials)
        write_atomic(path, file.read_bytes())
    states = [trial.state for trial in trials]
    return WrittenStudy(
        path, {state: states.count(state) for state in TrialState if state in states}
    )


def _check_target(path: Path, name: str, overwrite: bool) -> None:
    if path.is_dir():
        raise CareError(f"{path} is a folder; --storage takes the name of a file.")
    if not path.parent.is_dir():
        raise CareError(f"{path}: the folder {path.parent} does not exist.")
    if not path.exists() or overwrite:
        return
    found = _read_sweep(path)
    if found != name:
        what = f"a study of the sweep {found!r}" if found else "no study that care wrote"
        raise CareError(
            f"{path} is {what} and was not changed. Choose another --storage, or repeat the "
            "command with --overwrite."
        )


def _read_sweep(path: Path) -> str | None:
    """Return the name of the sweep of which a file is a study; None for any other file."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            query = f"SELECT value_json FROM {_STUDY_TABLE} WHERE key = ?"
            rows = connection.execute(query, (_SWEEP,)).fetchall()
            return str(json.loads(rows[0][0])) if len(rows) == 1 else None
        finally:
            connection.close()
    except (sqlite3.Error, json.JSONDecodeError, TypeError):
        return None


def _fill(file: Path, plan: Plan, trials: Sequence[FrozenTrial]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = plan.sweep.spec
    storage = RDBStorage(f"sqlite:///{file}")
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=spec.name,
            directions=[DIRECTIONS[metric.mode] for metric in spec.objectives],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric.name for metric in spec.objectives])
        study.set_user_attr(_SWEEP, spec.name)
        if spec.description:
            study.set_user_attr("description", spec.description)
        study.add_trials(trials)
    finally:
        storage.remove_session()
        storage.engine.dispose()


class _StudyTrials:
    """Makes Optuna's trials of the points of a plan, in the order of the search."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store, self._spec = plan, store, plan.sweep.spec
        self._space = StudySpace(plan.sweep.space)
        self._decisions = read_decisions(store.sweep(plan.sweep.spec.name))

    def __iter__(self) -> Iterator[FrozenTrial]:
        versions = Versions()
        for point in self._decisions.warm_start or ():
            values = read_values(self._plan.sweep, self._store, point, versions)
            state = TrialState.FAIL if values is None else TrialState.COMPLETE
            yield self._make(point, state, values, {"warm start": True})
        for trials in self._points():
            yield self._convert(trials)

    def _points(self) -> Iterator[Sequence[PlannedTrial]]:
        trials = self._plan.trials
        if self._spec.search.suggests:  # which may suggest a point twice
            seeds = len(self._spec.all_seeds)
            for start in range(0, len(trials), seeds):
                yield trials[start : start + seeds]
            return
        points: dict[str, list[PlannedTrial]] = {}
        for trial in trials:
            points.setdefault(repr(trial.point), []).append(trial)
        yield from points.values()

    def _convert(self, trials: Sequence[PlannedTrial]) -> FrozenTrial:
        by_seed = {str(trial.config.seed): trial for trial in trials}
        values = {seed: self._values(trial) for seed, trial in by_seed.items()}
        trained = [
            values[seed]
            for seed, trial in by_seed.items()
            if trial.state != State.STOPPED or self._spec.scheduler.by_epoch
        ]
        state = _state(trials, bool(trained) and all(map(_complete, trained)))
        attributes: dict[str, Any] = {
            "point": trials[0].label.rpartition(" seed=")[0],
            "trials": {seed: trial.trial_id for seed, trial in by_seed.items()},
            "states": {seed: str(trial.state) for seed, trial in by_seed.items()},
            **{
                metric.name: {seed: one[index] for seed, one in values.items()}
                for index, metric in enumerate(self._spec.objectives)
            },
        }
        if reasons := {trial.reason for trial in trials if trial.state == State.STOPPED} - {""}:
            attributes["stopped"] = "; ".join(sorted(reasons))
        if collapsed := [seed for seed, trial in by_seed.items() if self._collapsed(trial)]:
            attributes["nearly collapsed"] = collapsed  # Optuna's best trial may be one of these
        means = None
        if state in (TrialState.COMPLETE, TrialState.PRUNED):
            means = [_mean(column) for column in zip(*trained, strict=True)]
        folders = [self._store.trial(trial.trial_id) for trial in trials]
        epochs = self._intermediate(folders) if state != TrialState.WAITING else {}
        made = self._make(trials[0].point, state, means, attributes, epochs)
        if state != TrialState.WAITING:
            made.datetime_start, end = _times(folders)
            made.datetime_complete = end if state.is_finished() else None
        return made

    def _values(self, trial: PlannedTrial) -> list[float | None]:
        """Return the metrics of a trial that is finished or stopped."""
        # A scheduler compares by one metric.
        if trial.state == State.STOPPED and self._spec.scheduler.by_epoch:
            return [self._decisions.stopped()[trial.trial_id].value]
        known = {}
        if trial.state == State.FINISHED:
            known = final_values(self._store.trial(trial.trial_id))
        return [finite(known.get(metric.name)) for metric in self._spec.objectives]

    def _collapsed(self, trial: PlannedTrial) -> bool:
        if trial.state != State.FINISHED:
            return False
        return is_collapsed(final_values(self._store.trial(trial.trial_id)).get(COLLAPSE_METRIC))

    def _intermediate(self, folders: Sequence[TrialFolder]) -> dict[int, float]:
        """Return the mean by epoch of a metric of the training, up to an epoch that all have."""
        name = self._spec.objectives[0].name
        if len(self._spec.objectives) > 1 or name not in epoch_metrics():
            return {}
        try:
            curves = [[line.get(name) for line in folder.read_metrics()] for folder in folders]
        except DamagedFileError:
            return {}
        means = {}
        for epoch, column in enumerate(zip(*curves, strict=False), start=1):
            known = [value for value in column if value is not None]
            if len(known) == len(folders) and all(finite(value) is not None for value in known):
                means[epoch] = statistics.fmean(known)
        return means

    def _make(
        self,
        point: Mapping[str, Any],
        state: TrialState,
        values: Sequence[float] | None,
        attributes: dict[str, Any],
        epochs: dict[int, float] | None = None,
    ) -> FrozenTrial:
        params, distributions = self._space.shown(point)
        trial = optuna.trial.create_trial(
            state=state,
            params=params,
            distributions=distributions,
            values=values,
            user_attrs=attributes,
            intermediate_values=epochs or {},
        )
        if state != TrialState.WAITING:  # not the time of this call: twice gives the same file
            trial.datetime_start = _NO_TIME
            trial.datetime_complete = _NO_TIME if state.is_finished() else None
        return trial


def _complete(values: Sequence[float | None]) -> bool:
    return None not in values


def _mean(values: Sequence[float | None]) -> float:
    return statistics.fmean(value for value in values if value is not None)


def _state(trials: Sequence[PlannedTrial], has_values: bool) -> TrialState:
    states = {trial.state for trial in trials}
    if states <= {State.FINISHED, State.STOPPED}:
        if not has_values:
            return TrialState.FAIL
        return TrialState.PRUNED if State.STOPPED in states else TrialState.COMPLETE
    if states & {State.FAILED, State.STALE, State.DAMAGED}:
        return TrialState.FAIL
    return TrialState.WAITING if states == {State.NEW} else TrialState.RUNNING


def _times(folders: Sequence[TrialFolder]) -> tuple[datetime.datetime, datetime.datetime]:
    """Return when the first trial was created and the last epoch ended, in UTC."""
    starts, ends = [], []
    for folder in folders:
        try:
            record, timings = folder.read_trial(), folder.read_timings()
        except DamagedFileError:
            continue
        if record is not None and record.created:
            starts.append(_utc(datetime.datetime.fromisoformat(record.created)))
        if timings:
            ended = datetime.datetime.fromtimestamp(timings[-1].finished_at, datetime.UTC)
            ends.append(_utc(ended))
    start = min(starts, default=_NO_TIME)
    return start, max([start, *ends])


def _utc(time: datetime.datetime) -> datetime.datetime:
    return time.astimezone(datetime.UTC).replace(tzinfo=None)
