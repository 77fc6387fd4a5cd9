"""Select the C-alpha atoms of proteins from the backbone atoms of a structure file.

Files identify residues inconsistently. Chain letters are missing, residue numbers restart, two
chains share a letter. So the order of the file counts: a residue is a run of atoms with one chain,
number, insertion code and segment. Its backbone decides whether a residue is an amino acid, as
no table holds all names of force fields and modified residues.
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
Position = tuple[float, float, float]
BACKBONE = ("N", "CA", "C")
FARTHEST = 10_000.0
"""Limit of coordinates in ångström: the columns of the PDB format hold no more."""

_WITH_CHAIN = 4
_BOND = 2.0  # Å; N–CA, CA–C and C–N of a backbone are 1.3 to 1.6
_OVERLAP = 1.0  # Å; C-alpha atoms of two residues are 2.8 or more apart


class Atom(NamedTuple):
    """An atom named N, CA or C.

    Attributes:
        where: Position in the file, e.g. ``line 12``.
        name: ``N``, ``CA`` or ``C``.
        carbon: The element is carbon; None if the file states no element.
        residue: Name of the residue.
        number: Number and insertion code; empty if the file has none.
        chain: Chain and segment.
        alternate: Identifier of the alternate location, or empty.
        hetero: The record is ``HETATM``.
        polymer: The residue belongs to its chain's sequence; None if the file states no sequence.
        position: Coordinates in ångström below :data:`FARTHEST`; None if they cannot be read.
        text: Text of the coordinates in the file.
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
    position: Position | None
    text: str


class CAlphas(NamedTuple):
    """The C-alpha atoms of a file.

    Attributes:
        points: Coordinates in ångström, float32 [n,3], in the order of the file.
        left_out: Number of residues outside proteins with a carbon named CA, by residue name.
    """

    points: Points
    left_out: Counter[str]


@dataclass
class Residue:
    """Backbone atoms of one residue, each in its first alternate location.

    Attributes:
        first: First atom in the file.
        section: Number of ``TER`` records before the residue.
        atoms: Atoms by name.
        seen: Name and alternate location of all atoms.
        repeated: A second C-alpha that no alternate location explains.
        ended: A ``TER`` record ends the residue's chain.
    """

    first: Atom
    section: int
    atoms: dict[str, Atom] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    repeated: Atom | None = None
    ended: bool = False

    def add(self, atom: Atom) -> None:
        """Add an atom, unless the residue has it in another alternate location."""
        if atom.name == "CA" and ("CA", atom.alternate) in self.seen:
            self.repeated = self.repeated or atom
        self.seen.add((atom.name, atom.alternate))
        self.atoms.setdefault(atom.name, atom)

    def continues_with(self, atom: Atom) -> bool:
        """Decide whether the next atom of the file belongs to this residue."""
        first = self.first
        if (atom.chain, atom.number, atom.hetero) != (first.chain, first.number, first.hetero):
            return False
        if atom.residue != first.residue:
            return bool(atom.alternate)  # several amino acids share a site
        # Without a number, only a repeated atom shows that a new residue starts.
        return bool(atom.number) or (atom.name, atom.alternate) not in self.seen

    @property
    def backbone(self) -> bool:
        """Check that N, CA and C are present and CA is bonded to both others."""
        atoms = [self.atoms.get(name) for name in BACKBONE]
        return all(atoms) and all(_near(one, other, _BOND) for one, other in pairwise(atoms))


class Residues:
    """Collects the atoms of one model, in the order of the file."""

    def __init__(self) -> None:
        self._all: list[Residue] = []
        self._section = 0
        self._chain_start = 0  # index of the last chain's first residue

    def add(self, atom: Atom) -> None:
        """Add the next atom of the file."""
        last = self._all[-1] if self._all else None
        if last is None or last.section != self._section or not last.continues_with(atom):
            if last is None or last.section != self._section or last.first.chain != atom.chain:
                self._chain_start = len(self._all)
            last = Residue(atom, self._section)
            self._all.append(last)
        last.add(atom)

    def end_chain(self) -> None:
        """Record a ``TER`` line: the next atom starts another chain, even with an equal letter."""
        for residue in self._all[self._chain_start :]:
            residue.ended = True
        self._section += 1
        self._chain_start = len(self._all)

    def c_alphas(self) -> CAlphas:
        """Select the C-alpha atoms of amino acids in protein chains.

        Raises:
            CareError: A C-alpha has unreadable coordinates, occurs twice in one residue, or is not
                carbon. Names its line or atom in the file.
        """
        selected = self._select_amino_acids()
        atoms, left_out = [], Counter[str]()
        by_number: dict[tuple[int, tuple[str, ...], str], list[Atom]] = {}
        for residue, is_selected in zip(self._all, selected, strict=True):
            atom = residue.atoms.get("CA")
            if atom is None:
                continue
            if is_selected:
                _check(atom, residue)
                group = by_number.setdefault((residue.section, atom.chain, atom.number), [])
                if not _is_alternate(atom, group):
                    group.append(atom)
                    atoms.append(atom)
            elif atom.carbon:
                left_out[residue.first.residue] += 1
        _check_overlaps([group for (_, _, number), group in by_number.items() if number])
        points = np.array([atom.position for atom in atoms], np.float32).reshape(-1, 3)
        return CAlphas(points, left_out)

    def _select_amino_acids(self) -> list[bool]:
        """Decide for each residue whether it is an amino acid of a protein chain."""
        trace = not any(residue.backbone for residue in self._all)
        selected = [_is_amino_acid(residue, trace) for residue in self._all]
        ambiguous = [_is_chain_or_ligand(residue) for residue in self._all]
        if any(may and not yet for may, yet in zip(ambiguous, selected, strict=True)):
            _spread(selected, ambiguous, _find_peptide_bonds(self._all))
        return selected


def _spread(selected: list[bool], ambiguous: list[bool], bonds: list[tuple[int, int]]) -> None:
    """Select, in place, the ambiguous residues that bonds connect with selected ones."""
    neighbors = defaultdict(list)
    for one, other in bonds:
        neighbors[one].append(other)
        neighbors[other].append(one)
    reached = [index for index, is_selected in enumerate(selected) if is_selected]
    while reached:
        for neighbor in neighbors[reached.pop()]:
            if ambiguous[neighbor] and not selected[neighbor]:
                selected[neighbor] = True
                reached.append(neighbor)


def _find_peptide_bonds(residues: list[Residue]) -> list[tuple[int, int]]:
    """Find pairs of residues with the first one's C bonded to the second one's N.

    All pairs are compared, because some programs move modified residues to the end of the file.
    """
    from scipy.spatial import cKDTree

    ends = []
    for name in ("C", "N"):
        atoms = [(i, residue.atoms.get(name)) for i, residue in enumerate(residues)]
        ends.append([(i, atom.position) for i, atom in atoms if atom and atom.position])
    if not all(ends):
        return []
    trees = [cKDTree([position for _, position in end]) for end in ends]
    near = trees[0].query_ball_tree(trees[1], _BOND)
    pairs = ((ends[0][i][0], ends[1][j][0]) for i, matches in enumerate(near) for j in matches)
    return [(one, other) for one, other in pairs if one != other]


def _is_chain_or_ligand(residue: Residue) -> bool:
    """Check whether only bonds can decide if this amino acid is part of a chain or a ligand."""
    first = residue.first
    named = "CA" in residue.atoms and _is_named_amino_acid(first.residue)
    return first.hetero and first.polymer is None and (residue.backbone or named)


def _is_amino_acid(residue: Residue, trace: bool) -> bool:
    """Decide from a residue's own atoms whether it is an amino acid of a protein chain.

    Args:
        residue: Any residue.
        trace: The file has only C-alpha atoms, no residue with a backbone.
    """
    first, atom = residue.first, residue.atoms.get("CA")
    if atom is None:
        return False
    named = _is_named_amino_acid(first.residue)
    if atom.carbon is not True and not (named or residue.backbone):
        return False  # calcium, or possibly calcium
    if first.hetero and not first.polymer and not residue.ended:
        return named and trace and first.polymer is None
    if first.polymer is False:
        return False
    return named or residue.backbone or (trace and _is_tabulated(first.residue) is None)


def _is_named_amino_acid(name: str) -> bool:
    return _is_tabulated(name) is True


@lru_cache(maxsize=4096)
def _is_tabulated(name: str) -> bool | None:
    """Look up whether a name is that of an amino acid; None if gemmi does not know it.

    A residue without a backbone, with C-alpha alone, can be judged only by its name.
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
            f"{where} is repeated at {residue.repeated.where}, "
            "and no alternate location or chain distinguishes the two"
        )
    if atom.position is None:
        raise CareError(
            f"{atom.where}: {atom.text!r} are no three coordinates below {FARTHEST:,.0f} Å"
        )


def _is_alternate(atom: Atom, group: list[Atom]) -> bool:
    """Check whether an earlier residue of equal number is this one in another location."""
    first = group[0].alternate if group else ""
    return bool(atom.number and atom.alternate and first and first != atom.alternate)


def _check_overlaps(groups: list[list[Atom]]) -> None:
    """Refuse residues of one number at one position, e.g. models without records between them.

    Raises:
        CareError: No alternate location or chain distinguishes two such residues.
    """
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return
    from scipy.spatial import cKDTree

    for group in groups:
        positions = np.array([atom.position for atom in group], np.float64)
        away, near = map(np.asarray, cKDTree(positions).query(positions, k=2))
        for atom, distances, indices in zip(group, away, near, strict=True):
            if distances[1] <= _OVERLAP:
                other = next(group[i] for i in indices if group[i] is not atom)
                raise CareError(
                    f"{atom.where} and {other.where}: two C-alpha of {atom.residue} {atom.number} "
                    "at one position, and no alternate location or chain distinguishes them"
                )


def _near(one: Atom | None, other: Atom | None, most: float) -> bool:
    if one is None or other is None or one.position is None or other.position is None:
        return False
    return math.dist(one.position, other.position) <= most
