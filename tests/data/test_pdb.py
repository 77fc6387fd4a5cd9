"""Reading the PDB format as programs write it, not only as the wwPDB does."""

from __future__ import annotations

import contextlib
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care.data.pdb import read_pdb
from care.data.residues import CAlphas
from care.errors import CareError
from tests.helpers.damage import damaged
from tests.helpers.pdb_text import atom, chain, helix, residue

DIMER = np.concatenate([helix(30), helix(30, away=40)])


def read(text: str) -> CAlphas:
    return read_pdb(text.encode("latin-1")).c_alphas()


def counted(text: str) -> int:
    """An independent count: lines of atoms with CA in the columns of its name."""
    lines = [line for line in text.splitlines() if line[:6] in ("ATOM  ", "HETATM")]
    return sum(line[12:16] == " CA " for line in lines)


def assert_read(text: str, places: np.ndarray) -> None:
    np.testing.assert_allclose(read(text).points, places, atol=1e-3)


@pytest.mark.parametrize(
    ("one", "between", "other"),
    [
        ({"chain": "A"}, "", {"chain": "B"}),
        ({"chain": " "}, "TER\n", {"chain": " "}),
        ({"chain": " "}, "", {"chain": " "}),
        ({"chain": "A"}, "TER   1\n", {"chain": "A"}),
        ({"chain": " ", "segment": "PROA"}, "", {"chain": " ", "segment": "PROB"}),
        ({"chain": " ", "first": 9985}, "", {"chain": " ", "first": 9985}),
    ],
    ids=["letters", "TER", "numbers begin again", "one letter", "segments", "wrapped"],
)
def test_both_halves_of_a_dimer(one: dict[str, Any], between: str, other: dict[str, Any]) -> None:
    text = chain(helix(30), **one) + between + chain(helix(30, away=40), **other) + "END\n"
    assert counted(text) == 60
    assert_read(text, DIMER)


@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=4),
    first=st.sampled_from([-3, 1, 9_990, 9_998, 19_995]),
    serial=st.sampled_from([1, 99_990]),
    distinct_by=st.sampled_from(["letter", "TER", "segment", "nothing"]),
    names=st.sampled_from([("N", "CA", "C"), ("CA",), ("N", "CA")]),
    residues=st.lists(
        st.sampled_from(["ALA", "HSD", "HID", "CYX", "ASH", "MSE", "SEP", "PH8", "NALA", "HSP2"]),
        min_size=1,
        max_size=5,
    ),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(
    lengths: list[int],
    first: int,
    serial: int,
    distinct_by: str,
    names: tuple[str, ...],
    residues: list[str],
) -> None:
    parts, text = [], "REMARK   1 AUTH   A.M\xfcLLER\r\n"
    for index, length in enumerate(lengths):
        columns: dict[str, object] = {"chain": " ", "serial": serial}
        columns |= {"chain": "ABCD"[index]} if distinct_by == "letter" else {}
        columns |= {"segment": f"PRO{index}"} if distinct_by == "segment" else {}
        parts.append(helix(length, away=20 * index))
        text += chain(parts[-1], first=first, names=names, residues=residues, **columns)
        text += "TER\n" if distinct_by == "TER" else ""
    assert_read(text + "END\n", np.concatenate(parts))


@pytest.mark.parametrize("number", ["****", "    ", "A000"])
def test_numbers_beyond_their_columns(number: str) -> None:
    """Asterisks of Fortran and blanks are no numbers; hybrid-36 is compared as text."""
    hybrid: list[int | str] = [9_999, "A000", "A001", "A002"]
    numbers = hybrid if number == "A000" else [number] * 4
    places = helix(4)
    lines = [residue(p, number=n, chain=" ") for p, n in zip(places.tolist(), numbers, strict=True)]
    assert_read("".join(lines), places)


def test_insertion_codes_and_two_letter_chains() -> None:
    places = helix(6)
    text = "".join(
        residue(place, number=9, insertion=code)
        for place, code in zip(places[:3].tolist(), " AB", strict=True)
    )
    two = chain(places[3:], names=("CA",)).replace("ALA A", "ALAAA")
    assert_read(text + two, places)


@pytest.mark.parametrize("block", [False, True], ids=["side by side", "at the end"])
def test_the_first_alternate_location(block: bool) -> None:
    places, other = helix(5), helix(5, away=0.7)
    firsts = [residue(p, number=i, alternate="A") for i, p in enumerate(places.tolist())]
    seconds = [residue(p, number=i, alternate="B") for i, p in enumerate(other.tolist())]
    ordered = (
        firsts + seconds
        if block
        else [line for pair in zip(firsts, seconds, strict=True) for line in pair]
    )
    assert_read("".join(ordered), places)


def test_two_amino_acids_in_one_site() -> None:
    places = helix(5)
    text = chain(places[:2])
    text += residue(places[2].tolist(), number=3, residue="SER", alternate="A")
    text += residue((places[2] + 0.3).tolist(), number=3, residue="THR", alternate="B")
    assert_read(text + chain(places[3:], first=4), places)


def test_a_second_c_alpha_without_a_location_is_refused() -> None:
    text = chain(helix(4)) + atom("CA", (9.0, 9.0, 9.0), number=4)
    with pytest.raises(CareError, match="line 11: the C-alpha of ALA A 4 is repeated at line 13"):
        read(text)
    models = chain(helix(4)) + chain(helix(4) + 0.1)  # models without their records
    with pytest.raises(CareError, match="line 2 and line 14: two C-alpha of ALA 1 at one position"):
        read(models)


@pytest.mark.parametrize("end", ["ENDMDL\n", "END\n", "MODEL        2\n"])
def test_the_first_model(end: str) -> None:
    second = "MODEL        2\n" + chain(helix(5, away=3)) + "ENDMDL\n"
    assert_read("MODEL        1\n" + chain(helix(5)) + end + second, helix(5))


def test_calcium_and_ligands_are_no_amino_acids() -> None:
    text = chain(helix(5))
    text += "TER\n" + atom("CA", (5, 5, 5), residue="CA", number=101, element="CA", record="HETATM")
    text += atom("CA", (6, 6, 6), residue="CA", number=102, element="").replace(" CA  ", "CA   ", 1)
    text += residue((20, 20, 20), residue="GLU", number=103, record="HETATM")  # a free amino acid
    text += residue((30, 30, 30), residue="LIG", number=104, record="HETATM")
    text += atom("CA", (40, 40, 40), residue="DRG", number=105)
    found = read(text)
    np.testing.assert_allclose(found.points, helix(5), atol=1e-3)
    assert found.left_out == {"GLU": 1, "LIG": 1, "DRG": 1}


def test_an_element_that_is_wrong() -> None:
    """Bonds of 1.5 Å to N and C are no calcium's; a trace has no bonds to judge by."""
    assert_read(chain(helix(5), element="CA"), helix(5))
    with pytest.raises(CareError, match="line 1: the C-alpha of ALA A 1 is of another element"):
        read(chain(helix(5), names=("CA",), element="CA"))


def test_a_name_without_its_blank() -> None:
    """``CA  `` without an element is C-alpha in a residue with a backbone."""
    text = chain(helix(5), residues=("HSD",), element="").replace("  CA  ", " CA   ")
    assert " CA   HSD" in text
    assert_read(text, helix(5))


def linked(places: np.ndarray) -> list[str]:
    """Residues whose C lies 1.3 Å before the next one's N."""
    lines = []
    for number, (x, y, z) in enumerate(places.tolist(), start=1):
        kind = {"residue": "MSE", "record": "HETATM"} if number == 3 else {}
        atoms = (("N", (x, y, z - 1.3)), ("CA", (x, y, z)), ("C", (x, y, z + 1.2)))
        lines.append("".join(atom(name, at, number=number, **kind) for name, at in atoms))
    return lines


STRAIGHT = np.round(np.stack([np.zeros(6), np.zeros(6), 3.8 * np.arange(6)], 1), 3)


@pytest.mark.parametrize(
    "order", [[0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5, 2]], ids=["in place", "at the end"]
)
@pytest.mark.parametrize("ended", [False, True], ids=["", "TER"])
def test_modified_residues_of_a_chain(order: list[int], ended: bool) -> None:
    """HETATM before the chain's TER, or peptide-bonded to it wherever it stands in the file."""
    lines = linked(STRAIGHT)
    text = "".join(lines[i] for i in order[:5]) + "TER\n" * ended + lines[order[5]]
    assert_read(text, STRAIGHT[order])


@pytest.mark.parametrize(
    "coordinates",
    [
        "********" * 3,
        "     nan" * 3,
        "     inf" * 3,
        " " * 24,
        "1234567.812345678.91234567.1"[:24],
        "   x.xxx   y.yyy   z.zzz",
        "   1_0.5   1.000   1.000",
        "  12 345   1.000   1.000",
        "12345.67   1.000   1.000",
        "       1   1.000   1.000",
        "   1.000   1.000       .",
    ],
)
def test_coordinates_that_are_no_numbers(coordinates: str) -> None:
    lines = chain(helix(5)).splitlines(keepends=True)
    lines[4] = atom("CA", (), number=2, coordinates=coordinates)
    with pytest.raises(CareError) as caught:
        read("".join(lines))
    assert f"line 5: {coordinates!r} are no three coordinates below 10,000 Å" in str(caught.value)


@given(
    places=st.tuples(
        *[
            st.one_of([st.floats(-most / 10, most) for most in (10, 10_000, 999_999)])
            for _ in range(3)
        ]
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_number_too_wide_for_its_columns_is_never_misread(places: tuple[float, ...]) -> None:
    """Programs that write ``%8.3f`` without a check move the rest of the line."""
    line = atom("CA", places, number=9)
    try:
        point = read(chain(helix(4)) + line).points[-1]
    except CareError:
        return
    np.testing.assert_allclose(point, places, rtol=1e-6, atol=6e-4)


def test_columns_that_touch_are_read() -> None:
    places = np.array([[-999.125, -888.25, 1234.5], [9999.999, -100.0, -200.0]])
    lines = [atom("CA", place, number=i) for i, place in enumerate(places.tolist())]
    assert "-999.125-888.2501234.500" in lines[0]
    assert_read("".join(lines), places)


@pytest.mark.parametrize("column", [0, 3, 6, 30, 40, 53, 60, 76])
def test_a_file_that_is_cut_in_a_line_is_refused(column: int) -> None:
    """Whatever the line is of: what comes after it is missing."""
    text = chain(helix(6))
    cut = text[: len("".join(text.splitlines(keepends=True)[:14])) + column]
    if column < len("ATOM"):  # no line of an atom yet; the format has no other mark of its end
        assert len(read(cut).points) == 5
        return
    with pytest.raises(CareError, match=f"line 15 ends too early, in column {column}"):
        read(cut)


def test_a_last_line_without_an_end_is_read() -> None:
    assert_read(chain(helix(5)).rstrip("\n"), helix(5))


@given(damage=damaged(chain(helix(3)).encode()))
@settings(max_examples=200, deadline=None)
def test_damaged_text_gives_finite_points_or_an_error(damage: bytes) -> None:
    with contextlib.suppress(CareError):
        assert np.abs(read_pdb(damage).c_alphas().points).max(initial=0) < 10_000


def test_many_residues_of_few_numbers() -> None:
    """A solution of dipeptides without chain letters, as MD programs write it."""
    places = np.stack([np.arange(20_000) * 3.8, np.zeros(20_000), np.zeros(20_000)], 1) % 9_000
    places[:, 1] = np.arange(20_000) // 2_000 * 5.0
    text = "".join(
        atom("CA", place, number=1 + i % 2, chain=" ") for i, place in enumerate(places.tolist())
    )
    assert len(read(text).points) == 20_000


def test_shifted_columns_are_refused() -> None:
    """Six digits of a serial number move what follows."""
    text = chain(helix(5))
    assert counted(text) == 5
    shifted = text.replace("ATOM      1", "ATOM  100001")
    with pytest.raises(CareError, match=r"line 2: .* are no three coordinates"):
        read(shifted)


def test_bytes_outside_ascii_do_not_matter() -> None:
    text = (
        "\xef\xbb\xbf"
        + chain(helix(4))
        + "REMARK \x85\xe9\x0c\n"
        + chain(helix(4, away=9), chain="B")
    )
    assert_read(text, np.concatenate([helix(4), helix(4, away=9)]))


def test_records_in_any_order_of_chains() -> None:
    """Chains that take turns, as in files sorted by residue number."""
    one, other = helix(6), helix(6, away=30)
    pairs = []
    for i, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        pairs += [(residue(a, number=i), a), (residue(b, number=i, chain="B"), b)]
    random.Random(0).shuffle(pairs)
    assert_read("".join(text for text, _ in pairs), np.array([place for _, place in pairs]))


@pytest.mark.shared
@pytest.mark.parametrize("order", ["one chain", "numbers begin again"])
def test_real_proteins_in_one_file_without_chain_letters(shared_data: Path, order: str) -> None:
    """26,441 residues of 184 proteins: numbers wrap twice, or each protein begins at 1."""
    with np.load(shared_data / "proteins_backbone.npz") as arrays:
        offsets, backbone = arrays["offsets"].tolist(), arrays["backbone"][:, :3]
    lines: list[str] = []
    for index, (start, stop) in enumerate(pairwise(offsets)):
        beside = np.array([200 * (index % 14), 200 * (index // 14), 0])
        backbone[start:stop] += beside - backbone[start:stop].mean((0, 1))
        first = start + 1 if order == "one chain" else 1
        for number, atoms in enumerate(backbone[start:stop].tolist(), first):
            for name, place in zip(("N", "CA", "C"), atoms, strict=True):
                lines.append(atom(name, place, number=number, serial=len(lines), chain=" "))
    text = "".join(lines)
    assert counted(text) == len(backbone) == 26_441
    assert_read(text, backbone[:, 1])
