"""``make bench``: ratios measured in one run, also written to benchmarks/results.json."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import augmentation, judging, losses, packs, platform, steps, threads, whole_sweep
from benchmarks.guard import machine, slower_than_before
from benchmarks.measure import Found, Line, Missing
from care.cores import available_cores
from care.errors import CareError, ConfigError, unknown_name

_FOLDER = Path(__file__).parent

BENCHMARKS: dict[str, Callable[[], list[Found]]] = {
    "care-step-small": steps.care_small,
    "care-step-resnet18": steps.care_resnet18,
    "care-step-resnet50": steps.care_resnet50,
    "simclr-step-small": steps.simclr_small,
    "simclr-step-resnet18": steps.simclr_resnet18,
    "equivariance-loss": losses.equivariance,
    "infonce-loss": losses.contrast,
    "augmentation": augmentation.augmentation,
    "knn": judging.knn,
    "linear-probe": judging.linear_probe,
    "trials-side-by-side": threads.threads,
    "pack": packs.pack,
    "sweep": whole_sweep.whole_sweep,
    "resume": platform.resume,
    "plan-10000": platform.plan,
    "collect-10000": platform.collect,
}


def main(only: str | None) -> None:
    """Run one benchmark or all of them.

    Raises:
        ConfigError: No benchmark of that name.
    """
    if only and only not in BENCHMARKS:
        raise ConfigError("make bench", [unknown_name("ONLY", only, BENCHMARKS)])
    torch.set_num_threads(1)
    console = Console()
    console.print(machine())
    _warn_of_other_work(console)
    found: list[Found] = []
    for name in [only] if only else BENCHMARKS:
        console.print(f"measuring {name}", style="dim")
        found += _measure(name)
    console.print(_table(found))
    lines = [line for line in found if isinstance(line, Line)]
    results = [line.as_dict() for line in lines]
    (_FOLDER / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    for sentence in slower_than_before(_FOLDER / "history.json", lines):
        console.print(f"slower than the last time: {sentence}", style="bold red")


def _warn_of_other_work(console: Console) -> None:
    load, cores = os.getloadavg()[0], available_cores()
    if load > cores / 2:
        said = f"other work runs here (load {load:.1f} on {cores} cores): ranges will be wide, "
        console.print(f"{said}perhaps too wide for the ResNets to say anything", style="yellow")


def _measure(name: str) -> list[Found]:
    """One benchmark's lines; one that cannot run here does not take the others along."""
    try:
        return BENCHMARKS[name]()
    except CareError as error:
        return [Missing(name, "", str(error))]


def _table(found: list[Found]) -> Table:
    table = Table("name", "against", "median", "range", "unit")
    table.columns[0].no_wrap = True
    for line in found:
        if isinstance(line, Missing):
            table.add_row(line.name, line.versus, "–", "", line.reason)
            continue
        spread = f"{line.low:.2f} – {line.high:.2f}"
        table.add_row(line.name, line.versus, f"{line.ratio:.2f}", spread, line.unit)
    return table


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else None)
    except ConfigError as error:
        sys.exit(f"error: {error}")
