"""Write and read a trial's ``log.txt``: what its processes did, for people.

Each line has a time in UTC. The file is bounded: the first and the newest lines are kept. A log
never ends a trial. What cannot be written, e.g. because the disk is full, is dropped, and no line
waits for the disk. Numbers never depend on the log, so no checksum covers it.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from care.errors import CareError
from care.system.files import DamagedFileError, Writer, read_tail, read_whole, set_aside
from care.system.redaction import redact

LOG = "log.txt"
"""Name of the file in a trial's folder."""
LARGEST = 2**20
"""Bytes of the largest log."""
_KEPT = 2**18
_LONGEST = 2**15
_MARK = f"[lines left out: this log keeps its first and last {_KEPT // 1024} KiB]".encode()
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), 127), "�")


def log_text(folder: Path, writer: Writer, text: str) -> None:
    """Append a text to the log of a trial; each of its lines gets the time. Never raises.

    Args:
        folder: The trial's folder.
        writer: The trial's claim, or the writer of a folder with one writer.
        text: One line or more, without its secrets; the middle of a text above 32 KiB is left out.
    """
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    kept = _without_middle(redact(text), _LONGEST)
    lines = "".join(f"{stamp} {line}\n" for line in kept.translate(_CONTROL).split("\n"))
    path = folder / LOG
    with contextlib.suppress(CareError, OSError):
        size = _size(path, writer)
        content = lines.encode(errors="backslashreplace")
        writer.append_text(path, content)
        if size + len(content) > LARGEST:
            writer.rewrite(path, _shortened(read_whole(path) or b"", stamp))


def read_log(folder: Path) -> str:
    """Return the log of a trial; empty without one.

    Raises:
        DamagedFileError: The path is no regular file, or not readable.
    """
    return decode(read_whole(folder / LOG) or b"")


def decode(content: bytes) -> str:
    """Decode a log for a terminal; a power cut may have left zeros in it."""
    return content.replace(b"\0", b"").decode(errors="replace")


def _size(path: Path, writer: Writer) -> int:
    """Return the size of a log, which is set aside if it is none or far too large."""
    try:
        last = read_tail(path, 0)
        if last is None or last[0] <= 2 * LARGEST:
            return last[0] if last else 0
    except DamagedFileError as error:
        if error.denied:
            raise
    set_aside(path, writer)
    return 0


def _without_middle(text: str, most: int) -> str:
    text = text.rstrip("\n")
    if len(text) <= most:
        return text
    left_out = len(text) - most
    return f"{text[: most // 2]}\n[{left_out:,} characters left out]\n{text[-(most // 2) :]}"


def _shortened(content: bytes, stamp: str) -> bytes:
    """Keep the first and the last lines of a log, and replace the mark of an earlier call."""
    marked = content.find(_MARK, 0, _KEPT + len(_MARK))
    first = content[: content.rfind(b"\n", 0, _KEPT if marked < 0 else marked) + 1]
    start = content.find(b"\n", len(content) - _KEPT) + 1
    return first + f"{stamp} ".encode() + _MARK + b"\n" + content[start:]
