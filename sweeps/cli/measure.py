"""``care evaluate --encoder``: measure any encoder, store the result as a reference."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from care.config import TrialConfig
from care.config.loading import load_trial, parse_override, set_field, validate
from care.config.yaml_reader import read_yaml
from care.errors import CareError, ConfigError, Problem
from care.system.files import DamagedFileError
from care.trials.reference import (
    MEASURED_PARTS,
    EncoderRecord,
    Reference,
    add_name,
    read_reference,
    reference_id,
    references_of,
)
from care.trials.staleness import Versions
from sweeps.cli.data import prepare_data
from sweeps.cli.evaluate import print_measures
from sweeps.cli.python_warnings import shown_warnings
from sweeps.inventory import find_sweep_folder
from sweeps.process.logging import show_log
from sweeps.process.terminal import make_console
from sweeps.references import unmeasured
from sweeps.spec.sweep import Sweep, load_sweep, restore_sweep
from sweeps.store import Store

_OF_ANY_ENCODER = (*MEASURED_PARTS, "runtime")


@dataclass(frozen=True)
class MeasureOptions:
    """Options of ``care evaluate --encoder``.

    Attributes:
        side: Pixels at which an encoder of torchvision or timm sees the images; None for its own.
        store: Whether to store the measures, and to answer from stored ones.
        as_json: Whether to print JSON.
    """

    side: int | None = None
    store: bool = True
    as_json: bool = False


def measure_command(
    encoder: str, source: str, overrides: list[str], root: Path, options: MeasureOptions
) -> None:
    """Measure any encoder on the data of an experiment or sweep, store and print the measures.

    Args:
        encoder: An encoder of :func:`care.pretrained.public_encoder.open_encoder`.
        source: YAML file of an experiment or a sweep, or the name of a started sweep.
        overrides: ``field=value`` of the measurement.
        root: Folder of the store.
        options: The options.
    """
    console = make_console(stderr=True)
    show_log(console)  # only the measures go to standard output
    store = Store(root)
    config = measured_config(source, overrides, store)
    # Imported after the checks: torch takes seconds.
    from care.pretrained.measure import measure_encoder, measure_reference
    from care.pretrained.public_encoder import open_encoder
    from care.system.device import check_machine

    check_machine(config)
    with shown_warnings(console):
        opened = open_encoder(encoder, root, options.side)
    if not options.store:
        prepare_data([config], console)
        outcome = measure_encoder(opened, config)
        _print_outcome(opened.record, config, None, outcome.measures, outcome.notes, options)
        return
    stored = find_measured(opened.record, config, store, console.print)
    if stored is None:
        store.prepare()  # a store that cannot be written is refused before the measurement
        prepare_data([config], console)
        stored = measure_reference(opened, config, root)
    else:
        console.print(f"measured on {stored.record.created[:10]}, and not again")
        add_name(stored, opened.name)
    record, notes = stored.record, stored.notes()
    _print_outcome(record.encoder, config, record.reference_id, stored.measures, notes, options)


def measure_missing(sweep: Sweep, store: Store, console: Console, *, stale: bool) -> None:
    """Measure the references that a started sweep names, each in a process of its own.

    Args:
        sweep: The sweep.
        store: The store.
        console: The terminal.
        stale: Whether to measure those again whose measures are stale.

    Raises:
        CareError: An encoder could not be measured; its reason was printed.
    """
    for name in unmeasured(sweep, store, stale=stale):
        console.print(f"reference {name}")
        code = "from sweeps.cli.main import main; main()"
        arguments = ["evaluate", "--encoder", name, sweep.spec.name, "--store", str(store.root)]
        # Torch stays out of the driver.
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise CareError(
                f"{sweep.source}: reference {name} was not measured, and no trial was started. "
                "Correct or remove it, then repeat the command."
            )


def measured_config(source: str, overrides: Sequence[str], store: Store) -> TrialConfig:
    """Load the settings of a measurement from an experiment or a sweep.

    Raises:
        ConfigError: There is no such file or sweep, or an override is not of a measurement.
    """
    for override in overrides:
        field, value = parse_override(override)
        if field.partition(".")[0] not in _OF_ANY_ENCODER:
            allowed = f"allowed: fields of {', '.join(_OF_ANY_ENCODER)}; nothing is trained"
            raise ConfigError("command line", [Problem(field, value, allowed)])
    if not source.endswith((".yaml", ".yml")):
        sweep = restore_sweep(find_sweep_folder(source, store).declaration())
    elif "experiment" in read_yaml(Path(source)):
        sweep = load_sweep(Path(source))
    else:
        return load_trial(Path(source), overrides)
    tree = sweep.base_config().model_dump(mode="json")
    for override in overrides:
        set_field(tree, *parse_override(override))
    return validate(TrialConfig, tree, source)


def find_measured(
    encoder: EncoderRecord, config: TrialConfig, store: Store, warn: Callable[[str], object]
) -> Reference | None:
    """Find the stored measures of an encoder; None if there are none that count.

    Args:
        encoder: The encoder.
        config: The settings.
        store: The store.
        warn: Called with a line about measures that do not count, which the next ones replace.
    """
    path = references_of(store.root) / reference_id(encoder, config)
    try:
        stored = read_reference(path)
    except DamagedFileError as error:
        warn(f"{error.path} {error.problem}; the encoder is measured again")
        return None
    reason = stored.why_stale(Versions(), config) if stored else ""
    if reason:
        warn(f"{path.name}: {reason}; the encoder is measured again, and the archive keeps this")
        return None
    return stored


def _print_outcome(
    encoder: EncoderRecord,
    config: TrialConfig,
    reference: str | None,
    measures: Mapping[str, float],
    notes: Sequence[str],
    options: MeasureOptions,
) -> None:
    console = make_console(stderr=True)
    for note in notes:
        console.print(note)
    if options.as_json:
        facts = {"encoder": encoder.label, "sha256": encoder.sha256, "reference": reference}
        settings = config.model_dump(mode="json", include=set(MEASURED_PARTS))
        print(json.dumps({**facts, **settings, "measures": dict(measures)}, indent=1))
        return
    console.print(f"{encoder.label}, weights of SHA-256 {encoder.sha256}")
    if reference:
        console.print(f"stored as reference {reference}: care show {reference[:8]}")
    print_measures(measures)
