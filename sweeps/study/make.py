"""Make the folder of a study: a sweep, its experiment, a cluster file and a Makefile.

A new folder gets its name when it is whole. Into an existing one, files are only ever added:
of two calls at once, one makes the study and the other refuses.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

from care.config.bundled import PREFIX, find_path
from care.errors import ConfigError, Problem

_FILES = Path(__file__).parent / "files"
_EXPERIMENT = Path(f"{PREFIX}experiments/digits.yaml")
_CLUSTER = Path(f"{PREFIX}sweeps/clusters/example.yaml")
_OWN_NAMES = {
    "sweeps/clusters/mine.yaml": "cluster.yaml",
    "sweeps/digits-lambda.yaml": "sweep.yaml",
}
"""Files that the example of a cluster names, by those of a study."""
_UNFIT = re.compile(r"[^a-z0-9._-]+")
_LONGEST_NAME = 63
_SHOWN_FILES = 5
_NEW = "allowed: a new or an empty folder"


def make_study(name: str, version: str) -> list[str]:
    """Make the folder of a study.

    Args:
        name: Path of a new or an empty folder; the sweep gets its name.
        version: The version of care, for the README.

    Returns:
        The names of the files.

    Raises:
        ConfigError: The folder's name is not valid, it has files, or it cannot be written.
            Nothing was changed.
    """
    _check_name(name)
    folder = Path(name)
    try:
        files = _contents(folder.resolve().name, version)
        if folder.is_symlink():
            raise _refusal(folder, f"{_NEW}, not a link")
        if folder.exists():
            _fill(folder, files)
        else:
            _make_whole(folder, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refusal(folder, f"allowed: a folder that can be written ({reason})") from error
    return sorted(files)


def _check_name(name: str) -> None:
    try:
        os.fsencode(name).decode()
    except UnicodeError as error:
        raise _refusal(name, "allowed: a name in UTF-8") from error
    if not name.isprintable() or not name.strip() or not Path(name).absolute().name:
        raise _refusal(name, "allowed: the name of a folder")


def _contents(name: str, version: str) -> dict[str, bytes]:
    """Return the files by name, the one that claims an existing folder first."""
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(_FILES.iterdir())
        if path.is_file()
    }
    cluster = find_path(_CLUSTER).read_text(encoding="utf-8")
    cluster = cluster.replace("Copy this file, adapt it, then", "Adapt it, then")
    for example, own in _OWN_NAMES.items():
        cluster = cluster.replace(example, own)
    files = {
        "sweep.yaml": texts["sweep.yaml"].replace("study-name", sweep_name(name)),
        "experiment.yaml": find_path(_EXPERIMENT).read_text(encoding="utf-8"),
        "cluster.yaml": cluster,
        "Makefile": texts["Makefile"],
        "README.md": texts["README.md"].replace("STUDY", name).replace("VERSION", version),
        ".gitignore": texts["gitignore"],
    }
    return {name: text.encode() for name, text in files.items()}


def sweep_name(folder: str) -> str:
    """Turn the name of a folder into that of a sweep: ``My Study`` becomes ``my-study``."""
    name = _UNFIT.sub("-", folder.lower()).strip("-._")[:_LONGEST_NAME]
    return name or "study"


def _make_whole(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files to a temporary folder beside the new one, and rename it."""
    if not folder.parent.is_dir():
        raise _refusal(folder, f"{_NEW} in a folder that exists, and {folder.parent} does not")
    part = folder.parent / f".care-init-{secrets.token_hex(8)}"
    part.mkdir()
    try:
        for name, content in files.items():
            (part / name).write_bytes(content)
        try:
            part.rename(folder)  # replaces an empty folder only
        except OSError as error:
            if folder.is_dir():
                raise _not_empty(folder) from error
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    """Create the files in an empty folder, where no file may appear meanwhile."""
    if not folder.is_dir():
        raise _refusal(folder, f"{_NEW}, not a file")
    if any(folder.iterdir()):
        raise _not_empty(folder)
    written: list[Path] = []
    try:
        for name, content in files.items():
            with (folder / name).open("xb") as file:
                written.append(folder / name)
                file.write(content)
    except BaseException as error:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        if isinstance(error, FileExistsError):
            raise _not_empty(folder) from error
        raise


def _not_empty(folder: Path) -> ConfigError:
    names = sorted(entry.name for entry in folder.iterdir())
    shown = names[:_SHOWN_FILES] + ["…"] * (len(names) > _SHOWN_FILES)
    return _refusal(folder, f"{_NEW}; this one has {', '.join(shown) or 'files'}")


def _refusal(folder: Path | str, allowed: str) -> ConfigError:
    return ConfigError("care init", [Problem("folder", str(folder), allowed)])
