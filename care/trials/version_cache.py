"""Keep hashes of the code in the user's cache: parsing all modules takes half a second."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from care.errors import CareError
from care.system.files import read_json, write_json

_MOST = 50
_VERSION = re.compile(r"[a-z0-9]+-[0-9a-f]{16}")


def cached_version(key: str, compute: Callable[[], str]) -> str:
    """Return the code version of ``key``; compute and keep it if it is new.

    A cache that is damaged, or cannot be written, costs only the computation.

    Args:
        key: Hash of all that the version depends on.
        compute: Computes the version.
    """
    file = _cache_file()
    versions = _read(file) if file else {}
    if key in versions:
        return versions[key]
    versions[key] = compute()
    if file:
        with contextlib.suppress(CareError, OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, dict(list(versions.items())[-_MOST:]))
    return versions[key]


def _cache_file() -> Path | None:
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # no home
        return None
    return folder / "care" / "code-versions.json" if folder.is_absolute() else None


def _read(file: Path) -> dict[str, str]:
    try:
        values = read_json(file) or {}
    except (CareError, OSError):
        return {}
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, str) and _VERSION.fullmatch(value)
    }
