"""Each sweep of experiments/ablations/ can be planned, in a size for a GPU and a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.plan import make_plan
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.paths import ROOT

TRIALS = {"proteins-losses": 13 * 3, "shared-views": 7 * 5, "splits": 4 * 3}


@pytest.mark.parametrize("profile", ["paper", "small"])
@pytest.mark.parametrize("name", TRIALS)
def test_its_trials(name: str, profile: str, tmp_path: Path) -> None:
    sweep = load_sweep(ROOT / "experiments" / "ablations" / f"{name}.yaml", profile=profile)
    plan = make_plan(sweep, Store(tmp_path / "none"))
    assert len({trial.trial_id for trial in plan.trials}) == TRIALS[name]


def test_no_sweep_is_left_out() -> None:
    files = (ROOT / "experiments" / "ablations").glob("*.yaml")
    assert {file.stem for file in files} == set(TRIALS)
