"""``care evaluate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from care.config import TrialConfig
from care.config.evaluation import is_monitor
from care.config.loading import parse_override, set_field, validate
from care.errors import CareError, ConfigError, Problem
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.pinned import PinnedTrial, trial_model
from sweeps.cli.data import prepare_data
from sweeps.inventory import find_started
from sweeps.process.terminal import make_console
from sweeps.store import Store

_MAY_DIFFER = ("evaluation", "runtime")


def evaluate_command(name: str, overrides: list[str], root: Path, as_json: bool) -> None:
    """Evaluate a trial's network with other settings and print the measures; write nothing."""
    console = make_console(stderr=True)
    folder = find_started(name, Store(root))
    config = evaluation_config(folder, overrides)
    if isinstance(config, PinnedTrial):
        raise CareError(
            f"{folder.path}: was trained and measured with the code of another revision, "
            f"{config.code_version}; measures of this code would not compare with its own"
        )
    # Imported after the checks: torch takes seconds.
    from care.evaluation.reevaluate import reevaluate
    from care.system.device import resolve_device
    from care.system.precision import resolve_precision

    device = resolve_device(config.runtime.device)
    resolve_precision("evaluation.precision", config.evaluation.precision, device)
    prepare_data([config], console)
    outcome = reevaluate(folder, config, console.print)
    for note in outcome.notes:
        console.print(note)
    if as_json:
        print(json.dumps(outcome.measures, indent=1))
        return
    print_measures(outcome.measures)


def print_measures(measures: Mapping[str, float]) -> None:
    """Print measures by name, one a line."""
    for measure, value in sorted(measures.items()):
        print(f"{measure:32s} {value:.4f}")


def evaluation_config(folder: TrialFolder, overrides: Sequence[str]) -> TrialConfig:
    """Make a trial's configuration with other settings of its evaluation.

    Args:
        folder: The trial's folder.
        overrides: ``field=value`` below ``evaluation`` or ``runtime``.

    Raises:
        CareError: The trial was never started.
        ConfigError: Another field, or a value that is not allowed.
        DamagedFileError: The folder holds the configuration of another trial.
    """
    trial = folder.read_trial()
    if trial is None:
        raise CareError(f"{folder.path}: was never started, so there is no network to measure")
    tree = trial.config
    identifying = {name: part for name, part in tree.items() if name != "runtime"}
    identity = trial_id(validate(trial_model(identifying), identifying, str(folder.path)))
    if identity != folder.trial_id:
        problem = f"holds the configuration of another trial, {identity}"
        raise DamagedFileError(folder.path / "trial.json", problem)
    for override in overrides:
        field, value = parse_override(override)
        if field.partition(".")[0] not in _MAY_DIFFER:
            allowed = "allowed: fields of evaluation and runtime; others need a training"
            raise ConfigError("command line", [Problem(field, value, allowed)])
        if is_monitor(field):
            allowed = "allowed: other fields of evaluation; this one measures while a trial trains"
            raise ConfigError("command line", [Problem(field, value, allowed)])
        set_field(tree, field, value)
    return validate(trial_model(tree), tree, str(folder.path))
