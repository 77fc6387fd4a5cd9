"""The history of figures on each machine, and the lines that became slower.

Ratios of two noisy times are noisy: a line is slower only if its whole range is outside the earlier
range.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import TIMES, Line
from care.system.cores import available_cores

_History = dict[str, dict[str, dict[str, Any]]]


def machine() -> str:
    """Identify the machine of comparable figures: processor, cores, GPU, torch."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{_processor()}, {available_cores()} cores{gpu}, torch {torch.__version__}"


def slower_than_before(history: Path, lines: Sequence[Line]) -> list[str]:
    """Describe the lines that became slower, and store these figures for the next run."""
    known = _read(history)
    here = known.setdefault(machine(), {})
    slower = [
        f"{line.name} against {line.versus}: {line.low:.3g} – {line.high:.3g} {line.unit}, "
        f"was {before['low']:.3g} – {before['high']:.3g}"
        for line, before in _with_before(lines, here)
        if _is_slower(line, before)
    ]
    here.update({_key(line): line.as_dict() for line in lines})
    history.write_text(json.dumps(known, indent=2) + "\n")
    return slower


def _read(history: Path) -> _History:
    try:
        known: _History = json.loads(history.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known


def _with_before(
    lines: Iterable[Line], here: dict[str, dict[str, Any]]
) -> Iterable[tuple[Line, dict[str, Any]]]:
    return [(line, here[_key(line)]) for line in lines if _key(line) in here]


def _is_slower(line: Line, before: dict[str, Any]) -> bool:
    if line.unit in TIMES:
        return bool(line.low > before["high"])
    return bool(line.high < before["low"])


def _key(line: Line) -> str:
    # Without figures, which differ in every description of a floor.
    return f"{line.name} / {line.versus.split(':')[0]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
