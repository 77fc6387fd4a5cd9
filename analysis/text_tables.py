"""The table of the main measures for a paper in LaTeX, and for a text in Markdown."""

from __future__ import annotations

import re

from analysis.statistics import Estimate
from analysis.tables import MainTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "√": r"$\surd$",
    "²": r"$^2$",
    "°": r"$^\circ$",
    "±": r"$\pm$",
    "−": "$-$",
    "⚠": r"$\dagger$",
    "α": r"$\alpha$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "\u00a0": "~",
    "–": "--",
}
_PAIR = re.compile(r"γ_f")
_NOTE = "Mean ± half of the 95 % t-interval over seeds"
_COLLAPSED = "⚠: nearly collapsed"


def format_latex(table: MainTable, caption: str) -> str:
    """Format a table for LaTeX with the package booktabs.

    Args:
        table: The table.
        caption: The sweep, in a few words.
    """
    columns = "l" * (len(table.axes)) + "l" * len(table.spaces)
    first = len(table.axes) + 1
    heads, rules = [], []
    for head, width in table.heads.items():
        heads.append(rf"\multicolumn{{{width}}}{{l}}{{{escape_latex(head)}}}")
        rules.append(rf"\cmidrule(r){{{first}-{first + width - 1}}}")
        first += width
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(f'{caption}. {_note(table)}')}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join([*[""] * len(table.axes), *heads]).strip() + r" \\",
        " ".join(rules),
        _row([*table.axes, *table.spaces]),
        r"\midrule",
        *(_row([*levels, *map(format_cell, cells)]) for levels, cells in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return " & ".join(map(escape_latex, cells)) + r" \\"


def escape_latex(text: str) -> str:
    """Escape a text for LaTeX; signs of this project's labels become mathematics."""
    parts = _PAIR.split(text)
    return r"$\gamma_f$".join("".join(_LATEX.get(c, c) for c in part) for part in parts)


def format_markdown(table: MainTable, caption: str) -> str:
    """Format a table as Markdown of GitHub; its columns are aligned in plain text, too.

    Args:
        table: The table.
        caption: The sweep, in a few words.
    """
    measures = [head for head, width in table.heads.items() for _ in range(width)]
    heads = [f"{head}, {space}" for head, space in zip(measures, table.spaces, strict=True)]
    rows = [[*levels, *map(format_cell, cells)] for levels, cells in table.rows]
    escaped = [[_escape_markdown(cell) for cell in row] for row in [[*table.axes, *heads], *rows]]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in escaped
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    note = _escape_markdown(f"{caption}. {_note(table)}")
    return "\n".join([lines[0], rule, *lines[1:], "", note]) + "\n"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]$])", r"\\\1", text)


def format_cell(cell: Estimate) -> str:
    """Format a mean with half the width of its interval: ``0.498 ± 0.167``."""
    half = cell.interval.partition(",")[0]
    return f"{cell.value} {half}" if half.startswith("±") else cell.value


def _note(table: MainTable) -> str:
    counts = sorted({cell.n for _, cells in table.rows for cell in cells if cell.n})
    number = "" if not counts else f", n = {counts[0]}"
    if len(counts) > 1:
        number = f", n = {counts[0]} to {counts[-1]}"
    marked = any(levels and levels[0].startswith("⚠") for levels, _ in table.rows)
    return f"{_NOTE}{number}." + (f" {_COLLAPSED}." if marked else "")
