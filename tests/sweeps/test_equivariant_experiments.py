"""The comparison of equivariant methods: every one has a row, in a size for a GPU and a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from care.trials.identity import trial_id
from sweeps.plan import make_plan
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store
from tests.helpers.paths import ROOT

FOLDER = ROOT / "experiments" / "equivariant"
ROWS = {
    "SimCLR": "simclr",
    "SimCLR, 4 views": "simclr",
    "CARE (SimCLR)": "simclr",
    "VICReg": "vicreg",
    "CARE (VICReg)": "vicreg",
    "BYOL": "byol",
    "CARE (BYOL)": "byol",
    "EquiMod": "simclr",
    "AugSelf": "augself",
    "E-SSL": "essl",
    "SIE": "sie",
    "SEN": "sen",
    "STL": "stl",
}


def sweep(name: str, profile: str) -> Sweep:
    return load_sweep(FOLDER / f"{name}.yaml", profile=profile)


@pytest.mark.parametrize("profile", ["paper", "small"])
def test_every_method_has_a_row_of_three_seeds(profile: str, tmp_path: Path) -> None:
    methods = sweep("methods", profile)
    assert make_plan(methods, Store(tmp_path / "none")).wanted == 3 * len(ROWS)
    for row, objective in ROWS.items():
        config = methods.trial({"variant": row}, 0)
        assert config.objective.name == objective
        assert (config.objective.equivariance.weight > 0) == row.startswith("CARE")
        assert (config.objective.equimod_weight > 0) == (row == "EquiMod")
        assert config.model.encoder == {"paper": "resnet18", "small": "small"}[profile]


@pytest.mark.parametrize("profile", ["paper", "small"])
def test_both_sweeps_share_their_trials(profile: str) -> None:
    """λ of a row is one of the sweep over λ, which then trains nothing twice."""
    methods, weights = sweep("methods", profile), sweep("lambda", profile)
    for base in ("SimCLR", "VICReg", "BYOL"):
        for row, weight in ((base, 0), (f"CARE ({base})", 0.01)):
            point = {"variant": base, "objective.equivariance.weight": weight}
            mine, other = methods.trial({"variant": row}, 1), weights.trial(point, 1)
            assert trial_id(mine) == trial_id(other)
