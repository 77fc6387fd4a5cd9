"""``care evaluate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from care.config import TrialConfig
from care.config.loading import load_trial, parse_override, set_field, validate
from care.errors import CareError, ConfigError, Problem
from care.system.files import DamagedFileError
from care.trials.find import find_trial
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from sweeps.cli.data import prepare_data
from sweeps.cli.python_warnings import shown_warnings
from sweeps.process.terminal import make_console
from sweeps.store import Store

_MAY_DIFFER = ("evaluation", "runtime")
_OF_ANY_ENCODER = ("data", "augmentation", "evaluation", "runtime")


def evaluate_command(name: str, overrides: list[str], root: Path, as_json: bool) -> None:
    """Evaluate a trial's network with other settings and print the measures; write nothing."""
    console = make_console(stderr=True)
    folder = find_trial(name, Store(root).trials)
    config = evaluation_config(folder, overrides)
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
    _print_measures(outcome.measures)


def measure_command(
    encoder: str,
    experiment: Path,
    overrides: list[str],
    root: Path,
    side: int | None,
    as_json: bool,
) -> None:
    """Measure any encoder on the data of an experiment and print the measures; write nothing."""
    for override in overrides:
        field, value = parse_override(override)
        if field.partition(".")[0] not in _OF_ANY_ENCODER:
            allowed = f"allowed: fields of {', '.join(_OF_ANY_ENCODER)}; nothing is trained"
            raise ConfigError("command line", [Problem(field, value, allowed)])
    config = load_trial(experiment, overrides)
    # Imported after the checks: torch takes seconds.
    from care.pretrained.measure import measure_encoder
    from care.pretrained.public_encoder import open_encoder
    from care.system.device import check_machine

    console = make_console(stderr=True)
    check_machine(config)
    with shown_warnings(console):
        opened = open_encoder(encoder, root, side)
    prepare_data([config], console)
    outcome = measure_encoder(opened, config)
    for note in outcome.notes:
        console.print(note)
    if as_json:
        facts = {"encoder": opened.name, "sha256": opened.sha256}
        settings = config.model_dump(mode="json", include=set(_OF_ANY_ENCODER) - {"runtime"})
        print(json.dumps({**facts, **settings, "measures": outcome.measures}, indent=1))
        return
    console.print(f"{opened.name}, weights of SHA-256 {opened.sha256}")
    _print_measures(outcome.measures)


def _print_measures(measures: Mapping[str, float]) -> None:
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
    identity = trial_id(validate(TrialConfig, identifying, str(folder.path)))
    if identity != folder.trial_id:
        problem = f"holds the configuration of another trial, {identity}"
        raise DamagedFileError(folder.path / "trial.json", problem)
    for override in overrides:
        field, value = parse_override(override)
        if field.partition(".")[0] not in _MAY_DIFFER:
            allowed = "allowed: fields of evaluation and runtime; others need a training"
            raise ConfigError("command line", [Problem(field, value, allowed)])
        set_field(tree, field, value)
    return validate(TrialConfig, tree, str(folder.path))
