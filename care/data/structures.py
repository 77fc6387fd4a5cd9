"""Protein structures as point clouds of their C-alpha atoms, from PDB, mmCIF and .npz files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care.errors import ConfigError, Problem

Points = NDArray[np.float32]
_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")
_FEWEST = 4  # fewer points span no space


def read_structures(path: Path) -> dict[str, Points]:
    """C-alpha coordinates in ångström, float32 [n,3], by protein, in the order of their names.

    Args:
        path: A folder of PDB and mmCIF files, plain or gzipped, or an .npz file with an array [n,3]
            for each protein. Of a file the first model counts, all its protein chains, of each
            residue the first alternate location.

    Raises:
        ConfigError: Nothing is there; or a file cannot be read, has no C-alpha, has fewer than
            four, or a coordinate that is not finite. Every such protein is named.
    """
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.name.lower().endswith(_SUFFIXES)]
        found, problems = _read_files(files)
    elif path.is_file():
        found, problems = _read_npz(path)
    else:
        allowed = f"allowed: a folder of {', '.join(_SUFFIXES[:4])} files, or an .npz file"
        raise ConfigError(str(path), [Problem("proteins", str(path), allowed)])
    if not found and not problems:
        allowed = f"allowed: one protein or more, as {', '.join(_SUFFIXES[:4])} or in an .npz file"
        problems = [Problem("proteins", "none", allowed)]
    if problems:
        raise ConfigError(str(path), problems)
    return dict(sorted(found.items()))


def _read_files(files: list[Path]) -> tuple[dict[str, Points], list[Problem]]:
    found: dict[str, Points] = {}
    problems: list[Problem] = []
    names = [file.name.partition(".")[0] for file in files]
    for index, (name, file) in enumerate(zip(names, files, strict=True)):
        if name in names[:index]:
            problems.append(Problem(name, file.name, "allowed: one file for each protein"))
            continue
        try:
            points = _c_alpha(file)
        except (OSError, EOFError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            problems.append(Problem(name, file.name, f"allowed: a PDB or mmCIF file ({reason})"))
            continue
        problems += _problems(name, points)
        found[name] = points
    return found, problems


def _c_alpha(file: Path) -> Points:
    import gemmi

    # gemmi reads what there is of a cut archive and says nothing; gzip does not.
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode()
    if ".cif" in file.name.lower() or ".mmcif" in file.name.lower():
        structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    else:
        structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    structure.remove_alternative_conformations()
    if not len(structure):
        return np.zeros((0, 3), np.float32)
    atoms = [
        residue.find_atom("CA", "*", gemmi.Element("C"))
        for chain in structure[0]
        for residue in chain
        if gemmi.find_tabulated_residue(residue.name).is_amino_acid()
    ]
    places = [atom.pos.tolist() for atom in atoms if atom is not None]
    return np.array(places, np.float32).reshape(-1, 3)


def _read_npz(file: Path) -> tuple[dict[str, Points], list[Problem]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        allowed = f"allowed: an .npz file with an array [n,3] for each protein ({error})"
        return {}, [Problem("proteins", file.name, allowed)]
    found: dict[str, Points] = {}
    problems = []
    for name, points in content.items():
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f":
            given = f"{points.dtype} {list(points.shape)}"
            problems.append(Problem(name, given, "allowed: floating-point coordinates [n,3]"))
            continue
        found[name] = points.astype(np.float32)
        problems += _problems(name, found[name])
    return found, problems


def _problems(name: str, points: Points) -> list[Problem]:
    if not len(points):
        return [Problem(name, "no C-alpha atom", "allowed: a protein with C-alpha atoms")]
    if len(points) < _FEWEST:
        return [Problem(name, f"{len(points)} C-alpha", f"allowed: {_FEWEST} C-alpha or more")]
    if not np.isfinite(points).all():
        return [Problem(name, "NaN or infinity", "allowed: finite coordinates")]
    return []
