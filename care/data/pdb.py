"""Atoms of the PDB format, column by column (wwPDB format 3.3)."""

from __future__ import annotations

import re

from care.data.residues import BACKBONE, FARTHEST, Atom, Place, Residues
from care.errors import CareError

_COORDINATES_END = 54
# A decimal point is needed: without it, digits of two columns that ran together look like one.
_NUMBER = re.compile(r" *[+-]?[0-9]*\.[0-9]* *")
_DECIMALS = 3


def read_pdb(content: bytes) -> Residues:
    """Read the backbone atoms of the first model.

    Bytes outside ASCII may stand in remarks. Serial numbers are not read, as they wrap after
    99,999; residue numbers are compared as text, as they wrap after 9,999.

    Raises:
        CareError: A line of an atom ends before its coordinates do.
    """
    residues = Residues()
    in_model = False
    text = content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    # Not splitlines(): some bytes outside ASCII would count as ends of lines.
    lines = re.split("\r\n|\n|\r", text)
    for number, line in enumerate(lines, start=1):
        record = line[:6]
        if record.startswith(("ATOM", "HETATM")):
            in_model = True
            if len(line) < _COORDINATES_END or (number == len(lines) and _is_cut(lines)):
                raise CareError(f"line {number} ends too early, in column {len(line)}")
            if line[12:16].strip() in BACKBONE:
                residues.add(_atom(line, number))
        elif record.rstrip() == "TER":
            residues.end_chain()
        elif record.rstrip() in ("END", "ENDMDL", "MODEL") and in_model:
            break
    return residues


def _is_cut(lines: list[str]) -> bool:
    """Whether the last line, which no end of a line follows, is shorter than the one before."""
    before = lines[-2] if len(lines) > 1 else ""
    same = before[:4] == lines[-1][:4]
    return same and len(lines[-1].rstrip()) < len(before.rstrip())


def _atom(line: str, number: int) -> Atom:
    residue_number = line[22:27].strip()
    element = line[76:78].strip().upper()
    carbon: bool | None = element == "C" if element.isalpha() else None
    if carbon is None and line[12] == " ":
        carbon = True  # " CA " is C-alpha and "CA  " calcium, where no element is given
    return Atom(
        where=f"line {number}",
        name=line[12:16].strip(),
        carbon=carbon,
        residue=line[17:21].strip(),  # column 21 is a fourth letter with some force fields
        number="" if "*" in residue_number else residue_number,
        chain=(line[20:22].strip(), line[72:76].strip()),
        alternate=line[16].strip(),
        hetero=line.startswith("HETATM"),
        polymer=None,
        place=_place(line),
        text=line[30:54],
    )


def _place(line: str) -> Place | None:
    """The coordinates, or None where the columns hold anything else than three numbers."""
    fields = [line[start : start + 8] for start in (30, 38, 46)]
    if not all(_NUMBER.fullmatch(field) for field in fields):
        return None
    # A number too wide for its columns moves the rest of the line.
    if line[54:55].isdigit() and len(fields[2].rpartition(".")[2]) != _DECIMALS:
        return None
    try:
        x, y, z = map(float, fields)
    except ValueError:  # a point alone
        return None
    return (x, y, z) if max(abs(x), abs(y), abs(z)) < FARTHEST else None
