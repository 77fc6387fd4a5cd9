"""Print rows as a table: cut to the width of a terminal, whole in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from sweeps.process.terminal import shorten

_GAP = 2
_NARROWEST = 8


def print_table(
    console: Console,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    flexible: int,
    right: Sequence[int] = (),
    styles: Sequence[tuple[int, str]] = (),
) -> None:
    """Print rows below a head.

    Args:
        console: The terminal or pipe.
        head: Names of the columns.
        rows: Cells, a row of as many as the head.
        flexible: Index of the column that is shortened when the terminal is too narrow.
        right: Indices of columns with numbers, which are aligned to the right.
        styles: For each row the index of the colored cell, and its style.
    """
    widths = [max(cell_len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    if console.is_terminal:
        others = sum(widths) - widths[flexible] + _GAP * (len(head) - 1)
        widths[flexible] = max(_NARROWEST, min(widths[flexible], console.width - 1 - others))
    for number, row in enumerate([head, *rows]):
        colored, style = styles[number - 1] if number and styles else (-1, "")
        line = Text()
        for index, cell in enumerate(row):
            cut = shorten(cell, widths[index]) if index == flexible else cell
            gap = " " * (widths[index] - cell_len(cut))
            padded = f"{gap}{cut}" if index in right else f"{cut}{gap}"
            line.append(padded, style if index == colored else "dim" if not number else None)
            line.append("" if index == len(row) - 1 else " " * _GAP)
        line.rstrip()
        console.print(line, soft_wrap=True)
