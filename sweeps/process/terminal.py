"""Output for people: any terminal, pipe and encoding, with the user's text printed as it is."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import IO, Any, TextIO, cast

from rich.console import Console

_WIDE = 1000
_ENCODING_ERRORS = "care.spelled"
_SPELLED = {
    "λ": "lambda", "γ": "gamma", "τ": "tau", "√": "sqrt", "°": " degrees", "±": "+-", "×": "x",
    "·": "*", "²": "2", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "↑": "^", "↓": "v",
    "≤": "<=", "≥": ">=", "⚠": "(!)", "█": "#", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks by words or escapes of ASCII."""
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
    """A standard stream that never raises: a sweep continues when its reader is gone.

    Characters that the encoding lacks are spelled in ASCII. After the first failed write the rest
    goes to the null device.

    Args:
        stream: The standard stream to take over.

    Attributes:
        lost: Why output was lost; None when all was written.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            cast(Any, stream.buffer),
            encoding=stream.encoding,
            errors=_ENCODING_ERRORS,
            line_buffering=bool(stream.line_buffering),
        )
        self._stream = stream  # its end would close the buffer that both use
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write ``text``, or drop it when the stream is broken."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it when the stream is broken."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.lost = self.lost or error
        null = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):
            os.dup2(null, self.fileno())
        os.close(null)
        with contextlib.suppress(OSError):
            super().flush()  # what is buffered goes to the null device, too

    @property
    def failure(self) -> str | None:
        """Why output was lost; None when all was written or its reader left, as ``head`` does."""
        if self.lost is None or self.lost.errno == errno.EPIPE:
            return None
        return self.lost.strerror


def protect_output() -> None:
    """Replace stdout and stderr of this process by an :class:`Output` each."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, Output):
            stream.flush()
            setattr(sys, name, Output(stream))


def output_failure() -> str | None:
    """Flush stdout and return why output was lost; None when all was written."""
    if not isinstance(sys.stdout, Output):
        return None
    sys.stdout.flush()
    return sys.stdout.failure


def make_console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """Return a console that prints text as it is.

    Markup, emoji codes and highlighting are off, so that ``[paper,authors]`` stays. Without a
    terminal nothing is wrapped or cut: a trial is a line, whatever the width.

    Args:
        file: Where to print; the standard stream when None.
        stderr: Whether that is stderr.
    """
    plain = Console(file=file, stderr=stderr, markup=False, emoji=False, highlight=False)
    if plain.is_terminal:
        return plain
    return Console(
        file=file,
        stderr=stderr,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        width=_WIDE,
    )


def is_live(console: Console) -> bool:
    """Whether lines of a console can be drawn anew in place."""
    return console.is_terminal and not console.is_dumb_terminal


def shorten(text: str, width: int) -> str:
    """Cut a label in its middle, so that it takes at most ``width`` characters."""
    if len(text) <= width:
        return text
    start = max(0, width - 1) // 2
    return f"{text[:start]}…{text[len(text) - (width - 1 - start) :]}"
