"""Find the experiments and sweeps that come with care: ``bundled:experiments/digits.yaml``.

In a checkout they are those of its folders, in a wheel copies that its build makes (setup.py).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from care.errors import ConfigError, Problem, nearest

PREFIX = "bundled:"
_PATTERNS = ("experiments/**/*.yaml", "sweeps/*.yaml", "sweeps/clusters/*.yaml")
_COPIES = Path(__file__).parents[1] / "bundled"
_ROOT = _COPIES if _COPIES.is_dir() else Path(__file__).parents[2]


def is_bundled(path: Path) -> bool:
    """Check for the prefix of a file that comes with care."""
    return str(path).startswith(PREFIX)


def list_bundled() -> list[str]:
    """List the files that come with care, with the prefix."""
    files = {file for pattern in _PATTERNS for file in _ROOT.glob(pattern)}
    return sorted(f"{PREFIX}{file.relative_to(_ROOT).as_posix()}" for file in files)


def find_path(path: Path) -> Path:
    """Return the real path of a file or folder that comes with care, and any other as it is.

    Raises:
        ConfigError: Care brings nothing of this name; names the nearest.
    """
    if not is_bundled(path):
        return path
    parts: list[str] = []
    for part in PurePosixPath(str(path).removeprefix(PREFIX)).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    name = f"{PREFIX}{'/'.join(parts)}"
    names = list_bundled()
    if any(each == name or each.startswith(f"{name}/") for each in names):
        return _ROOT.joinpath(*parts)
    problem = Problem("file", str(path), f"allowed: {_offer(parts[:-1], names)}", near(name))
    raise ConfigError(str(path), [problem])


def beside(file: Path, name: str) -> Path:
    """Return the path of a file that another file names: from its folder, or one of care's."""
    return Path(name) if name.startswith(PREFIX) else file.parent / name


def advise(path: Path) -> str:
    """Name the bundled file that a missing path may mean; empty if there is none of its name."""
    names = [name for name in list_bundled() if PurePosixPath(name).name == path.name]
    if not names:
        return ""
    ends = [name for name in names if name.endswith((f":{path.as_posix()}", f"/{path.as_posix()}"))]
    return f"; one comes with care: {(ends or names)[0]}"


def near(name: str) -> str | None:
    """Find the bundled file whose name is closest to that of a path."""
    by_file = {PurePosixPath(each).name: each for each in list_bundled()}
    file = nearest(PurePosixPath(name).name, by_file)
    return by_file[file] if file else None


def _offer(folder: list[str], names: list[str]) -> str:
    """Describe the files of a bundled folder, or else the folders."""
    start = f"{PREFIX}{'/'.join([*folder, ''])}"
    files = [name.removeprefix(start) for name in names if name.startswith(start)]
    inside = [file for file in files if "/" not in file]
    if inside:
        return f"a file that comes with care, {start} followed by {', '.join(inside)}"
    folders = sorted({name.rpartition("/")[0] for name in names})
    return f"a file that comes with care, in {', '.join(folders) or 'none: this is a copy'}"
