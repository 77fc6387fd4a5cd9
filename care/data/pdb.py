"""Read the backbone atoms of PDB files, column by column (wwPDB format 3.3)."""

from __future__ import annotations

import re

from care.data.residues import BACKBONE, FARTHEST, Atom, Position, Residues
from care.errors import CareError

_COORDINATES_END = 54
# Requires a decimal point: without one, adjacent columns without a blank would read as one number.
_NUMBER = re.compile(r" *[+-]?[0-9]*\.[0-9]* *")
_DECIMALS = 3


def read_pdb(content: bytes) -> Residues:
    """Read the backbone atoms of the first model.

    Remarks may contain bytes outside ASCII. Serial numbers are ignored, as they wrap after 99,999.
    Residue numbers are compared as text, as they wrap after 9,999.

    Raises:
        CareError: The line of an atom ends before its coordinates.
    """
    residues = Residues()
    in_model = False
    text = content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    # Not splitlines(), which splits at some bytes outside ASCII.
    lines = re.split("\r\n|\n|\r", text)
    for number, line in enumerate(lines, start=1):
        record = line[:6]
        if record.startswith(("ATOM", "HETATM")):
            in_model = True
            if len(line) < _COORDINATES_END or (number == len(lines) and _is_truncated(lines)):
                raise CareError(f"line {number} ends too early, in column {len(line)}")
            if line[12:16].strip() in BACKBONE:
                residues.add(_parse_atom(line, number))
        elif record.rstrip() == "TER":
            residues.end_chain()
        elif record.rstrip() in ("END", "ENDMDL", "MODEL") and in_model:
            break
    return residues


def _is_truncated(lines: list[str]) -> bool:
    """Check whether the last line, without a line end, is shorter than its predecessor."""
    before = lines[-2] if len(lines) > 1 else ""
    same_record = before[:4] == lines[-1][:4]
    return same_record and len(lines[-1].rstrip()) < len(before.rstrip())


def _parse_atom(line: str, number: int) -> Atom:
    residue_number = line[22:27].strip()
    element = line[76:78].strip().upper()
    carbon: bool | None = element == "C" if element.isalpha() else None
    if carbon is None and line[12] == " ":
        carbon = True  # without an element, " CA " is C-alpha and "CA  " calcium
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
        position=_parse_position(line),
        text=line[30:54],
    )


def _parse_position(line: str) -> Position | None:
    """Read the coordinates; None if the columns do not hold three numbers."""
    fields = [line[start : start + 8] for start in (30, 38, 46)]
    if not all(_NUMBER.fullmatch(field) for field in fields):
        return None
    # A number wider than its columns shifts the rest of the line.
    if line[54:55].isdigit() and len(fields[2].rpartition(".")[2]) != _DECIMALS:
        return None
    try:
        x, y, z = map(float, fields)
    except ValueError:  # a decimal point without digits
        return None
    return (x, y, z) if max(abs(x), abs(y), abs(z)) < FARTHEST else None
