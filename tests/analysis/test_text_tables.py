"""Tables for papers: what LaTeX and Markdown would take as their own is escaped."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from analysis.statistics import estimate
from analysis.tables import MainTable
from analysis.text_tables import escape_latex, format_latex, format_markdown
from tests.helpers.example_store import MadeStore

TABLE = MainTable(
    axes=["λ", "method"],
    heads={"γ_f ↓": 2, "hue R² ↑": 1},
    spaces=["input", "sphere", "sphere"],
    rows=[
        (["0.1", "a_b & 50%"], [estimate([1.0, 2.0]), estimate([0.5]), estimate([])]),
        (["⚠\u00a01", r"\x{|}"], [estimate([-1.0, -1.0]), estimate([0.25]), estimate([3.0])]),
    ],
)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removesuffix(r" \\").split(" & ")]


def test_latex_has_the_means_with_half_the_width_of_their_intervals() -> None:
    text = format_latex(TABLE, "a sweep")
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    # Two values 1 apart: t(0.975, 1 degree of freedom) = 12.706, times 0.7071 / √2 = 0.5.
    assert cells(rows[2]) == [
        "0.1",
        r"a\_b \& 50\%",
        r"1.500 $\pm$ 6.353",
        "0.500",
        "--",
    ]
    assert cells(rows[3])[:2] == [r"$\dagger$~1", r"\textbackslash{}x\{\textbar{}\}"]
    assert r"\multicolumn{2}{l}{$\gamma_f$ $\downarrow$}" in rows[0]
    assert r"\cmidrule(r){3-4} \cmidrule(r){5-5}" in text
    assert r"$\dagger$: nearly collapsed" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1


def test_every_row_of_latex_has_every_column() -> None:
    text = format_latex(TABLE, "a sweep")
    columns = re.search(r"\\begin\{tabular\}\{(l+)\}", text)
    assert columns
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows[1:]} == {len(columns[1])}


@pytest.mark.parametrize("text", ["$x$", "#1", "a^b", "~", "100%", "\\input{/etc/passwd}"])
def test_nothing_in_a_name_is_a_command_of_latex(text: str) -> None:
    escaped = escape_latex(text)
    for command in (r"\textbackslash{}", r"\textasciicircum{}", r"\textasciitilde{}"):
        escaped = escaped.replace(command, "")
    assert not re.search(r"(?<!\\)[$#%^~{}]|\\[a-z]", escaped)


def test_markdown_is_a_table_whatever_the_names() -> None:
    lines = format_markdown(TABLE, "a sweep").splitlines()
    table = lines[: lines.index("")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {6}
    assert {len(line) for line in table} == {len(table[0])}
    assert "1.500 ± 6.353" in table[2]
    assert r"a\_b & 50%" in table[2]


def test_the_report_has_both_and_their_numbers_are_the_csvs(store: MadeStore) -> None:
    page = store.report(store.summary("table"))
    folder: Path = store.root / "report" / "tables"
    text = (folder / "measures.md").read_text()
    with (folder / "summary.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "head/gamma"]
    assert len(rows) == 2
    for row in rows:
        assert re.search(rf"\| {row['variant']} .*\b{float(row['mean']):.3f} ±", text)
    for name in ("measures.md", "measures.tex", "summary.csv"):
        assert f'href="tables/{name}"' in page
