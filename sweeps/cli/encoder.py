"""``care export`` and ``care reproduce``."""

from __future__ import annotations

from pathlib import Path

from care.errors import ConfigError, Problem
from care.pretrained.exported import WEIGHTS, is_exported
from care.pretrained.source import find_source
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.cli.python_warnings import shown_warnings
from sweeps.cli.train import train_trial
from sweeps.process.terminal import make_console
from sweeps.store import Store

_MOST_MEASURES = 5


def export_command(
    source: str, target: Path, root: Path, *, overwrite: bool, program: bool
) -> None:
    """Export the encoder of a trial and print how to load it."""
    path = find_source(source, root)
    if is_exported(path):
        allowed = "allowed: a trial; this is an export, which can be copied"
        raise ConfigError("care export", [Problem("trial", source, allowed)])
    from care.pretrained.export import export  # torch takes seconds

    console = make_console(stderr=True)
    with shown_warnings(console):
        record = export(TrialFolder(path), target, overwrite=overwrite, program=program)
    size = (target / WEIGHTS).stat().st_size / 1e6
    console = make_console()
    console.print(f"trial {record.trial_id}: {size:.1f} MB of weights in {target}")
    console.print(f"load it: care.load({str(target)!r})")


def reproduce_command(source: Path, overrides: list[str], root: Path) -> int:
    """Train an exported encoder again and compare it; return 0 if equal, else 1."""
    from care.pretrained.reproduce import compare, read_recipe, recipe_config

    console = make_console()
    record = read_recipe(source)
    config = recipe_config(record, source, overrides)
    store = Store(root)
    status = store.trial(trial_id(config)).read_status()
    if status is not None and status.state == State.FINISHED:
        console.print(
            f"{root} already has trial {record.trial_id}, which is compared as it is. "
            "To train it again, give an empty --store."
        )
    folder = train_trial(config, store, console)
    with shown_warnings(console):
        outcome = compare(record, folder)
    if outcome.equal:
        console.print(f"equal, bit for bit: SHA-256 {outcome.sha256}")
        return 0
    console.print(f"different: SHA-256 {outcome.sha256}, recorded {outcome.recorded}")
    for line in outcome.differences or ("nothing on record differs; the processor may",):
        console.print(f"  {line}")
    console.print(f"{len(outcome.measures)} of {len(record.measures)} measures differ")
    largest = sorted(outcome.measures.items(), key=lambda item: -abs(item[1][0] - item[1][1]))
    for name, (before, now) in largest[:_MOST_MEASURES]:
        console.print(f"  {name}: {before:.4f} recorded, {now:.4f} here")
    return 1
