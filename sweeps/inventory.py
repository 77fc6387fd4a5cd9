"""Read the sweeps and trials of a store, as people ask for them. Writes nothing.

States are those of ``care sweep plan``, with one exception: the checksums of a finished trial are
not compared, so that ten thousand trials take seconds.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.config.metrics import monitored_metrics
from care.errors import CareError, ConfigError, Problem, nearest, unknown_name
from care.system.claim import holder
from care.system.files import DamagedFileError, parse_json, read_tail
from care.trials.find import find_trial, list_trials, match_digits, nearest_identity
from care.trials.folder import TrialFolder
from care.trials.identity import group_id, trial_id
from care.trials.records import StatusRecord, Values
from care.trials.reference import list_references
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.account import read_account
from sweeps.event_log import SeedEntry, is_of, read_decisions, stopped_points
from sweeps.holds import Holds, read_holds
from sweeps.plan import plan_configs
from sweeps.question import is_searched
from sweeps.spec.sweep import load_sweep, restore_sweep
from sweeps.states import TO_TRAIN
from sweeps.store import Store, SweepFolder, TrialStatus, trial_status
from sweeps.sweep_command import format_command
from sweeps.sweep_view import SweepView, TrialRow

_DIGITS = re.compile(r"[0-9a-f]+")
_LAST_LINES = 2**14
_MONITORED = frozenset(monitored_metrics())
_MOST_SHOWN = 8


class SweepReader:
    """Reads a sweep's trials, again and again with little work for those that are unchanged.

    Args:
        folder: The sweep's folder.
        store: Its store.
        versions: The present code and data; results of others are stale.
        only: As of ``--only``: the points to read.
        seeds: As of ``--seeds``: the seeds to read; None for all.

    Raises:
        DamagedFileError: The sweep's declaration cannot be read.
    """

    def __init__(
        self,
        folder: SweepFolder,
        store: Store,
        versions: Versions,
        only: Sequence[str] = (),
        seeds: str | None = None,
    ) -> None:
        declaration = folder.declaration()
        self.sweep = restore_sweep(declaration).select(only, seeds)
        self._created = declaration.created
        self._folder, self._store, self._versions = folder, store, versions
        self._identities: dict[str, tuple[dict[str, Any], TrialConfig]] = {}
        self._finished: dict[str, tuple[StatusRecord, TrialRow]] = {}

    def read(self) -> SweepView:
        """Read the present state of every trial.

        Raises:
            CareError: A file of the sweep, or its claim, cannot be read.
        """
        spec = self.sweep.spec
        if not self._identities or spec.search.suggests or spec.adaptive:
            configs = plan_configs(self.sweep, self._store, self._versions)
            self._identities = {trial_id(config): (point, config) for point, config in configs}
        # A look for the files of each trial that has none yet takes long on a shared disk.
        started = self._store.started()
        rows = tuple(
            self._row(identity, point, config, started)
            for identity, (point, config) in self._identities.items()
        )
        wanted = spec.search.trials * len(spec.all_seeds) if spec.search.suggests else 0
        unsuggested = max(0, wanted - len(rows))
        stopped = self._with_held(self._with_stopped(rows))
        driver = holder(self._folder.path)
        account = read_account(self._folder)
        return SweepView(self.sweep, stopped, unsuggested, driver, self._created, account)

    def _row(
        self,
        identity: str,
        point: dict[str, Any],
        config: TrialConfig,
        started: Collection[str] | None,
    ) -> TrialRow:
        folder = self._store.trial(identity)
        if started is not None and identity not in started:
            return _make_row(folder, TrialStatus(State.NEW), point, config)
        known = self._finished.get(identity)
        try:
            status = folder.read_status()
            if known and known[0] == status:
                return known[1]
            row = self._read_row(folder, status, point, config)
        except DamagedFileError:
            return _make_row(folder, trial_status(folder, self._versions, config), point, config)
        if status and row.state == State.FINISHED:
            self._finished[identity] = status, row
        return row

    def _read_row(
        self,
        folder: TrialFolder,
        status: StatusRecord | None,
        point: dict[str, Any],
        config: TrialConfig,
    ) -> TrialRow:
        if status is None or not status.finished:
            state = trial_status(folder, self._versions, config)
            if status is None and state.state == State.NEW:
                return _make_row(folder, state, point, config)
        provenance = folder.read_provenance()
        if status and status.finished:
            reason = self._versions.why_stale(provenance, config)
            state = TrialStatus(State.STALE if reason else State.FINISHED, status.epoch, reason)
        timing = _last(folder, "timings.jsonl")
        return replace(
            _make_row(folder, state, point, config),
            measures={**_last_epoch(folder), **(folder.read_evaluation() or {})},
            images_per_second=timing.get("images_per_second"),
            epoch_seconds=timing.get("seconds"),
            host=provenance.hostname if provenance else "",
            updated=status.updated if status else "",
        )

    def _with_stopped(self, rows: tuple[TrialRow, ...]) -> tuple[TrialRow, ...]:
        """Mark the trials that the sweep's scheduler ended early."""
        if not is_searched(self.sweep):
            return rows
        decisions = read_decisions(self._folder)
        stopped, points = decisions.stopped(), stopped_points(decisions, self._store.trials)
        if points:
            return tuple(self._stop_further_seed(row, points) for row in rows)
        return tuple(
            replace(row, state=State.STOPPED)
            if row.state in TO_TRAIN
            and row.trial_id in stopped
            and is_of(stopped[row.trial_id], self._store.trial(row.trial_id))
            else row
            for row in rows
        )

    def _with_held(self, rows: tuple[TrialRow, ...]) -> tuple[TrialRow, ...]:
        """Mark the trials that a user holds and no process trains."""
        holds = read_holds(self._folder.path)
        if not holds.by_group:
            return rows
        return tuple(self._hold(row, holds) if row.state in TO_TRAIN else row for row in rows)

    def _hold(self, row: TrialRow, holds: Holds) -> TrialRow:
        group = group_id(self._identities[row.trial_id][1])
        hold = holds.of(group, row.seed)
        return replace(row, state=State.HELD, reason=hold.wish) if hold else row

    def _stop_further_seed(self, row: TrialRow, points: Mapping[str, SeedEntry]) -> TrialRow:
        entry = points.get(group_id(self._identities[row.trial_id][1]))
        if entry is None or row.state not in TO_TRAIN or row.seed in entry.running:
            return row
        return replace(row, state=State.STOPPED, reason=entry.reason)


def _make_row(
    folder: TrialFolder, status: TrialStatus, point: dict[str, Any], config: TrialConfig
) -> TrialRow:
    epochs = config.training.epochs
    identity, seed = folder.trial_id, config.seed
    return TrialRow(identity, point, seed, status.state, status.epoch, epochs, status.reason)


def _last_epoch(folder: TrialFolder) -> Values:
    """Read the metrics of the last epoch, and those of held-out samples when last measured."""
    lines = _last_lines(folder, "metrics.jsonl")
    last = next(lines, {})
    measured = (
        last
        if not _MONITORED.isdisjoint(last)
        else next((line for line in lines if not _MONITORED.isdisjoint(line)), {})
    )
    held_out = {name: value for name, value in measured.items() if name in _MONITORED}
    values = {**held_out, **last}
    return {name: value for name, value in values.items() if name not in ("epoch", "step")}


def _last(folder: TrialFolder, name: str) -> Values:
    """Read the last whole line of a log; empty without one, or if it is damaged."""
    return next(_last_lines(folder, name), {})


def _last_lines(folder: TrialFolder, name: str) -> Iterator[Values]:
    """Yield the last whole lines of a log, newest first, as far as they are not damaged."""
    path = folder.path / name
    with contextlib.suppress(DamagedFileError):
        size, content = read_tail(path, _LAST_LINES) or (0, b"")
        *lines, _ = content.split(b"\n")
        for line in reversed(lines[1:] if size > len(content) else lines):
            yield parse_json(path, line)


def find_sweep_folder(name: str, store: Store) -> SweepFolder:
    """Find a started sweep by its name or its YAML file.

    Raises:
        ConfigError: No started sweep has this name, or the file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        name = load_sweep(Path(name)).spec.name
    known = [folder.name for folder in store.all_sweeps()]
    if name not in known:
        raise ConfigError(str(store.root), [unknown_name("sweep", name, known or ["none yet"])])
    return store.sweep(name)


def find_started(digits: str, store: Store) -> TrialFolder:
    """Find a trial that was started, by the first digits of its identity.

    Raises:
        ConfigError: No trial or several trials begin with these digits; names the nearest one.
        CareError: A sweep has declared the trial, but no process has started it.
    """
    try:
        return find_trial(digits, store.trials)
    except ConfigError:
        if _DIGITS.fullmatch(digits):
            _refuse_planned(digits, store)
        raise


@dataclass(frozen=True)
class ReferenceFolder:
    """The folder of a reference; see :mod:`care.trials.reference`."""

    path: Path


def find_target(name: str, store: Store) -> SweepFolder | TrialFolder | ReferenceFolder:
    """Find a started sweep, or a trial or reference by the first digits of its identity.

    Args:
        name: A sweep's name or YAML file, or hexadecimal digits.
        store: The store.

    Raises:
        ConfigError: There is no such thing, or there are several; names the nearest one.
        CareError: A sweep has declared the trial, but no process has started it.
    """
    sweeps = [folder.name for folder in store.all_sweeps()]
    if name in sweeps or name.endswith((".yaml", ".yml")):
        return find_sweep_folder(name, store)
    references = {path.name: path for path in list_references(store.root)}
    if _DIGITS.fullmatch(name.lower()):
        known = [*(folder.trial_id for folder in list_trials(store.trials)), *references]
        if not any(identity.startswith(name.lower()) for identity in known):
            _refuse_planned(name.lower(), store)
        what = "trials and references" if references else "trials"
        identity = match_digits(name, known, store.root, what)
        if identity in references:
            return ReferenceFolder(references[identity])
        return store.trial(identity)
    some = ", ".join(sweeps[:_MOST_SHOWN]) + (", …" if len(sweeps) > _MOST_SHOWN else "")
    allowed = f"allowed: a sweep ({some or 'none yet'}), or the first digits of a trial"
    known = [folder.trial_id for folder in list_trials(store.trials)]
    close = nearest(name, sweeps) or nearest_identity(name, known)
    raise ConfigError(str(store.root), [Problem("sweep or trial", name, allowed, close)])


def _refuse_planned(digits: str, store: Store) -> None:
    """Raise an error if a sweep of the store has declared the trial."""
    for folder in store.all_sweeps():
        with contextlib.suppress(ConfigError, DamagedFileError):  # it hides no other sweep
            for identity in memberships(digits, folder, store):
                raise CareError(
                    f"{identity}: a trial of {folder.name} that was never started, so it has no "
                    f"files. To run it: {format_command(folder.declaration())}"
                )


def memberships(
    digits: str, folder: SweepFolder, store: Store
) -> dict[str, tuple[dict[str, Any], TrialConfig]]:
    """Return the trials of a sweep that begin with these digits, as point and configuration.

    Raises:
        ConfigError: The sweep's declaration is not valid.
        DamagedFileError: The sweep's declaration cannot be read.
    """
    configs = plan_configs(restore_sweep(folder.declaration()), store)
    planned = {trial_id(config): (point, config) for point, config in configs}
    return {identity: one for identity, one in planned.items() if identity.startswith(digits)}
