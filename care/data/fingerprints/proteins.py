"""The files of proteins' structures."""

from __future__ import annotations

from pathlib import Path

from care.config import DataConfig
from care.errors import ConfigError, Problem

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")


def proteins_path(config: DataConfig, root: Path) -> Path:
    """Find the folder or the .npz file: ``data.path``, or ``proteins``, or ``proteins.npz``.

    Returns:
        Its path below the data root, whether it exists or not.

    Raises:
        ConfigError: There are a folder and a file, and ``data.path`` does not say which.
    """
    places = [config.path] if config.path else list(config.source.places)
    there = [place for place in places if (root / place).exists()]
    if len(there) > 1:
        allowed = f"allowed: one of {' and '.join(there)}, as {root} has both"
        raise ConfigError("data", [Problem("data.path", None, allowed)])
    return Path(there[0] if there else places[0])


def structure_files(folder: Path) -> list[str]:
    """List the names of the PDB and mmCIF files in a folder, sorted; hidden ones are none."""
    names = sorted(path.name for path in folder.iterdir() if not path.is_dir())
    return [name for name in names if name.lower().endswith(SUFFIXES) and name[0] != "."]
