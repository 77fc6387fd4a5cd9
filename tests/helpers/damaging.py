"""Damage that disks, crashes and people do to files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _other_types(content: bytes) -> bytes:
    """The last line, or the whole file, with every value of another type."""
    try:
        tree: dict[str, Any] = json.loads(content)
    except ValueError:
        *before, last = content.splitlines()
        try:
            tree = json.loads(last)
        except ValueError:
            return b"[]"
        changed = {name: [str(value)] for name, value in tree.items()}
        return b"\n".join([*before, json.dumps(changed).encode()]) + b"\n"
    return json.dumps({name: [str(value)] for name, value in tree.items()}).encode()


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": _rewritten(lambda content: b""),
    "cut": _rewritten(lambda content: content[: len(content) // 2]),
    "cut by one": _rewritten(lambda content: content[:-1]),
    "zeroed": _rewritten(lambda content: bytes(len(content))),
    "NUL tail": _rewritten(lambda content: content + bytes(100)),
    "doubled": _rewritten(lambda content: content * 2),
    "garbage": _rewritten(lambda content: bytes(range(256)) * 3),
    "flipped": _rewritten(_flipped),
    "not UTF-8": _rewritten(lambda content: b'{"state": "\xff\xfe"}\n'),
    "null": _rewritten(lambda content: b"null\n"),
    "list": _rewritten(lambda content: b"[1, 2]\n"),
    "number": _rewritten(lambda content: b"3\n"),
    "string": _rewritten(lambda content: b'"finished"\n'),
    "other fields": _rewritten(lambda content: b'{"other": 1}\n'),
    "other types": _rewritten(_other_types),
    "deep": _rewritten(lambda content: b"[" * 100_000 + b"\n"),
    "bad middle line": _rewritten(
        lambda content: content.replace(b"\n", b"\n{broken\n", 1) + content
    ),
    "folder": _replaced(Path.mkdir),
    "dead link": _replaced(lambda path: path.symlink_to("/nowhere/at/all")),
    "link to a folder": _replaced(lambda path: path.symlink_to(path.parent)),
    "link to itself": _replaced(lambda path: path.symlink_to(path)),
    "named pipe": _replaced(os.mkfifo),
    "huge": _huge,
}
"""Each takes a file and leaves something else in its place."""


def contents(folder: Path) -> dict[str, object]:
    """What lies in a folder, to be compared; never waits, and reads no huge file."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file() and status.st_size < 2**24:
            found[name] = path.read_bytes()
        else:
            found[name] = (status.st_mode, status.st_size)
    return found


def remove(path: Path) -> None:
    """Remove whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
