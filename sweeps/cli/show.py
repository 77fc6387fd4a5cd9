"""``care show``: a trial, with what to do next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.labels import point_name, value_label
from care.config import TrialConfig
from care.errors import CareError, ConfigError, Problem
from care.system.claim import holder
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.identity import canonical, flatten
from care.trials.log_lines import describe_device
from care.trials.pinned import PinnedTrial, trial_model
from care.trials.records import SweepRecord
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.cli.show_reference import reference_lines
from sweeps.disk.units import format_bytes
from sweeps.inventory import ReferenceFolder, find_target, memberships
from sweeps.live import duration
from sweeps.process.terminal import make_console
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store, SweepFolder, TrialStatus, trial_status
from sweeps.sweep_command import format_command

_LABEL = 10


def show_command(digits: str, root: Path) -> None:
    """Print a trial or reference: what it is, its place and end, its measures, the next command.

    Raises:
        CareError: There is no such trial, or its configuration cannot be read.
    """
    store = Store(root)
    target = find_target(digits, store)
    if isinstance(target, SweepFolder):
        allowed = f"allowed: a trial; this is a sweep: care list {target.name}"
        raise ConfigError(str(root), [Problem("trial", digits, allowed)])
    if isinstance(target, ReferenceFolder):
        lines = reference_lines(target.path, store)
    else:
        lines = _lines(target, dict(_members(target.trial_id, store)))
    console = make_console()
    for label, line in lines:
        console.print(f"{label:{_LABEL}s}{line}".rstrip())


Members = Mapping[str, tuple[Sweep, dict[str, Any], SweepRecord]]
"""Sweeps that have the trial, by name: the sweep, the trial's point, the sweep's record."""


def _members(
    identity: str, store: Store
) -> Iterator[tuple[str, tuple[Sweep, dict[str, Any], SweepRecord]]]:
    for folder in store.all_sweeps():
        with contextlib.suppress(ConfigError, DamagedFileError):  # it hides no other sweep
            for point, _ in memberships(identity, folder, store).values():
                declaration = folder.declaration()
                yield folder.name, (restore_sweep(declaration), point, declaration)


def _lines(folder: TrialFolder, members: Members) -> Iterator[tuple[str, str]]:
    yield "trial", folder.trial_id
    try:
        trial = folder.read_trial()
        config = trial_model(trial.config).model_validate(trial.config) if trial else None
    except (DamagedFileError, ValueError) as error:
        config = None
        yield "damaged", str(error)
    if config is None:
        yield "files", str(folder.path)
        return
    state = trial_status(folder, Versions(), config)
    yield from _identity_lines(config, members)
    yield from _differences(config, members)
    yield from _state_lines(folder, state, config)
    with contextlib.suppress(DamagedFileError):
        yield from _measure_lines(folder)
    yield "files", f"{folder.path}  ({_size(folder.path)})"
    yield "MLflow", f"care ui {folder.trial_id[:8]}"
    for number, command in enumerate(_next(config, folder.trial_id[:8], state, members)):
        yield ("" if number else "next"), command


def _identity_lines(config: TrialConfig, members: Members) -> Iterator[tuple[str, str]]:
    for number, (name, (_, point, declaration)) in enumerate(members.items()):
        label = f"{point_name(point, point.values())} seed={config.seed}".strip()
        yield ("" if number else "is"), f"{label} of {name} ({declaration.file})"
    if not members:
        yield "is", f"seed={config.seed}, of no sweep in this store"
    encoder, data = config.model.encoder, config.data.name
    yield "trains", f"{encoder} on {data} by {config.objective.name}"


def _differences(config: TrialConfig, members: Members) -> Iterator[tuple[str, str]]:
    """Yield the settings in which a trial differs from its sweep's experiment, or the defaults."""
    sweep = next((sweep for sweep, _, _ in members.values()), None)
    base = sweep.base_config() if sweep else TrialConfig()
    kind = "experiment" if sweep else "default"
    own, others = (dict(flatten(canonical(one))) for one in (config, base))
    names = sorted(name for name in own if own[name] != others.get(name) and name != "seed")
    for number, name in enumerate(names):
        before = value_label(others[name]) if name in others else "–"
        line = f"{name}: {value_label(own[name])} ({kind}: {before})"
        yield ("" if number else "differs"), line


def _state_lines(
    folder: TrialFolder, state: TrialStatus, config: TrialConfig
) -> Iterator[tuple[str, str]]:
    yield "state", f"{state.state}, {state.epoch} of {config.training.epochs} epochs"
    if state.state == State.RUNNING:
        with contextlib.suppress(CareError):
            yield "", str(holder(folder.path))
    with contextlib.suppress(DamagedFileError):
        yield from _place_lines(folder)
    if state.reason:
        first, *more = state.reason.splitlines()
        yield ("error" if state.state == State.FAILED else "because"), first
        yield from (("", line) for line in more)


def _place_lines(folder: TrialFolder) -> Iterator[tuple[str, str]]:
    provenance, starts = folder.read_provenance(), folder.read_starts()
    if provenance is None:
        return
    timings = folder.read_timings()
    seconds = sum(timing.seconds for timing in timings)
    monitored = sum(timing.monitor_seconds or 0.0 for timing in timings)
    commit = f", commit {provenance.git_commit[:8]}" if provenance.git_commit else ""
    count = f"{len(starts)} start" + ("" if len(starts) == 1 else "s")
    yield "trained", f"on {provenance.hostname or 'a machine'}, {duration(seconds)} in {count}"
    if monitored and seconds:
        yield "", f"{monitored / seconds:.1%} of it for evaluation.monitor"
    yield "device", f"{describe_device(provenance)}, {provenance.precision or 'fp32'}"
    yield "code", f"{provenance.code_version}{commit}"


def _measure_lines(folder: TrialFolder) -> Iterator[tuple[str, str]]:
    epochs = folder.read_metrics()
    last = {name: value for name, value in (epochs[-1] if epochs else {}).items() if "/" in name}
    values = folder.read_evaluation() or last
    label = "measures" if folder.read_evaluation() else "metrics"
    width = max(map(len, values), default=0)
    for number, (name, value) in enumerate(sorted(values.items())):
        yield ("" if number else label), f"{name:{width}s}  {value:.4g}"


def _size(folder: Path) -> str:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return format_bytes(total)


def _next(config: TrialConfig, short: str, state: TrialStatus, members: Members) -> Iterator[str]:
    """Yield the commands that a user may want now."""
    declaration = next((declaration for _, _, declaration in members.values()), None)
    again = {
        State.FAILED: ["--retry-failed"],
        State.STALE: ["--rerun-stale"],
        State.DAMAGED: ["--rerun-damaged"],
        State.PAUSED: [],
        State.NEW: [],
    }
    yield f"care logs {short}" + (" --follow" if state.state == State.RUNNING else "")
    if state.state == State.FINISHED and not isinstance(config, PinnedTrial):
        yield f"care evaluate {short} FIELD=VALUE"
    if declaration and state.state in again:
        yield format_command(declaration, *again[state.state])
    elif state.state in (State.PAUSED, State.NEW, State.FAILED):
        yield "care train FILE"
