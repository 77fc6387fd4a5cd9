"""Copy the code and its plugins at submission, for the jobs.

A job may wait for days while its user edits the code.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from care import __version__
from care.errors import CareError
from care.system.checkout import CODE
from care.system.files import write_json
from care.system.git import SNAPSHOT, git_state
from care.system.libraries import library_versions
from care.system.permissions import adopt, make_folder
from care.trials.plugin_versions import plugin_files

_PACKAGES = ("care", "sweeps", "analysis")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def take_snapshot(folder: Path) -> Path:
    """Copy this code and its plugins below ``folder``, once for each version.

    Returns:
        The folder for PYTHONPATH.
    """
    sources = {package: CODE / package for package in _PACKAGES} | plugin_files()
    target = folder / _digest(sources)
    if target.exists():
        return target
    make_folder(folder)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    for name, source in sources.items():
        if source.is_dir():
            shutil.copytree(source, part / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(source, part)
    write_json(part / SNAPSHOT, {"version": __version__, **git_state()})
    adopt(part)
    try:
        part.rename(target)
    except OSError:  # another submission has made it
        shutil.rmtree(part)
    return target


def is_running_code(code: str) -> bool:
    """Check whether this process runs the code of a submission."""
    with contextlib.suppress(OSError):
        return CODE.samefile(code)
    return False


def check_code(code: str) -> None:
    """Check in a job that Python imports the submitted code, not that of a container's image.

    Raises:
        CareError: It does not; names both folders.
    """
    if not is_running_code(code):
        raise CareError(
            f"this job runs the code in {CODE}, not the submitted code in {code}: the Python "
            "of the cluster file must see that folder, and keep the variable PYTHONPATH"
        )


def needed_versions() -> tuple[str, ...]:
    """Return the versions that head and workers of a sweep must share.

    Ray refuses a node with another Ray or Python. Another torch may change numbers; its build for
    a device, as in ``2.9.1+cu128``, may differ.
    """
    libraries = (text.partition("+")[0] for text in library_versions("ray", "torch"))
    return (f"python {platform.python_version()}", *libraries)


def _digest(sources: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for source in sources.values():
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(source.parent)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
