"""The code as it was when the sweep was submitted, which is what its jobs run.

A job may wait for days while somebody goes on editing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from care.system.files import write_json
from care.system.git import SNAPSHOT, git_state

_PACKAGES = ("care", "sweeps", "analysis")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def take_snapshot(folder: Path) -> Path:
    """Copy this code below ``folder``, once for each state of it.

    Returns:
        The folder that PYTHONPATH has to name.
    """
    root = Path(__file__).parents[3]
    target = folder / _digest(root)
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    for package in _PACKAGES:
        shutil.copytree(root / package, part / package, ignore=_LEFT_OUT)
    write_json(part / SNAPSHOT, git_state())
    part.chmod(0o755)
    try:
        part.rename(target)
    except OSError:  # another submission was faster
        shutil.rmtree(part)
    return target


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
