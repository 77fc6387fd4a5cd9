"""Names of axes, values and points, as the terminal, MLflow and the report print them."""

from __future__ import annotations

from analysis.labels import axis_label, axis_name, point_name, shorten, value_label

WEIGHT, RATE = "objective.equivariance.weight", "optimizer.learning_rate"


def test_a_point_is_named_in_one_line() -> None:
    point = {"variant": "CARE, wide", WEIGHT: 0.1234567, RATE: 0.03, "model.encoder": "small"}
    assert point_name(point, point.values()) == (
        "CARE, wide λ=0.1235 learning_rate=0.03 encoder=small"
    )
    assert point_name([], []) == ""


def test_an_axis_has_a_word_for_names_and_words_for_headings() -> None:
    assert [axis_name(WEIGHT), axis_name(RATE)] == ["λ", "learning_rate"]
    assert [axis_label(WEIGHT), axis_label(RATE)] == ["λ", "learning rate"]
    assert axis_label("variant") == "method"


def test_short_numbers_stay_as_they_were_written() -> None:
    values = [0.0, 1.0, 0.25, 1e-05, 0.12345, 0.1 + 0.2, 1234567.0]
    labels = ["0", "1", "0.25", "1e-05", "0.12345", "0.3", "1.235e+06"]
    assert list(map(value_label, values)) == labels


def test_labels_are_one_line_as_yaml_has_them() -> None:
    assert value_label(None) == "null"
    assert value_label([True, 0.50, "a"]) == "[true, 0.5, a]"
    assert value_label({"name": "simclr", "queue": None}) == "{name: simclr, queue: null}"
    assert value_label("a\n\x1b[31mb") == "a [31mb"
    assert shorten("x" * 30) == "x" * 30
    assert shorten("begin" + "x" * 50 + "end", 20) == "beginxxxxx…xxxxxxend"
