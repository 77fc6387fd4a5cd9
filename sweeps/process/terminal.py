"""Output to any terminal, pipe and encoding, with the user's text printed unchanged."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import IO, Any, TextIO, cast

from rich.console import Console

_UNLIMITED_WIDTH = 1000
_ENCODING_ERRORS = "care.spelled"
_SPELLED = {
    "λ": "lambda", "γ": "gamma", "τ": "tau", "√": "sqrt", "°": " degrees", "±": "+-", "×": "x",
    "·": "*", "²": "2", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "↑": "^", "↓": "v",
    "≤": "<=", "≥": ">=", "⚠": "(!)", "█": "#", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks with ASCII words or escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    escaped = (character.encode("ascii", "backslashreplace").decode() for character in missing)
    text = "".join(
        _SPELLED.get(character, code) for character, code in zip(missing, escaped, strict=True)
    )
    return text, error.end


codecs.register_error(_ENCODING_ERRORS, _spell)


class Output(io.TextIOWrapper):
    """A standard stream that never raises, so that a sweep survives the end of its reader.

    Characters that the encoding lacks are spelled in ASCII. After the first failed write, all
    output goes to the null device.

    Args:
        stream: The standard stream to replace.

    Attributes:
        lost: The first error of a write; None if all output was written.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            cast(Any, stream.buffer),
            encoding=stream.encoding,
            errors=_ENCODING_ERRORS,
            line_buffering=bool(stream.line_buffering),
        )
        self._stream = stream  # kept alive: its finalizer would close the shared buffer
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if the stream is broken."""
        try:
            return super().write(text)
        except OSError as error:
            self._redirect_to_null(error)
            return len(text)

    def flush(self) -> None:
        """Write the buffered text, or drop it if the stream is broken."""
        try:
            super().flush()
        except OSError as error:
            self._redirect_to_null(error)

    def _redirect_to_null(self, error: OSError) -> None:
        self.lost = self.lost or error
        null = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):
            os.dup2(null, self.fileno())
        os.close(null)
        with contextlib.suppress(OSError):
            super().flush()  # the buffered text would otherwise fail again at exit

    @property
    def failure(self) -> str | None:
        """The reason of lost output; None without a loss, or after a reader like ``head`` ended."""
        if self.lost is None or self.lost.errno == errno.EPIPE:
            return None
        return self.lost.strerror


def protect_output() -> None:
    """Replace stdout and stderr of this process with an :class:`Output` each."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, Output):
            stream.flush()
            setattr(sys, name, Output(stream))


def output_failure() -> str | None:
    """Flush stdout and return the reason of lost output; None if none was lost."""
    if not isinstance(sys.stdout, Output):
        return None
    sys.stdout.flush()
    return sys.stdout.failure


def make_console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """Make a console that prints text unchanged.

    Markup, emoji codes and highlighting are off, so that ``[paper,authors]`` is printed. Outside of
    a terminal nothing is wrapped or cut, so that a trial is one line of any length.

    Args:
        file: The file to print to; the standard stream when None.
        stderr: Whether the standard stream is stderr.
    """
    console = Console(file=file, stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.soft_wrap, console.width = True, _UNLIMITED_WIDTH
    return console


def is_live(console: Console) -> bool:
    """Check that a console can redraw its lines."""
    return console.is_terminal and not console.is_dumb_terminal


def shorten(text: str, width: int) -> str:
    """Cut the middle of a label that has more than ``width`` characters."""
    if len(text) <= width:
        return text
    start = max(0, width - 1) // 2
    return f"{text[:start]}…{text[len(text) - (width - 1 - start) :]}"
