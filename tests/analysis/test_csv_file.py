"""Tables as CSV have the bytes that pandas would write."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.csv_file import write_csv

NUMBERS = [0.0, -0.0, 1.0, 0.1 + 0.2, 1e-4, 9.99e-5, 1e-5, 5e-324, 1e10, 12345678901.5, 1e15]
NUMBERS += [1e16, 1.7976931348623157e308, 9999999999.999998, 0.00010000000000000002, -2.5]
NUMBERS += [math.nan, math.inf, -math.inf, 123456789.125, 1 / 3, 2.0**52 + 0.5]
TEXTS = ["plain", "", "a,b", 'with "quotes"', "two\nlines", "a\rb", " spaces ", "λ=0.1", None]


def check(table: pd.DataFrame, folder: Path) -> None:
    write_csv(table, folder / "ours.csv")
    table.to_csv(folder / "pandas.csv", index=False)
    assert (folder / "ours.csv").read_bytes() == (folder / "pandas.csv").read_bytes()


def columns(rows: int) -> dict[str, list[Any]]:
    return {
        "number": [NUMBERS[row % len(NUMBERS)] for row in range(rows)],
        "text": [TEXTS[row % len(TEXTS)] for row in range(rows)],
        "whole": [row * 10**9 for row in range(rows)],
        "flag": [row % 2 == 0 for row in range(rows)],
        'name, with "signs"': [math.nan] * rows,
    }


@pytest.mark.parametrize("rows", [0, 1, 100, 60_000])
def test_every_kind_of_column_is_written_as_by_pandas(tmp_path: Path, rows: int) -> None:
    check(pd.DataFrame(columns(rows)), tmp_path)


def test_a_column_of_several_types_is_written_as_by_pandas(tmp_path: Path) -> None:
    mixed = np.array([1, 0.5, "a,b", None, True], dtype=object)
    numbers = np.array([1, 0.5, 2, None, 1e-7], dtype=object)
    check(pd.DataFrame({"mixed": mixed, "value": [0.1, 2, 3, 4, 5]}), tmp_path)
    check(pd.DataFrame({"numbers": numbers, "value": [0.1, 2, 3, 4, 5]}), tmp_path)


def test_a_lone_column_with_empty_cells_is_written_as_by_pandas(tmp_path: Path) -> None:
    check(pd.DataFrame({"only": ["a", None, ""]}), tmp_path)
    check(pd.DataFrame(), tmp_path)


@given(st.lists(st.tuples(st.floats(), st.text(st.characters(codec="utf-8")))))
def test_any_number_and_text_is_written_as_by_pandas(rows: list[tuple[float, str]]) -> None:
    with TemporaryDirectory() as folder:
        table = pd.DataFrame(rows, columns=["number", "text"])
        table["number"] = table["number"].astype(float)
        check(table, Path(folder))


def test_digits_of_many_numbers_are_those_of_pandas(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    signs = random.choice([-1.0, 1.0], 20_000)
    numbers = signs * 10 ** random.uniform(-6, 17, 20_000)
    check(pd.DataFrame({"a": numbers, "b": np.round(numbers, 3), "c": signs}), tmp_path)
