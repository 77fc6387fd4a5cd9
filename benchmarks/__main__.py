"""``make bench``: ratios measured in one run, also written to benchmarks/results.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import augmentation, losses, threads
from benchmarks.measure import Line
from care.errors import ConfigError, unknown_name

BENCHMARKS: dict[str, Callable[[], Line]] = {
    "equivariance-loss": losses.equivariance,
    "infonce-loss": losses.contrast,
    "augmentation": augmentation.against_torchvision,
    "trials-side-by-side": threads.threads,
}


def main(only: str | None) -> None:
    """Run one benchmark or all of them.

    Raises:
        ConfigError: No benchmark of that name.
    """
    if only and only not in BENCHMARKS:
        raise ConfigError("make bench", [unknown_name("ONLY", only, BENCHMARKS)])
    torch.set_num_threads(1)
    table = Table("name", "against", "median", "range", "unit")
    table.columns[0].no_wrap = True
    lines = []
    for name, benchmark in BENCHMARKS.items():
        if only in (None, name):
            line = benchmark()
            lines.append(line.as_dict())
            spread = f"{line.low:.2f} – {line.high:.2f}"
            table.add_row(line.name, line.versus, f"{line.ratio:.2f}", spread, line.unit)
    Console().print(table)
    results = Path(__file__).parent / "results.json"
    results.write_text(json.dumps(lines, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else None)
    except ConfigError as error:
        sys.exit(f"error: {error}")
