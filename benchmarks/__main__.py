"""``make bench``, ``make bench-gpu``: ratios measured in one run.

They are also written to benchmarks/results.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import (
    augmentation,
    gpu,
    losses,
    monitoring,
    packs,
    platform,
    probes,
    readouts,
    steps,
    suite,
    threads,
    tracking,
    whole_sweep,
)
from benchmarks.history import machine, slower_than_before
from benchmarks.measure import Line, Missing, Result
from care.errors import CareError, ConfigError, unknown_name
from care.system.cores import available_cores

_FOLDER = Path(__file__).parent

BENCHMARKS: dict[str, Callable[[], list[Result]]] = {
    "care-step-small": steps.care_small,
    "care-step-resnet18": steps.care_resnet18,
    "care-step-resnet50": steps.care_resnet50,
    "simclr-step-small": steps.simclr_small,
    "simclr-step-resnet18": steps.simclr_resnet18,
    "shared-views-small": steps.shared_small,
    "shared-views-resnet18": steps.shared_resnet18,
    "equivariance-loss": losses.equivariance,
    "infonce-loss": losses.contrast,
    "augmentation": augmentation.augmentation,
    "knn": probes.knn,
    "linear-probe": probes.linear_probe,
    "monitor": monitoring.monitoring,
    "readouts": readouts.readouts,
    "suite11": suite.suite,
    "trials-side-by-side": threads.threads,
    "pack": packs.pack,
    "sweep": whole_sweep.whole_sweep,
    "resume": platform.resume,
    "plan-10000": platform.plan,
    "collect-10000": platform.collect,
    "tracking": tracking.tracking,
}

GPU_BENCHMARKS: dict[str, Callable[[], list[Result]]] = {
    "care-step-small-gpu": gpu.care_small,
    "care-step-resnet18-gpu": gpu.care_resnet18,
    "care-step-resnet50-gpu": gpu.care_resnet50,
    "pack-small-gpu": gpu.pack_small,
    "pack-resnet18-gpu": gpu.pack_resnet18,
}


def main(only: str | None, benchmarks: dict[str, Callable[[], list[Result]]] = BENCHMARKS) -> None:
    """Run one of ``benchmarks`` or all of them.

    Raises:
        ConfigError: No benchmark of that name.
    """
    if only and only not in benchmarks:
        raise ConfigError("make bench", [unknown_name("ONLY", only, benchmarks)])
    torch.set_num_threads(1)
    console = Console()
    console.print(machine())
    _warn_of_other_work(console)
    results: list[Result] = []
    for name in [only] if only else benchmarks:
        console.print(f"measuring {name}", style="dim")
        results += _measure(name, benchmarks[name])
    console.print(_table(results))
    lines = [line for line in results if isinstance(line, Line)]
    records = [line.as_dict() for line in lines]
    (_FOLDER / "results.json").write_text(json.dumps(records, indent=2) + "\n")
    for sentence in slower_than_before(_FOLDER / "history.json", lines):
        console.print(f"slower than the last time: {sentence}", style="bold red")


def _warn_of_other_work(console: Console) -> None:
    load, cores = os.getloadavg()[0], available_cores()
    if load > cores / 2:
        console.print(
            f"other work runs here (load {load:.1f} on {cores} cores): ranges will be wide, "
            "perhaps too wide for any conclusion about the ResNets",
            style="yellow",
        )


def _measure(name: str, benchmark: Callable[[], list[Result]]) -> list[Result]:
    """Measure one benchmark's lines; if it cannot run here, return a line with the reason."""
    try:
        return benchmark()
    except CareError as error:
        return [Missing(name, "", str(error))]


def _table(results: list[Result]) -> Table:
    table = Table("name", "against", "median", "range", "unit")
    table.columns[0].no_wrap = True
    for line in results:
        if isinstance(line, Missing):
            table.add_row(line.name, line.versus, "–", "", line.reason)
            continue
        spread = f"{line.low:.2f} – {line.high:.2f}"
        table.add_row(line.name, line.versus, f"{line.ratio:.2f}", spread, line.unit)
    return table


if __name__ == "__main__":
    try:
        on_gpu = sys.argv[1:2] == ["--gpu"]
        name = sys.argv[1 + on_gpu :]
        main(name[0] if name else None, GPU_BENCHMARKS if on_gpu else BENCHMARKS)
    except ConfigError as error:
        sys.exit(f"error: {error}")
