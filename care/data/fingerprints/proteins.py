"""List the files of protein structures."""

from __future__ import annotations

from pathlib import Path

from care.config import DataConfig
from care.errors import ConfigError, Problem

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")


def proteins_path(config: DataConfig, root: Path) -> Path:
    """Find the folder or the .npz file: ``data.path``, ``proteins`` or ``proteins.npz``.

    Returns:
        Path below the data root, which may not exist.

    Raises:
        ConfigError: Both a folder and a file exist, and ``data.path`` does not choose one.
    """
    candidates = [config.path] if config.path else list(config.source.places)
    present = [path for path in candidates if (root / path).exists()]
    if len(present) > 1:
        allowed = f"allowed: one of {' and '.join(present)}, as {root} has both"
        raise ConfigError("data", [Problem("data.path", None, allowed)])
    return Path(present[0] if present else candidates[0])


def structure_files(folder: Path) -> list[str]:
    """List the names of the PDB and mmCIF files in a folder, sorted, without hidden files."""
    names = sorted(path.name for path in folder.iterdir() if not path.is_dir())
    return [name for name in names if name.lower().endswith(SUFFIXES) and name[0] != "."]
