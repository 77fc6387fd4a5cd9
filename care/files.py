"""Files that are never half written, and logs that survive a torn last line."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from care.errors import CareError


class DiskError(CareError):
    """A file could not be written; what was there before is untouched."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path}: cannot write ({error.strerror or error}); nothing was changed. "
            "Free some space or mend the permissions, then run the same command again."
        )
        self.errno = error.errno


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: readers see the old file or the new one, never a part.

    Raises:
        DiskError: The disk is full or the folder cannot be written; ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DiskError(path, error) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut: the folder's own entry has to reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; see :func:`write_atomic`.

    Raises:
        CareError: A number is NaN or infinite, which JSON has no word for.
    """
    write_atomic(path, _json(path, value, indent=2))


def _json(path: Path, value: Any, indent: int | None = None) -> bytes:
    """Return ``value`` as JSON with a newline, for ``path``."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        wrong = ", ".join(_not_finite(value)) or str(error)
        raise CareError(f"{path.name} is not written: not a finite number: {wrong}") from error
    return (text + "\n").encode()


def _not_finite(value: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted name and value of each number that is NaN or infinite."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _not_finite(inner, f"{name}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{name} = {value}"


def read_json(path: Path) -> Any | None:
    """The JSON value in ``path``, or None when there is no such file.

    Raises:
        CareError: The file is not JSON, which no crash of ours can cause.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CareError(f"{path}: not JSON ({error})") from error


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON object as a line and bring it to the disk.

    A write that fails half-way is cut off again, so the log never grows a torn line in its middle.

    Raises:
        DiskError: The disk is full or the folder cannot be written; the log is as it was.
        CareError: As :func:`write_json`.
    """
    line = _json(path, record)
    try:
        # Unbuffered: a buffer would write what is left of a refused line when the file is closed.
        with path.open("ab", buffering=0) as file:
            start = _whole_length(path)
            if file.tell() != start:
                file.truncate(start)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(start)
                raise
    except OSError as error:
        raise DiskError(path, error) from error


def _whole_length(path: Path) -> int:
    """Bytes up to and with the last newline: what of a log is whole."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a log, without a last line that a crash left unfinished.

    Raises:
        CareError: A line before the last one is not JSON, which no crash of ours can cause.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole, _, _ = content.rpartition(b"\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise CareError(f"{path}, line {number}: not JSON ({error})") from error
    return records


def rewrite_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Replace a log by ``records``, atomically.

    Raises:
        CareError: As :func:`write_json`.
    """
    write_atomic(path, b"".join(_json(path, record) for record in records))
