"""Fields that are computed from others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.labels import UNUSED
from care.errors import ConfigError
from care.trials.records import SweepRecord
from sweeps.plan import make_plan
from sweeps.question import differences, question_of
from sweeps.spec.expressions import Expression, ExpressionError, parse
from sweeps.spec.sweep import load_sweep, restore_sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, load

BATCH, EPOCHS, RATE = "training.batch_size", "training.epochs", "optimizer.learning_rate"
VALUES: dict[str, Any] = {"a": 3, "b.c": -2, "b.d.e": 0.25, "zero": 0}
NUMBERS = st.integers(-9, 9).map(lambda n: f"({n})") | st.sampled_from(["2.5", "1e3", ".5"])
TREES = st.recursive(
    NUMBERS | st.sampled_from(list(VALUES)),
    lambda inner: st.one_of(
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]),
            inner,
        ),
        st.builds("{}{}".format, st.sampled_from("+-"), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
    ),
    max_leaves=12,
)


def by_python(text: str) -> Any:
    """The value by Python itself; None where it has none."""
    names = {"b.d.e": "x2", "b.c": "x1"}
    for name, short in names.items():
        text = text.replace(name, short)
    known = {"a": 3, "x1": -2, "x2": 0.25, "zero": 0}
    try:
        return eval(text, {"__builtins__": {}, "min": min, "max": max}, known)
    except (ZeroDivisionError, OverflowError):
        return None


@given(TREES)
def test_values_are_those_of_python(text: str) -> None:
    try:
        value = parse(text).value(VALUES.__getitem__)
    except ExpressionError as error:
        refused_anyway = any(word in str(error) for word in ("exponents", "integers", "levels"))
        expected = None if refused_anyway else by_python(text)
        assert expected is None or isinstance(expected, complex) or not math.isfinite(expected)
        return
    expected = by_python(text)
    assert (value, type(value)) == (expected, type(expected))


@given(st.text(max_size=60) | st.text("()[]{}.,:*/+-%=<>!@ab1e'\"λ\\\n", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except ExpressionError:
        return
    assert isinstance(parsed, Expression)


@pytest.mark.parametrize(
    "text",
    ["(" * 400 + "1" + ")" * 400, "-" * 499 + "1", "a" * 501, "a.b()", "a[0]", "lambda: 1", "'a' * 9",
     "1j", "True", "min(1)", "min(*a)", "min(1, 2, key=a)", "1 < 2", "not a", "1 @ 2",
     "(x := 1)", "9223372036854775808", "1e999", "f'{a}'", "[1][0]", "().__class__", ""],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text).value(VALUES.__getitem__)


def test_fields_are_computed_at_every_point(tmp_path: Path) -> None:
    expressions = {
        RATE: f"0.05 * min({BATCH}, 128) / 128",
        BATCH: f"16 * {SPLITS} / 2 * 2",
    }
    sweep = load(tmp_path, axes={SPLITS: [4, 8, 16]}, expressions=expressions, seeds=2)
    plan = make_plan(sweep, Store(tmp_path / "runs"))
    found = [(t.config.training.batch_size, t.config.optimizer.learning_rate) for t in plan.trials]
    assert found[::2] == [(64, 0.025), (128, 0.05), (256, 0.05)]
    assert type(found[0][0]) is int
    assert plan.trials[0].label == "splits=4 seed=0"
    record = SweepRecord(spec=sweep.spec.model_dump(mode="json"), base=sweep.base, file="")
    again = make_plan(restore_sweep(record), Store(tmp_path / "runs"))
    assert list(again.unique()) == list(plan.unique())


def test_a_computed_trial_is_that_of_a_list(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    computed = load(tmp_path, axes={SPLITS: [8]}, expressions={BATCH: f"32 * {SPLITS}"})
    plain = load(tmp_path, axes={SPLITS: [8], BATCH: [256]})
    assert list(make_plan(computed, store).unique()) == list(make_plan(plain, store).unique())


def test_a_condition_on_a_computed_field(tmp_path: Path) -> None:
    axes = {
        RATE: {"values": [0.1, 0.2], "when": {BATCH: 128}},
        SPLITS: [4, 8],
    }
    sweep = load(tmp_path, axes=axes, expressions={BATCH: f"16 * {SPLITS}"})
    assert [list(point.values()) for point in sweep.points()] == [[UNUSED, 4], [0.1, 8], [0.2, 8]]


def test_a_variant_sets_what_an_expression_reads(tmp_path: Path) -> None:
    variants = {"few": {SPLITS: 4}, "many": {SPLITS: 16}}
    sweep = load(tmp_path, variants=variants, axes={}, expressions={EPOCHS: f"{SPLITS} // 2"})
    found = {point["variant"]: sweep.trial(point, 0).training.epochs for point in sweep.points()}
    assert found == {"few": 2, "many": 8}


def test_the_command_line_does_not_overwrite_an_expression(tmp_path: Path) -> None:

    file = declare(tmp_path, expressions={EPOCHS: f"{SPLITS} // 2"})
    with pytest.raises(ConfigError, match=r"training\.epochs.*without an expression"):
        load_sweep(file, (f"{EPOCHS}=3",))
    sweep = load_sweep(file, (f"{SPLITS}=8",))
    assert sweep.trial({WEIGHT: 0.1}, 0).training.epochs == 4


def test_another_expression_is_another_question(tmp_path: Path) -> None:
    axes = {WEIGHT: {"low": 0, "high": 1}}
    one, other = (
        question_of(
            load(tmp_path, axes=axes, search={"name": "optuna"}, expressions={EPOCHS: text})
        )
        for text in ("2 + 2", "2 + 3")
    )
    assert [each.field for each in differences(one, other)][:1] == [f"expressions.{EPOCHS}"]
