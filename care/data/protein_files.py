"""Protein structures as point clouds of their C-alpha atoms, from PDB, mmCIF and .npz files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care.data.archive import read_unpacked
from care.data.fingerprints.proteins import SUFFIXES
from care.data.mmcif import read_mmcif
from care.data.npz import read_point_arrays
from care.data.pdb import read_pdb
from care.data.residues import FARTHEST, Points
from care.errors import CareError, ConfigError, Problem

_READABLE = ", ".join(suffix for suffix in SUFFIXES if not suffix.endswith(".gz"))
_FEWEST = 4  # fewer points span no space
_NAMED = 20
_OWN = ".care-"  # caches and hashes that lie beside the data


@dataclass
class Structures:
    """Proteins of a folder or an archive.

    Attributes:
        points: C-alpha coordinates in ångström, float32 [n,3], by protein, sorted by name.
        refused: What is wrong with each protein that cannot be read, by name.
        left_out: Files and members that are no proteins, each with its reason.
        ligands: Residues with a carbon named CA that are no part of a protein, counted by name.
    """

    points: dict[str, Points] = field(default_factory=dict)
    refused: dict[str, Problem] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    ligands: Counter[str] = field(default_factory=Counter)

    def remarks(self) -> list[str]:
        """Sentences on what is not among the proteins; empty if nothing is left out."""
        lines = []
        if self.refused:
            listed = _listed([str(problem) for problem in self.refused.values()])
            lines.append(f"proteins: left out {len(self.refused)} that cannot be read:\n{listed}")
        if self.left_out:
            listed = _listed(self.left_out)
            lines.append(f"proteins: passed over {len(self.left_out)} other files:\n{listed}")
        if self.ligands:
            names = ", ".join(f"{count} {name}" for name, count in sorted(self.ligands.items()))
            lines.append(f"proteins: residues with an atom CA that are no protein's: {names}")
        return lines


def read_structures(path: Path) -> dict[str, Points]:
    """Read the C-alpha atoms of each protein; see :func:`survey_structures`."""
    return survey_structures(path).points


def survey_structures(path: Path, skip_corrupt: bool = False) -> Structures:
    """Read the C-alpha atoms of each protein of a folder or an .npz file, and note the rest.

    Args:
        path: A folder of PDB and mmCIF files, plain or gzipped, or an .npz file with a
            floating-point array [n,3] for each protein, in ångström. Of a file the first model
            counts, all its protein chains, of each residue the first alternate location. Hidden
            files and folders inside are passed over.
        skip_corrupt: Leave out the proteins that cannot be read.

    Raises:
        ConfigError: Nothing is there; or a protein cannot be read, has fewer than four C-alpha or
            all on one line, or a coordinate that is not a number below 10,000 Å in magnitude. All
            such proteins are counted, and up to 20 are named.
    """
    if not path.exists():
        allowed = f"allowed: a folder of {_READABLE} files, or an .npz file"
        raise ConfigError(str(path), [Problem("proteins", str(path), allowed)])
    try:
        found = _read_folder(path) if path.is_dir() else _read_npz(path)
    except OSError as error:
        allowed = f"allowed: a folder that can be read ({error.strerror})"
        raise ConfigError(str(path), [Problem("proteins", path.name, allowed)]) from error
    if found.refused and not (skip_corrupt and found.points):
        raise ConfigError(str(path), _refusal(found))
    if not found.points:
        others = f"; passed over:\n{_listed(found.left_out)}" if found.left_out else ""
        allowed = f"allowed: one protein or more, as {_READABLE} or in an .npz file{others}"
        raise ConfigError(str(path), [Problem("proteins", "none", allowed)])
    found.points = dict(sorted(found.points.items()))
    return found


def _refusal(found: Structures) -> list[Problem]:
    problems = list(found.refused.values())
    if len(problems) < _NAMED:
        return problems
    allowed = "allowed: files that can be read, or data.skip_corrupt: true, which leaves these out"
    count = Problem("proteins", f"{len(problems)} that cannot be read", allowed)
    return [count, *problems[: _NAMED - 1]]


def _read_folder(folder: Path) -> Structures:
    found = Structures()
    for file in sorted(folder.iterdir()):
        if file.name.startswith(_OWN):
            continue
        shown = _shown(file)
        reason = _not_a_structure(file)
        if reason:
            found.left_out.append(f"{shown}: {reason}")
            continue
        name = shown[: -len(_suffix(file))]
        if name in found.points or name in found.refused:
            problem = Problem(name, shown, "allowed: one file for each protein")
            found.points.pop(name, None)
            found.refused[name] = problem
            continue
        try:
            points, ligands = _c_alpha(file)
        except CareError as error:
            allowed = f"allowed: a PDB or mmCIF file ({error})"
            found.refused[name] = Problem(name, shown, allowed)
            continue
        found.ligands += ligands
        _take(name, points, found)
    return found


def _not_a_structure(file: Path) -> str | None:
    if file.name.startswith("."):
        return "hidden"
    if file.is_dir():
        return "a folder; only files beside it are read"
    return None if _suffix(file) else f"not {_READABLE}, plain or with .gz"


def _suffix(file: Path) -> str:
    """The longest of the known suffixes that the name ends with, in any case; or nothing."""
    name = file.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def _shown(file: Path) -> str:
    """A name that any terminal can show, also if its bytes are no UTF-8."""
    return os.fsencode(file.name).decode("utf-8", "backslashreplace")


def _c_alpha(file: Path) -> tuple[Points, Counter[str]]:
    content = read_unpacked(file)
    if not content.strip():
        raise CareError("an empty file")
    is_mmcif = "cif" in _suffix(file)
    found = (read_mmcif(content) if is_mmcif else read_pdb(content)).c_alphas()
    if not len(found.points) and not is_mmcif and b"_atom_site." in content:
        raise CareError("mmCIF, but not named .cif")
    return found.points, found.left_out


def _read_npz(file: Path) -> Structures:
    found = Structures()
    try:
        if not file.is_file():
            raise CareError("not a regular file")
        arrays = read_point_arrays(file)
    except CareError as error:
        allowed = f"allowed: an .npz file with an array [n,3] for each protein ({error})"
        found.refused["proteins"] = Problem("proteins", file.name, allowed)
        return found
    found.refused = arrays.problems
    found.left_out = arrays.left_out
    for name, points in arrays.arrays.items():
        _take(name, points, found)
    return found


def _take(name: str, points: NDArray[np.floating], found: Structures) -> None:
    problem = _problem(name, points)
    if problem:
        found.refused[name] = problem
    else:
        found.points[name] = np.ascontiguousarray(points, np.float32)


def _problem(name: str, points: NDArray[np.floating]) -> Problem | None:
    if not len(points):
        return Problem(name, "no C-alpha atom", "allowed: a protein with C-alpha atoms")
    if len(points) < _FEWEST:
        return Problem(name, f"{len(points)} C-alpha", f"allowed: {_FEWEST} C-alpha or more")
    if not np.isfinite(points).all():
        return Problem(name, "NaN or infinity", "allowed: finite coordinates")
    if np.abs(points).max() >= FARTHEST:
        allowed = f"allowed: coordinates below {FARTHEST:,.0f} Å"
        return Problem(name, f"{float(np.abs(points).max()):.6g}", allowed)
    centered = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    if np.linalg.matrix_rank(centered, tol=1e-3) < 2:
        return Problem(name, "all C-alpha on one line", "allowed: points that span a plane or more")
    return None


def _listed(lines: list[str]) -> str:
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    return "\n".join(f"  {line}" for line in lines[:_NAMED] + more)
