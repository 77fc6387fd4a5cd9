"""A sweep, from a process's start to its end, against other ways to run its trials."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import Result, ratios, seconds
from benchmarks.sides import SideError, environment
from care.config.loading import load_trial
from care.system.cores import available_cores
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from sweeps.store import Store

_ROOT = Path(__file__).parent.parent
EXPERIMENT = _ROOT / "experiments" / "digits.yaml"
WEIGHTS, SEEDS, EPOCHS = (0.0, 0.01, 0.1, 1.0), (0, 1), 3
"""The default sweep, shortened: eight trials of three epochs."""
_LONGEST_SECONDS = 300
_CARE = "import sweeps.cli.main; sweeps.cli.main.main()"

Measures = dict[str, dict[str, float]]
"""By trial, what stands at its end: the last epoch's metrics and the final measures."""


def overrides(weight: float, seed: int) -> list[str]:
    """Return the overrides that make the experiment the trial at a point."""
    return [
        f"objective.equivariance.weight={weight}",
        f"seed={seed}",
        f"training.epochs={EPOCHS}",
    ]


def points() -> list[tuple[float, int]]:
    """List (weight, seed) of each trial."""
    return [(weight, seed) for weight in WEIGHTS for seed in SEEDS]


def whole_sweep() -> list[Result]:
    """Time a loop over ``care train`` with all cores, and stock Ray Tune, against our driver.

    Ours is timed before and after them. Trials with equal thread counts are checked for equal
    numbers.
    """
    with tempfile.TemporaryDirectory() as root:
        before = _timed(_ours, Path(root, "before"))
        loop = _timed(_one_by_one, Path(root, "loop"))
        stock = _timed(_stock_tune, Path(root, "stock"))
        after = _timed(_ours, Path(root, "after"))
        theirs = json.loads(Path(root, "stock", "measures.json").read_text())
        for ours in ("before", "after"):
            check_equal(_stored(Path(root, ours)), theirs)
    sides = {"ours": (before, after), "loop": (loop,), "stock Ray Tune": (stock,)}
    for side, times in sides.items():
        print(f"{side}: {', '.join(f'{took:.1f} s' for took in times)}")
    versus = f"its trials one after another, each on {available_cores()} cores"
    return [
        ratios("sweep", versus, [(before, loop), (after, loop)]),
        ratios(
            "sweep", "stock Ray Tune with its MLflow callback", [(before, stock), (after, stock)]
        ),
    ]


def _timed(side: Callable[[Path], None], folder: Path) -> float:
    """Time a side in a new folder."""
    folder.mkdir()
    return seconds(lambda: side(folder))


def _ours(folder: Path) -> None:
    file = folder / "sweep.yaml"
    declared = {
        "name": "bench",
        "experiment": str(EXPERIMENT),
        "overrides": {"training.epochs": EPOCHS},
        "axes": {"objective.equivariance.weight": list(WEIGHTS)},
        "seeds": list(SEEDS),
        "metric": {"name": "head/gamma", "mode": "min"},
    }
    file.write_text(yaml.safe_dump(declared))
    # The others write no report.
    _care(folder, "sweep", "run", str(file), "--no-report", "--store", str(folder / "runs"))


def _one_by_one(folder: Path) -> None:
    for weight, seed in points():
        point = overrides(weight, seed)
        _care(folder, "train", str(EXPERIMENT), *point, "--store", str(folder / "runs"))


def _stock_tune(folder: Path) -> None:
    _run(folder, "-m", "benchmarks.stock_tune", str(folder))


def _care(folder: Path, *arguments: str) -> None:
    _run(folder, "-c", _CARE, *arguments)


def _run(folder: Path, *arguments: str) -> None:
    """Run a process of this Python to its end.

    Raises:
        SideError: It failed.
    """
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    variables = {**environment(), **quiet}
    with (folder / "output.txt").open("a+") as output:
        command = [sys.executable, *arguments]
        how: dict[str, Any] = {
            "cwd": _ROOT,
            "env": variables,
            "timeout": _LONGEST_SECONDS,
        }
        try:
            subprocess.run(command, stdout=output, stderr=output, check=True, **how)
        except subprocess.SubprocessError as error:
            output.seek(0)
            raise SideError(f"{error}\n{output.read()[-2000:]}") from error


def _stored(folder: Path) -> Measures:
    store = Store(folder / "runs")
    trials = (load_trial(EXPERIMENT, overrides(weight, seed)) for weight, seed in points())
    return {trial_id(trial): _final_values(store.trial(trial_id(trial))) for trial in trials}


def _final_values(folder: TrialFolder) -> dict[str, float]:
    return {**folder.read_metrics()[-1], **(folder.read_evaluation() or {})}


def check_equal(ours: Measures, theirs: Measures) -> None:
    """Check that all numbers of both sides are equal, bit for bit.

    Raises:
        SideError: A number differs, so the two did different work.
    """
    for identity, measures in ours.items():
        for name, value in measures.items():
            other = theirs[identity].get(name)
            if other != value and not math.isnan(value):
                raise SideError(f"trial {identity}: {name} is {value} here and {other} there")
