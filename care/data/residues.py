"""From the atoms of a structure file to the C-alpha atoms of its proteins.

Files disagree about what tells residues apart. Chain letters are missing, residue numbers start
again, one letter serves two chains. So the order of the file counts: a residue is a run of atoms
with one chain, number, insertion code and segment. Whether a residue is an amino acid is judged by
its backbone, as force fields and modified residues have names that no table holds.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from care.errors import CareError

Points = NDArray[np.float32]
Place = tuple[float, float, float]
BACKBONE = ("N", "CA", "C")
FARTHEST = 10_000.0
"""Coordinates are below this in ångström: what the columns of the PDB format can hold."""

_WITH_CHAIN = 4
_BOND = 2.0  # Å; N–CA, CA–C and C–N of a backbone are 1.3 to 1.6
_SAME_PLACE = 1.0  # Å; C-alpha atoms of two residues are 2.8 or more apart


class Atom(NamedTuple):
    """An atom named N, CA or C.

    Attributes:
        where: Where it stands in the file, e.g. ``line 12``.
        name: ``N``, ``CA`` or ``C``.
        carbon: Its element is carbon; None where the file leaves that open.
        residue: Name of the residue.
        number: Number and insertion code; empty where the file has none.
        chain: Chain and segment.
        alternate: Identifier of the alternate location, or empty.
        hetero: The record is ``HETATM``.
        polymer: It has a position in its chain's sequence; None where the file leaves that open.
        place: In ångström, each below :data:`FARTHEST`; None where that cannot be read.
        text: What the file has as coordinates.
    """

    where: str
    name: str
    carbon: bool | None
    residue: str
    number: str
    chain: tuple[str, ...]
    alternate: str
    hetero: bool
    polymer: bool | None
    place: Place | None
    text: str


class CAlphas(NamedTuple):
    """The C-alpha atoms of a file.

    Attributes:
        points: In ångström, float32 [n,3], in the order of the file.
        left_out: Residues with a carbon named CA that are no part of a protein, counted by name.
    """

    points: Points
    left_out: Counter[str]


@dataclass
class Residue:
    """Backbone atoms of one residue, each in its first alternate location.

    Attributes:
        first: Its first atom.
        section: Number of ``TER`` records before it.
        atoms: By name.
        repeated: A second C-alpha that no alternate location explains.
        ended: A ``TER`` record ends the chain it stands in.
    """

    first: Atom
    section: int
    atoms: dict[str, Atom] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    repeated: Atom | None = None
    ended: bool = False

    def add(self, atom: Atom) -> None:
        """Take an atom, unless an alternate location of it is there already."""
        if atom.name == "CA" and ("CA", atom.alternate) in self.seen:
            self.repeated = self.repeated or atom
        self.seen.add((atom.name, atom.alternate))
        self.atoms.setdefault(atom.name, atom)

    def continues_with(self, atom: Atom) -> bool:
        """Decide whether ``atom``, the next of the file, belongs to this residue."""
        first = self.first
        if (atom.chain, atom.number, atom.hetero) != (first.chain, first.number, first.hetero):
            return False
        if atom.residue != first.residue:
            return bool(atom.alternate)  # a site that several amino acids share
        # Without a number, only an atom that comes again shows that a residue begins.
        return bool(atom.number) or (atom.name, atom.alternate) not in self.seen

    @property
    def backbone(self) -> bool:
        """N, CA and C are there, and CA is bonded to both."""
        atoms = [self.atoms.get(name) for name in BACKBONE]
        return all(atoms) and all(_near(one, other, _BOND) for one, other in pairwise(atoms))


class Residues:
    """Gathers the atoms of one model, in the order of the file."""

    def __init__(self) -> None:
        self._all: list[Residue] = []
        self._section = 0
        self._run = 0  # where the last chain begins in the list

    def add(self, atom: Atom) -> None:
        """Take the next atom."""
        last = self._all[-1] if self._all else None
        if last is None or last.section != self._section or not last.continues_with(atom):
            if last is None or last.section != self._section or last.first.chain != atom.chain:
                self._run = len(self._all)
            last = Residue(atom, self._section)
            self._all.append(last)
        last.add(atom)

    def end_chain(self) -> None:
        """Note a ``TER`` record: what follows is another chain, whatever its letter is."""
        for residue in self._all[self._run :]:
            residue.ended = True
        self._section += 1
        self._run = len(self._all)

    def c_alphas(self) -> CAlphas:
        """Select the C-alpha atoms of amino acids in protein chains.

        Raises:
            CareError: One has coordinates that cannot be read, or stands twice in one residue, or
                is of another element than carbon. Names the place in the file.
        """
        chosen = self._chosen()
        atoms, left_out = [], Counter[str]()
        kept: dict[tuple[int, tuple[str, ...], str], list[Atom]] = {}
        for residue, is_chosen in zip(self._all, chosen, strict=True):
            atom = residue.atoms.get("CA")
            if atom is None:
                continue
            if is_chosen:
                _check(atom, residue)
                same = kept.setdefault((residue.section, atom.chain, atom.number), [])
                if not _is_alternate(atom, same):
                    same.append(atom)
                    atoms.append(atom)
            elif atom.carbon:
                left_out[residue.first.residue] += 1
        _check_places([same for (_, _, number), same in kept.items() if number])
        points = np.array([atom.place for atom in atoms], np.float32).reshape(-1, 3)
        return CAlphas(points, left_out)

    def _chosen(self) -> list[bool]:
        """Decide for each residue whether it is an amino acid of a protein chain."""
        trace = not any(residue.backbone for residue in self._all)
        chosen = [_is_amino_acid(residue, trace) for residue in self._all]
        bonded = [_is_placed_by_bonds(residue) for residue in self._all]
        if any(may and not yet for may, yet in zip(bonded, chosen, strict=True)):
            _spread(chosen, bonded, _peptide_bonds(self._all))
        return chosen


def _spread(chosen: list[bool], may: list[bool], bonds: list[tuple[int, int]]) -> None:
    """Choose, in place, the residues of ``may`` that bonds connect with chosen ones."""
    others = defaultdict(list)
    for one, other in bonds:
        others[one].append(other)
        others[other].append(one)
    reached = [index for index, is_chosen in enumerate(chosen) if is_chosen]
    while reached:
        for other in others[reached.pop()]:
            if may[other] and not chosen[other]:
                chosen[other] = True
                reached.append(other)


def _peptide_bonds(residues: list[Residue]) -> list[tuple[int, int]]:
    """Pairs of residues of which the first one's C is bonded to the second one's N.

    All are compared: some programs move modified residues to the end of the file.
    """
    from scipy.spatial import cKDTree

    ends = []
    for name in ("C", "N"):
        atoms = [(i, residue.atoms.get(name)) for i, residue in enumerate(residues)]
        ends.append([(i, atom.place) for i, atom in atoms if atom and atom.place])
    if not all(ends):
        return []
    trees = [cKDTree([place for _, place in end]) for end in ends]
    near = trees[0].query_ball_tree(trees[1], _BOND)
    pairs = ((ends[0][i][0], ends[1][j][0]) for i, found in enumerate(near) for j in found)
    return [(one, other) for one, other in pairs if one != other]


def _is_placed_by_bonds(residue: Residue) -> bool:
    """Whether only bonds can say if this amino acid is a part of a chain or a ligand."""
    first = residue.first
    named = "CA" in residue.atoms and _is_named_amino_acid(first.residue)
    return first.hetero and first.polymer is None and (residue.backbone or named)


def _is_amino_acid(residue: Residue, trace: bool) -> bool:
    """Judge a residue by itself.

    Args:
        residue: Any.
        trace: No residue of the file has a backbone, only C-alpha atoms.
    """
    first, atom = residue.first, residue.atoms.get("CA")
    if atom is None:
        return False
    named = _is_named_amino_acid(first.residue)
    if atom.carbon is not True and not (named or residue.backbone):
        return False  # calcium, or an atom that may be
    if first.hetero and not first.polymer and not residue.ended:
        return named and trace and first.polymer is None
    if first.polymer is False:
        return False
    return named or residue.backbone or (trace and _is_tabulated(first.residue) is None)


def _is_named_amino_acid(name: str) -> bool:
    return _is_tabulated(name) is True


@lru_cache(maxsize=4096)
def _is_tabulated(name: str) -> bool | None:
    """Look up whether a name is an amino acid's; None for a name that gemmi does not know.

    Of its backbone, a residue may have no more than C-alpha, which leaves only its name.
    """
    import gemmi

    kinds = gemmi.ResidueKind
    residue = gemmi.find_tabulated_residue(name)
    if not residue.found() and len(name) == _WITH_CHAIN:
        residue = gemmi.find_tabulated_residue(name[:3])  # ALA of chain AB
        return True if residue.is_standard() and residue.is_amino_acid() else None
    return residue.kind in (kinds.AA, kinds.AAD, kinds.PAA, kinds.MAA) if residue.found() else None


def _check(atom: Atom, residue: Residue) -> None:
    names = filter(None, (atom.residue, *atom.chain, atom.number))
    where = f"{atom.where}: the C-alpha of {' '.join(names)}"
    # No element but carbon has bonds as short as those of a backbone.
    if atom.carbon is False and not residue.backbone:
        raise CareError(f"{where} is of another element than carbon")
    if residue.repeated is not None:
        raise CareError(
            f"{where} comes again at {residue.repeated.where}, "
            "and no alternate location or chain tells the two apart"
        )
    if atom.place is None:
        raise CareError(
            f"{atom.where}: {atom.text!r} are no three coordinates below {FARTHEST:,.0f} Å"
        )


def _is_alternate(atom: Atom, same: list[Atom]) -> bool:
    """Whether an earlier residue of the same number is this one in another location."""
    first = same[0].alternate if same else ""
    return bool(atom.number and atom.alternate and first and first != atom.alternate)


def _check_places(groups: list[list[Atom]]) -> None:
    """Refuse residues of one number in one place, e.g. models without records between them.

    Raises:
        CareError: Nothing tells the two apart.
    """
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return
    from scipy.spatial import cKDTree

    for group in groups:
        places = np.array([atom.place for atom in group], np.float64)
        away, near = map(np.asarray, cKDTree(places).query(places, k=2))
        for atom, distances, indices in zip(group, away, near, strict=True):
            if distances[1] <= _SAME_PLACE:
                other = next(group[i] for i in indices if group[i] is not atom)
                raise CareError(
                    f"{atom.where} and {other.where}: two C-alpha of {atom.residue} {atom.number} "
                    "in one place, and no alternate location or chain tells them apart"
                )


def _near(one: Atom | None, other: Atom | None, most: float) -> bool:
    if one is None or other is None or one.place is None or other.place is None:
        return False
    return math.dist(one.place, other.place) <= most
