"""The history of a search: what each suggestion gave, the best so far, and the hypervolume."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.search_history import hypervolume
from care.system.rng import generator
from care.trials.state import State
from sweeps.report import write_sweep_report
from tests.helpers.declaring import WEIGHT
from tests.helpers.searched import Result, search_store

TAU = "objective.temperature"
PROBE, GAMMA = "encoder/probe_accuracy", "head/gamma"
SPACE = {WEIGHT: {"low": 1e-3, "high": 1.0, "log": True}, TAU: {"low": 0.1, "high": 0.5}}
UNIT = generator(0, "searched").random((24, 2))
POINTS = [{WEIGHT: float(10 ** (3 * u - 3)), TAU: float(0.1 + 0.4 * v)} for u, v in UNIT]


def cells(points: list[tuple[float, ...]], corner: tuple[float, ...]) -> float:
    """The exact volume: every cell of the grid through the points' coordinates, one by one."""
    sides = [
        sorted({min(one[axis], end) for one in points} | {end}) for axis, end in enumerate(corner)
    ]
    total = 0.0
    for low in itertools.product(*(range(len(side) - 1) for side in sides)):
        start = [side[index] for side, index in zip(sides, low, strict=True)]
        if any(all(a <= b for a, b in zip(one, start, strict=True)) for one in points):
            lengths = [side[i + 1] - side[i] for side, i in zip(sides, low, strict=True)]
            total += math.prod(lengths)
    return total


@pytest.mark.parametrize("metrics", [1, 2, 3])
def test_the_hypervolume_is_the_sum_of_the_beaten_cells(metrics: int) -> None:
    random = generator(0, "volumes", metrics)
    for _ in range(20):
        points = [tuple(row) for row in random.integers(0, 6, (7, metrics)).astype(float).tolist()]
        corner = (5.0,) * metrics
        assert hypervolume(points, corner) == pytest.approx(cells(points, corner))


def test_a_point_beyond_the_corner_adds_nothing() -> None:
    assert hypervolume([(0.0, 0.0)], (1.0, 2.0)) == 2
    assert hypervolume([(0.0, 0.0), (-5.0, 3.0)], (1.0, 2.0)) == 2
    assert hypervolume([], (1.0, 2.0)) == 0


def two(number: int, point: dict[str, Any], seed: int) -> Result:
    if number == 2:
        return State.FAILED
    return {
        PROBE: 0.9 - abs(math.log10(point[WEIGHT]) + 1) / 5 + seed / 100,
        GAMMA: point[TAU] + seed / 100,
    }


def test_the_report_shows_a_search_with_two_metrics(tmp_path: Path) -> None:
    metrics = [{"name": PROBE, "mode": "max"}, {"name": GAMMA, "mode": "min"}]
    search = {"name": "optuna", "trials": len(POINTS), "sampler": "nsga2"}
    sweep, store = search_store(tmp_path, POINTS, two, axes=SPACE, search=search, metrics=metrics)
    page = write_sweep_report(sweep, store)
    table = pd.read_csv(page.parent / "tables" / "history.csv")
    assert table["suggestion"].tolist() == list(range(1, 25))
    assert table[WEIGHT].tolist() == pytest.approx([point[WEIGHT] for point in POINTS])
    assert table["state"].tolist() == [
        "failed" if number == 2 else "finished" for number in range(24)
    ]
    assert table[f"best {PROBE}"].tolist() == pytest.approx(table[PROBE].cummax().ffill().tolist())
    assert table[f"best {GAMMA}"].tolist() == pytest.approx(table[GAMMA].cummin().ffill().tolist())
    losses = table[[PROBE, GAMMA]].to_numpy() * np.array([-1.0, 1.0])
    known = losses[np.isfinite(losses).all(axis=1)]
    corner = tuple((known.max(axis=0) + 0.1 * np.ptp(known, axis=0)).tolist())
    assert table["hypervolume"].iloc[-1] == pytest.approx(
        cells([tuple(r) for r in known.tolist()], corner)
    )
    assert table["hypervolume"].is_monotonic_increasing
    text = page.read_text(encoding="utf-8")
    assert "fANOVA by Optuna" in text
    for name in ("history", "importance", "slices"):
        assert f'<h2 id="{name}">' in text
    assert "class, probe, input of 24 suggestions in their order: the best, " in text
    assert (
        f"up to the corner (class, probe, input {-corner[0]:.4g}, γ_f, sphere {corner[1]:.4g})"
        in text
    )
    assert "of 23 points against λ: the best point has " in text
    assert "over τ and λ, from 23 points; the best, " in text or "over λ and τ, from 23" in text
    assert {path.stem for path in (page.parent / "figures").glob("*.png")} >= {"contour", "slices"}


def test_a_stopped_point_is_shown_and_is_never_the_best(tmp_path: Path) -> None:
    def result(number: int, point: dict[str, Any], seed: int) -> Result:
        return (1, 0.01) if number == 1 else {"heldout/gamma": 1 - number / 100}

    search = {"name": "optuna", "trials": 6}
    metric = {"name": "heldout/gamma", "mode": "min"}
    scheduler = {"name": "asha"}
    sweep, store = search_store(
        tmp_path, POINTS[:6], result, axes=SPACE, search=search, metric=metric, scheduler=scheduler
    )
    page = write_sweep_report(sweep, store)
    table = pd.read_csv(page.parent / "tables" / "history.csv")
    assert table["state"].tolist() == ["finished", "stopped", *["finished"] * 4]
    assert table["heldout/gamma"].tolist() == pytest.approx([1, 0.01, 0.98, 0.97, 0.96, 0.95])
    best = table["best heldout/gamma"].tolist()
    assert best == pytest.approx([1, 1, 0.98, 0.97, 0.96, 0.95])
    text = page.read_text(encoding="utf-8")
    assert "stopped early" in text
    assert "hypervolume" not in text
    assert "is not computed: it needs a full grid with all seeds, or 20" in text
