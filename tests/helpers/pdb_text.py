"""Small made-up proteins as text of the PDB format, column by column (wwPDB format 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def atom(
    name: str,
    place: Sequence[float],
    *,
    number: int | str = 1,
    serial: int | str = 1,
    residue: str = "ALA",
    chain: str = "A",
    insertion: str = " ",
    alternate: str = " ",
    segment: str = "",
    element: str | None = None,
    record: str = "ATOM",
    coordinates: str | None = None,
) -> str:
    """A line of one atom; numbers wrap as they do in programs that have five and four columns."""
    serial = serial % 100_000 if isinstance(serial, int) else serial
    number = number % 10_000 if isinstance(number, int) else number
    columns = coordinates or "".join(f"{value:8.3f}" for value in place)
    shown = f" {name}" if len(name) < 4 else name
    element = name[0] if element is None else element
    return (
        f"{record:6s}{serial:>5} {shown:<4s}{alternate}{residue:<4s}{chain:>1s}"
        f"{number:>4}{insertion}   {columns}  1.00  0.00      {segment:<4s}{element:>2s}\n"
    )


def helix(count: int, *, away: float = 0.0) -> np.ndarray:
    """C-alpha places of an ideal helix in ångström, [count,3]; ``away`` moves it along x."""
    turn = np.arange(count)
    x, y, z = 2.3 * np.cos(1.745 * turn) + away, 2.3 * np.sin(1.745 * turn), 1.5 * turn
    return np.round(np.stack([x, y, z], 1), 3)


def residue(
    place: Sequence[float], names: Sequence[str] = ("N", "CA", "C"), **columns: object
) -> str:
    """The backbone of a residue around the C-alpha at ``place``: bonds of 1.5 Å."""
    moved = {"N": -1.5, "CA": 0.0, "C": 1.5}
    lines = []
    for name in names:
        x, y, z = place
        lines.append(atom(name, (x, y + moved[name], z), **columns))  # type: ignore[arg-type]
    return "".join(lines)


def chain(
    places: np.ndarray,
    *,
    first: int = 1,
    residues: Sequence[str] = ("ALA",),
    names: Sequence[str] = ("N", "CA", "C"),
    **columns: object,
) -> str:
    """Residues numbered from ``first`` on."""
    return "".join(
        residue(place, names, number=first + i, residue=residues[i % len(residues)], **columns)
        for i, place in enumerate(places.tolist())
    )
