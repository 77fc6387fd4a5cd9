"""Read protein structures as point clouds of C-alpha atoms from PDB, mmCIF and .npz files."""

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
_FEWEST = 4  # fewer points span no volume
_MAX_LISTED = 20
_CARE_PREFIX = ".care-"  # CARE's own caches and hashes beside the data


@dataclass
class Structures:
    """Proteins of a folder or an archive.

    Attributes:
        points: C-alpha coordinates in ångström, float32 [n,3], by protein, sorted by name.
        refused: Problem of each protein that cannot be read, by name.
        left_out: Files and members that are no proteins, each with its reason.
        ligands: Number of residues outside proteins with a carbon named CA, by residue name.
    """

    points: dict[str, Points] = field(default_factory=dict)
    refused: dict[str, Problem] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    ligands: Counter[str] = field(default_factory=Counter)

    def remarks(self) -> list[str]:
        """Describe for the user everything that was left out; empty if nothing was."""
        lines = []
        if self.refused:
            listed = _list_lines([str(problem) for problem in self.refused.values()])
            lines.append(f"proteins: left out {len(self.refused)} that cannot be read:\n{listed}")
        if self.left_out:
            listed = _list_lines(self.left_out)
            lines.append(f"proteins: skipped {len(self.left_out)} other files:\n{listed}")
        if self.ligands:
            names = ", ".join(f"{count} {name}" for name, count in sorted(self.ligands.items()))
            lines.append(f"proteins: skipped residues with an atom CA outside proteins: {names}")
        return lines


def read_structures(path: Path) -> dict[str, Points]:
    """Read the C-alpha atoms of each protein; see :func:`survey_structures`."""
    return survey_structures(path).points


def survey_structures(path: Path, skip_corrupt: bool = False) -> Structures:
    """Read the C-alpha atoms of each protein of a folder or an .npz file, and list the rest.

    A file gives all protein chains of its first model, each residue in its first alternate
    location. Hidden files and subfolders are skipped.

    Args:
        path: A folder of PDB and mmCIF files, plain or gzipped. Or an .npz file with a
            floating-point array [n,3] in ångström for each protein.
        skip_corrupt: Leave out proteins that cannot be read.

    Raises:
        ConfigError: There are no proteins; or one cannot be read, has fewer than four C-alpha, all
            C-alpha on one line, or a coordinate that is no number below 10,000 Å in magnitude.
            All such proteins are counted, and up to 20 are named.
    """
    if not path.exists():
        allowed = f"allowed: a folder of {_READABLE} files, or an .npz file"
        raise ConfigError(str(path), [Problem("proteins", str(path), allowed)])
    try:
        structures = _read_folder(path) if path.is_dir() else _read_npz(path)
    except OSError as error:
        allowed = f"allowed: a folder that can be read ({error.strerror})"
        raise ConfigError(str(path), [Problem("proteins", path.name, allowed)]) from error
    if structures.refused and not (skip_corrupt and structures.points):
        raise ConfigError(str(path), _list_problems(structures))
    if not structures.points:
        left_out = structures.left_out
        others = f"; skipped:\n{_list_lines(left_out)}" if left_out else ""
        allowed = f"allowed: one protein or more, as {_READABLE} or in an .npz file{others}"
        raise ConfigError(str(path), [Problem("proteins", "none", allowed)])
    structures.points = dict(sorted(structures.points.items()))
    return structures


def _list_problems(structures: Structures) -> list[Problem]:
    problems = list(structures.refused.values())
    if len(problems) < _MAX_LISTED:
        return problems
    allowed = "allowed: files that can be read, or data.skip_corrupt: true, which leaves these out"
    count = Problem("proteins", f"{len(problems)} that cannot be read", allowed)
    return [count, *problems[: _MAX_LISTED - 1]]


def _read_folder(folder: Path) -> Structures:
    structures = Structures()
    for file in sorted(folder.iterdir()):
        if file.name.startswith(_CARE_PREFIX):
            continue
        shown = _printable_name(file)
        reason = _explain_skip(file)
        if reason:
            structures.left_out.append(f"{shown}: {reason}")
            continue
        name = shown[: -len(_suffix(file))]
        if name in structures.points or name in structures.refused:
            problem = Problem(name, shown, "allowed: one file for each protein")
            structures.points.pop(name, None)
            structures.refused[name] = problem
            continue
        try:
            points, ligands = _read_c_alphas(file)
        except CareError as error:
            allowed = f"allowed: a PDB or mmCIF file ({error})"
            structures.refused[name] = Problem(name, shown, allowed)
            continue
        structures.ligands += ligands
        _add(name, points, structures)
    return structures


def _explain_skip(file: Path) -> str | None:
    """Return the reason to skip a file; None for a structure."""
    if file.name.startswith("."):
        return "hidden"
    if file.is_dir():
        return "a folder; only files beside it are read"
    return None if _suffix(file) else f"not {_READABLE}, plain or with .gz"


def _suffix(file: Path) -> str:
    """Return the longest known suffix of the file, ignoring case; empty without one."""
    name = file.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def _printable_name(file: Path) -> str:
    """Return the file's name as text for any terminal, even if its bytes are no UTF-8."""
    return os.fsencode(file.name).decode("utf-8", "backslashreplace")


def _read_c_alphas(file: Path) -> tuple[Points, Counter[str]]:
    content = read_unpacked(file)
    if not content.strip():
        raise CareError("an empty file")
    is_mmcif = "cif" in _suffix(file)
    c_alphas = (read_mmcif(content) if is_mmcif else read_pdb(content)).c_alphas()
    if not len(c_alphas.points) and not is_mmcif and b"_atom_site." in content:
        raise CareError("mmCIF, but not named .cif")
    return c_alphas.points, c_alphas.left_out


def _read_npz(file: Path) -> Structures:
    structures = Structures()
    try:
        if not file.is_file():
            raise CareError("not a regular file")
        arrays = read_point_arrays(file)
    except CareError as error:
        allowed = f"allowed: an .npz file with an array [n,3] for each protein ({error})"
        structures.refused["proteins"] = Problem("proteins", file.name, allowed)
        return structures
    structures.refused = arrays.problems
    structures.left_out = arrays.left_out
    for name, points in arrays.arrays.items():
        _add(name, points, structures)
    return structures


def _add(name: str, points: NDArray[np.floating], structures: Structures) -> None:
    problem = _find_problem(name, points)
    if problem:
        structures.refused[name] = problem
    else:
        structures.points[name] = np.ascontiguousarray(points, np.float32)


def _find_problem(name: str, points: NDArray[np.floating]) -> Problem | None:
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


def _list_lines(lines: list[str]) -> str:
    more = [f"and {len(lines) - _MAX_LISTED} more"] if len(lines) > _MAX_LISTED else []
    return "\n".join(f"  {line}" for line in lines[:_MAX_LISTED] + more)
