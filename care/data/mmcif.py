"""Read the backbone atoms of mmCIF files; gemmi parses the syntax."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from care.data.residues import BACKBONE, FARTHEST, Atom, Position, Residues
from care.errors import CareError

_COORDINATES = ("Cartn_x", "Cartn_y", "Cartn_z")


def read_mmcif(content: bytes) -> Residues:
    """Read the backbone atoms of the first model.

    Blocks without atoms, e.g. dictionaries of ligands, are skipped.

    Raises:
        CareError: The file is not mmCIF, or not exactly one block has atoms.
    """
    import gemmi

    try:
        # CIF is ASCII; Latin-1 accepts all other bytes, e.g. in authors' names.
        document = gemmi.cif.read_string(content.decode("latin-1"))
        tables = [(block.name, block.find_mmcif_category("_atom_site.")) for block in document]
    except (ValueError, RuntimeError) as error:
        raise CareError(f"not mmCIF: {str(error).splitlines()[0]}") from error
    tables = [(name, table) for name, table in tables if len(table)]
    if len(tables) != 1:
        names = ", ".join(repr(name) for name, _ in tables)
        raise CareError(f"{len(tables)} blocks with atoms{names and ': ' + names}; needed: one")
    return _collect_residues(tables[0][1])


def _collect_residues(table: Any) -> Residues:
    columns = _Columns(table)
    missing = [name for name in _COORDINATES if not columns.has(name)]
    missing += [] if columns.has("label_atom_id", "auth_atom_id") else ["label_atom_id"]
    if missing:
        raise CareError(f"atoms without _atom_site.{missing[0]}")
    model = columns.get("pdbx_PDB_model_num")
    names = columns.get("label_atom_id", "auth_atom_id")
    rows = range(len(table))
    has_sequence = any(map(columns.get("label_seq_id"), rows))
    read = _make_reader(columns, has_sequence)
    residues = Residues()
    for row in rows:
        if names(row) in BACKBONE and model(row) == model(0):
            residues.add(read(row))
    return residues


class _Columns:
    """Columns of a table by name, as text without quotes; ``.`` and ``?`` are empty."""

    def __init__(self, table: Any) -> None:
        self._table = table
        # CIF tags ignore case.
        self._index = {
            tag.lower().removeprefix("_atom_site."): index for index, tag in enumerate(table.tags)
        }

    def has(self, *names: str) -> bool:
        """Check whether the table has one of the columns."""
        return any(name.lower() in self._index for name in names)

    def get(self, *names: str) -> Callable[[int], str]:
        """Return a function from a row to the text of its first non-empty column of ``names``."""
        import gemmi

        # Lists, because indexing gemmi's own columns is slow.
        columns = [
            list(self._table.column(self._index[name.lower()])) for name in names if self.has(name)
        ]
        text = lru_cache(maxsize=4096)(gemmi.cif.as_string)

        def get(row: int) -> str:
            for column in columns:
                if content := text(column[row]):
                    return str(content)
            return ""

        return get


def _make_reader(columns: _Columns, has_sequence: bool) -> Callable[[int], Atom]:
    """Return a function from a row to its atom."""
    identity, group = columns.get("id"), columns.get("group_PDB")
    name, element = columns.get("label_atom_id", "auth_atom_id"), columns.get("type_symbol")
    residue = columns.get("label_comp_id", "auth_comp_id")
    sequence, author = columns.get("label_seq_id"), columns.get("auth_seq_id")
    chain = columns.get("label_asym_id"), columns.get("auth_asym_id")
    insertion, alternate = columns.get("pdbx_PDB_ins_code"), columns.get("label_alt_id")
    coordinates = [columns.get(axis) for axis in _COORDINATES]

    def read(row: int) -> Atom:
        texts = [axis(row) for axis in coordinates]
        symbol = element(row).upper()
        return Atom(
            where=f"atom {identity(row) or row + 1}",
            name=name(row),
            carbon=symbol == "C" if symbol else None,
            residue=residue(row),
            number=" ".join(filter(None, (sequence(row), author(row), insertion(row)))),
            chain=tuple(part(row) for part in chain),
            alternate=alternate(row),
            hetero=group(row) == "HETATM",
            polymer=bool(sequence(row)) if has_sequence else None,
            position=_parse_position(texts),
            text=" ".join(text or "?" for text in texts),
        )

    return read


def _parse_position(texts: list[str]) -> Position | None:
    import gemmi

    x, y, z = (gemmi.cif.as_number(text) for text in texts)  # NaN unless a number
    return (x, y, z) if all(abs(value) < FARTHEST for value in (x, y, z)) else None
