"""Read the mmCIF format: gemmi parses the syntax, and the rules for atoms are those for PDB."""

from __future__ import annotations

import contextlib
import random

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings

from care.data.mmcif import read_mmcif
from care.data.residues import CAlphas
from care.errors import CareError
from tests.helpers.damage import damaged
from tests.helpers.pdb_text import chain, helix

COLUMNS = {
    "group_PDB": "ATOM",
    "id": "1",
    "type_symbol": "C",
    "label_atom_id": "CA",
    "label_alt_id": ".",
    "label_comp_id": "ALA",
    "label_asym_id": "A",
    "label_seq_id": "1",
    "pdbx_PDB_ins_code": "?",
    "Cartn_x": "0",
    "Cartn_y": "0",
    "Cartn_z": "0",
    "auth_seq_id": "1",
    "auth_asym_id": "A",
    "pdbx_PDB_model_num": "1",
}


def row(place: list[float], number: int, **columns: str) -> dict[str, str]:
    x, y, z = (f"{value:.3f}" for value in place)
    numbered = {"label_seq_id": str(number), "auth_seq_id": str(number), "id": str(10 + number)}
    return {**COLUMNS, **numbered, "Cartn_x": x, "Cartn_y": y, "Cartn_z": z, **columns}


def rows(places: np.ndarray, **columns: str) -> list[dict[str, str]]:
    return [row(place, number, **columns) for number, place in enumerate(places.tolist(), start=1)]


def block(atoms: list[dict[str, str]], names: list[str] | None = None, name: str = "x") -> str:
    names = names or list(COLUMNS)
    lines = [f"data_{name}", "loop_", *(f"_atom_site.{column}" for column in names)]
    lines += [" ".join(atom[column] for column in names) for atom in atoms]
    return "\n".join(lines) + "\n#\n"


def read(text: str) -> CAlphas:
    return read_mmcif(text.encode("latin-1")).c_alphas()


def assert_read(text: str, places: np.ndarray) -> None:
    np.testing.assert_allclose(read(text).points, places, atol=1e-3)


def test_columns_in_any_order_and_case() -> None:
    names = list(COLUMNS)
    random.Random(0).shuffle(names)
    assert_read(block(rows(helix(6)), names), helix(6))
    assert_read(block(rows(helix(6)), names).replace("_atom_site.", "_ATOM_SITE."), helix(6))


@pytest.mark.parametrize(
    "missing",
    [
        ["label_seq_id"],
        ["label_asym_id", "label_alt_id", "pdbx_PDB_model_num", "group_PDB"],
        ["auth_seq_id", "auth_asym_id", "type_symbol"],
    ],
)
def test_columns_that_other_programs_leave_out(missing: list[str]) -> None:
    names = [name for name in COLUMNS if name not in missing]
    assert_read(block(rows(helix(6)), names), helix(6))


def test_quotes_remarks_and_values_of_several_lines() -> None:
    title = "_struct.title\n;the caf\xe9 of loop_\ndata_none _atom_site.id\n;\n_struct.x 'it''s' # 'end\n"
    text = block(rows(helix(6), label_atom_id='"CA"', label_comp_id="'ALA'", label_alt_id="?"))
    assert_read(text.replace("data_x\n", f"data_x\n{title}"), helix(6))


def test_blocks_without_atoms_are_passed_over() -> None:
    ligand = "data_comp_LIG\nloop_\n_chem_comp_atom.atom_id\nCA\nN\n"
    assert_read(ligand + block(rows(helix(6))) + "data_r\n_refln.index_h 1\n", helix(6))


def test_several_blocks_with_atoms_are_refused() -> None:
    text = block(rows(helix(6)), name="one") + block(rows(helix(6)), name="two")
    with pytest.raises(CareError, match="2 blocks with atoms: 'one', 'two'; needed: one"):
        read(text)


def test_the_first_model_and_the_first_location() -> None:
    atoms = rows(helix(6), label_alt_id="A", pdbx_PDB_model_num="7")
    atoms += rows(helix(6, away=0.5), label_alt_id="B", pdbx_PDB_model_num="7")
    atoms += rows(helix(9, away=5), pdbx_PDB_model_num="8")
    assert_read(block(atoms), helix(6))


def test_what_has_no_position_in_a_sequence_is_a_ligand() -> None:
    atoms = rows(helix(5))
    atoms[2] |= {"group_PDB": "HETATM", "label_comp_id": "MSE"}
    ligand = {"group_PDB": "HETATM", "label_seq_id": ".", "label_asym_id": "B"}
    atoms.append(row([20, 20, 20], 101, label_comp_id="GLU", **ligand))
    atoms.append(row([30, 30, 30], 102, label_comp_id="CA", **{**ligand, "type_symbol": "CA"}))
    found = read(block(atoms))
    np.testing.assert_allclose(found.points, helix(5), atol=1e-3)
    assert found.left_out == {"GLU": 1}


def test_chains_that_share_a_letter_of_the_author() -> None:
    atoms = rows(helix(5), label_asym_id="A") + rows(helix(5, away=30), label_asym_id="B")
    assert_read(block(atoms), np.concatenate([helix(5), helix(5, away=30)]))


def test_as_gemmi_writes_what_it_reads_from_pdb() -> None:
    text = chain(helix(7)) + "TER\n" + chain(helix(5, away=30), chain="B")
    written = gemmi.read_pdb_string(text).make_mmcif_document().as_string()
    assert_read(written, np.concatenate([helix(7), helix(5, away=30)]))


@pytest.mark.parametrize("value", ["?", ".", "nan", "inf", "1e5", "-10000", "abc", "1_0", "'1 2'"])
def test_a_coordinate_that_is_no_number(value: str) -> None:
    atoms = rows(helix(5))
    atoms[3]["Cartn_y"] = value
    with pytest.raises(CareError, match=r"atom 14: .* are no three coordinates below 10,000 Å"):
        read(block(atoms))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_x\n", "0 blocks with atoms"),
        ("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 'a\n", "not mmCIF: .*unterminated"),
        ("data_x\nloop_\n_atom_site.id\n_atom_site.x\n1 2 3\n", "not mmCIF: .*number of values"),
        ("data_x\nloop_\n_atom_site.id\n1\n", "atoms without _atom_site.Cartn_x"),
        ("data_x\n_atom_site.Cartn_x 1\n_atom_site.Cartn_x 1\n", "not mmCIF: .*[Dd]uplicate"),
        ("<!DOCTYPE html><html>", "not mmCIF"),
        ("\x00\x01\x02", "not mmCIF"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(CareError, match=message):
        read(text)


@given(damage=damaged(block(rows(helix(4))).encode()))
@settings(max_examples=200, deadline=None)
def test_damaged_text_gives_finite_points_or_an_error(damage: bytes) -> None:
    with contextlib.suppress(CareError):
        assert np.abs(read_mmcif(damage).c_alphas().points).max(initial=0) < 10_000
