"""Points that a CSV file lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from care.errors import Problem
from care.trials.records import SweepRecord
from sweeps.plan import make_plan
from sweeps.plan_remarks import changed_points
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, load

Refused = Callable[..., Problem]
TABLE = f"""\
objective.name , {WEIGHT},training.epochs,augmentation.crop.scale
simclr,1,4,"[0.2, 1]"
moco_v2,1e-2,,
"""


def listed(folder: Path, text: str, **changes: Any) -> Sweep:
    (folder / "points.csv").write_text(text, encoding="utf-8-sig")
    settings: dict[str, Any] = {"axes": None, "points": {"file": "points.csv"}}
    return load(folder, **{**settings, **changes})


def values(sweep: Sweep) -> str:
    return repr([list(point.values()) for point in sweep.points()])


def test_rows_are_points_with_the_types_of_their_fields(tmp_path: Path) -> None:
    sweep = listed(tmp_path, TABLE, seeds=2)
    assert values(sweep) == repr(
        [["simclr", 1.0, 4, [0.2, 1.0]], ["moco_v2", 0.01, 3, [0.08, 1.0]]]
    ), "epochs and crop of the second point are those of the experiment"
    plan = make_plan(sweep, Store(tmp_path / "runs"))
    assert len(plan.unique()) == 4
    assert [trial.config.objective.name for trial in plan.trials][::2] == ["simclr", "moco_v2"]
    assert len(make_plan(sweep.select(["λ=1"], None), Store(tmp_path)).trials) == 2
    record = SweepRecord(spec=sweep.spec.model_dump(mode="json"), base=sweep.base, file="gone.yaml")
    (tmp_path / "points.csv").unlink()
    assert values(restore_sweep(record)) == values(sweep)


def test_other_axes_multiply_the_points(tmp_path: Path) -> None:
    sweep = listed(tmp_path, f"{WEIGHT}\n0.1\n0.2\n", axes={SPLITS: [4, 8]})
    assert values(sweep) == repr([[0.1, 4], [0.1, 8], [0.2, 4], [0.2, 8]])


def test_a_trial_of_a_file_is_that_of_a_list(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    one = listed(tmp_path, f"{WEIGHT}\n1.0\n")
    assert list(make_plan(one, store).unique()) == list(
        make_plan(load(tmp_path, axes={WEIGHT: [1]}), store).unique()
    )


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    began = listed(tmp_path, f"{WEIGHT}\n0.1\n0.2\n")
    assert changed_points(began, store) == []
    store.prepare()
    record = SweepRecord(
        spec=began.spec.model_dump(mode="json"), base=began.base, file="sweep.yaml"
    )
    store.sweep("tiny").write(record)
    assert changed_points(began, store) == []
    (remark,) = changed_points(listed(tmp_path, f"{WEIGHT}\n0.2\n0.3\n0.4\n"), store)
    assert remark == "points.csv has changed since the last start: 2 points are new, 1 are gone"


@pytest.mark.parametrize(
    ("text", "field", "allowed"),
    [
        ("", "file", "a line of fields and a line for each point"),
        (f"{WEIGHT}\n\n", "file", "a line for each point"),
        (f"{WEIGHT},{SPLITS}\n0.1\n", "point 1", "2 cells"),
        (f"{WEIGHT},{WEIGHT}\n0.1,0.2\n", WEIGHT, "each column once"),
        ("objective.equivariance.wieght\n0.1\n", "objective.equivariance.wieght", "no such field"),
        (f"{WEIGHT}\n0.1\n0.1\n", f"axes.{WEIGHT}", "each value once"),
        (f"{WEIGHT},{SPLITS}\n0.1,4\n0.10,4.0\n", "zip.0", "each combination of values once"),
        (f"{WEIGHT}\nyes\n", "line 1", "true, or 'yes' in quotes"),
        (f"{WEIGHT}\nmuch\n", WEIGHT, "a valid number"),
        ("seed\n1\n", "axes.seed", "seeds have a list of their own"),
        ('a,"b\n', "file", "a CSV file"),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path, refused: Refused, text: str, field: str, allowed: str
) -> None:
    problem = refused(lambda: make_plan(listed(tmp_path, text), Store(tmp_path / "runs")))
    assert problem.field == field
    assert allowed in problem.allowed


def test_what_does_not_go_with_a_file(tmp_path: Path, refused: Refused) -> None:
    table = f"{WEIGHT}\n0.1\n"
    problem = refused(
        lambda: listed(tmp_path, table, search={"name": "optuna"}, axes={SPLITS: [4]})
    )
    assert (problem.field, problem.value) == ("search.name", "optuna")
    problem = refused(lambda: listed(tmp_path, table, axes={WEIGHT: [1]}))
    assert problem.field == f"axes.{WEIGHT}"
    problem = refused(lambda: listed(tmp_path, table, points={"file": "point.csv"}))
    assert (problem.field, problem.nearest) == ("file", "points.csv")
