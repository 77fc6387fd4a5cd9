"""``care sweep extend``: the file's new text, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from care.errors import CareError, ConfigError
from care.trials.state import State
from sweeps.cli.sweep_extend import extend_command
from sweeps.plan import make_plan
from sweeps.spec.extend import extend_text
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, fabricate
from tests.helpers.small_store import declared

TEXT = """\
# the question
name: tiny   # kept
axes:
  objective.equivariance.weight: [0, 0.1]   # λ
  objective.equivariance.splits:
    - 4
    - 8  # views
  objective.name: {values: [simclr], when: {seed: 0}}
seeds: 2
search: {name: optuna, trials: 10}
"""


def test_only_the_extended_values_change() -> None:
    changes = {
        f"axes.{WEIGHT}": "0.3,1e-5",
        f"axes.{SPLITS}": "16",
        "axes.objective.name": "byol",
        "seeds": "5",
        "search.trials": "60",
    }
    expected = TEXT.replace("0.1]", "0.1, 0.3, 1.0e-05]").replace("views\n", "views\n    - 16\n")
    expected = expected.replace("[simclr]", "[simclr, byol]").replace("seeds: 2", "seeds: 5")
    assert extend_text(TEXT, changes, "s.yaml") == expected.replace("trials: 10", "trials: 60")


def test_seeds_that_a_file_leaves_out() -> None:
    assert extend_text("name: a", {"seeds": "3"}, "s.yaml") == "name: a\nseeds: 3\n"


SCALARS = st.one_of(
    st.integers(-(2**40), 2**40),
    st.floats(-1e9, 1e9, allow_nan=False),
    st.sampled_from(["simclr", "a b", "yes", "1e3", "#x", "a: b", "null", "x]", "é", "-"]),
)


@given(
    old=st.lists(SCALARS, min_size=1, max_size=4),
    new=st.lists(SCALARS.filter(lambda value: not isinstance(value, str)), min_size=1, max_size=3),
    flow=st.booleans(),
    after=st.sampled_from(["", "seeds: 3\n", "# end\n"]),
)
def test_a_longer_axis_is_the_old_one_and_the_new_values(
    old: list[Any], new: list[Any], flow: bool, after: str
) -> None:
    tree = {"name": "a", "axes": {"x.y": old, "z": [1]}}
    text = yaml.safe_dump(tree, default_flow_style=flow, sort_keys=False) + (after * (not flow))
    typed = ",".join(
        yaml.safe_dump([value], default_flow_style=True).strip()[1:-1] for value in new
    )
    longer = extend_text(text, {"axes.x.y": typed}, "s.yaml")
    expected = yaml.safe_load(text)
    expected["axes"]["x.y"] = [*old, *new]
    assert yaml.safe_load(longer) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("axes.objective.equivariance.wieght", "1", "did you mean 'objective.equivariance.weight'"),
        ("axes.optimizer.learning_rate", "1", "allowed: an axis of s.yaml: objective.equi"),
        ("sedes", "5", "did you mean 'seeds'"),
        (f"axes.{WEIGHT}", "[", "command line|care sweep extend"),
        ("search.startup", "5", "allowed: seeds"),
    ],
)
def test_what_cannot_be_extended_is_named(field: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        extend_text(TEXT, {field: value}, "s.yaml")


def test_aliases_stand_for_several_places() -> None:
    with pytest.raises(ConfigError, match="without aliases"):
        extend_text("a: &x [1]\naxes: {b: *x}\n", {"axes.b": "2"}, "s.yaml")


def test_a_range_is_left_to_its_author() -> None:
    with pytest.raises(ConfigError, match="an axis with a list of values"):
        extend_text("axes: {b: {low: 0, high: 1}}", {"axes.b": "2"}, "s.yaml")


def extend(folder: Path, *changes: str, name: str = "") -> None:
    extend_command(name or str(folder / "sweep.yaml"), list(changes), folder / "runs")


def test_trials_that_are_there_stay_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "runs")
    for trial in make_plan(declared(tmp_path, store), store).trials:
        fabricate(store, trial.config, State.FINISHED, 3)
    file = tmp_path / "sweep.yaml"
    file.chmod(0o640)
    extend(tmp_path, "seeds=3", f"axes.{WEIGHT}=1", name="tiny")
    plan = make_plan(load_sweep(file), store)
    assert plan.counts() == {State.FINISHED: 4, State.NEW: 5}
    assert "5 trials more, 9 in all" in capsys.readouterr().out
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_name_of_another_sweep_than_the_file_declares_is_refused(tmp_path: Path) -> None:
    """It was started with a profile, whose trials the file alone does not have."""
    store = Store(tmp_path / "runs")
    declared(tmp_path, store)
    file = declare(tmp_path, name="renamed")
    before = file.read_bytes()
    with pytest.raises(CareError, match=r"tiny is another sweep than .* declares now, 'renamed'"):
        extend(tmp_path, "seeds=3", name="tiny")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["seeds=1"], "2 of 4 would be gone"),
        (["seeds=[7,8,9]"], "4 of 4 would be gone"),
        (["seeds=2"], "it has all 4 trials"),
        ([f"axes.{WEIGHT}=0.1"], "each value once|it has all 4 trials"),
        (["seeds=many"], "a number of seeds or a list"),
        (["seeds=3", "seeds=4"], "each field once"),
        (["seeds"], "FIELD=VALUE"),
        ([f"axes.{WEIGHT}=-1"], "greater than or equal to 0"),
    ],
)
def test_a_change_that_is_refused_leaves_the_file(
    tmp_path: Path, changes: list[str], expected: str
) -> None:
    file = declare(tmp_path)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=expected):
        extend(tmp_path, *changes)
    assert file.read_bytes() == before
    assert not (tmp_path / "runs").exists()
