"""The receiver of a sweep's messages, whose address is never shown."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from care.errors import ConfigError, Problem
from care.system.redaction import remember
from sweeps.spec.notify import VARIABLE, NotifyConfig

_SOURCE = "notify"


@dataclass(frozen=True)
class Target:
    """A webhook or a command.

    Attributes:
        name: How to call it in messages, without its address.
        url: Address of the webhook; empty for a command. A secret.
        command: The command and its arguments; empty for a webhook. May hold secrets.
    """

    name: str
    url: str = field(default="", repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)


def find_target(config: NotifyConfig | None) -> Target | None:
    """Find the receiver of a sweep's messages.

    Args:
        config: The sweep's ``notify:``. None for that of the variable ``CARE_NOTIFY``, if it is
            set.

    Returns:
        The receiver; None if nobody asked for messages.

    Raises:
        ConfigError: The variable is not set, the file is missing or readable by others, or the
            address is no web address and no command.
    """
    if config is None:
        if not os.environ.get(VARIABLE):
            return None
        config = NotifyConfig()
    return _resolve(config.to)


def _resolve(to: str) -> Target:
    kind, colon, place = to.partition(":")
    if colon and kind == "env":
        value = os.environ.get(place, "").strip()
        if not value:
            allowed = "allowed: a variable that is set to a web address or a command"
            raise ConfigError(_SOURCE, [Problem("to", to, allowed)])
        if value.startswith("file:"):
            return _parse(_read(value), f"of {place}")
        return _parse(value, f"of {place}")
    if colon and kind == "file":
        return _parse(_read(to), f"of {place}")
    return _parse(to, "of this sweep")


def _read(to: str) -> str:
    """Read an address from a file that only its owner can read."""
    path = Path(to.removeprefix("file:")).expanduser()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        allowed = f"allowed: a file that can be read ({reason})"
        raise ConfigError(_SOURCE, [Problem("to", to, allowed)]) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        allowed = f"allowed: a file that only you can read: chmod 600 {path}"
        raise ConfigError(_SOURCE, [Problem("to", to, allowed)])
    if not text:
        raise ConfigError(_SOURCE, [Problem("to", to, "allowed: a file with a web address")])
    return text


def _parse(value: str, of: str) -> Target:
    """Read an address as that of a webhook, or as a command."""
    remember(value)
    scheme, separator, _ = value.partition("://")
    if separator and scheme in ("http", "https"):
        return Target(f"the webhook {of}", url=value)
    if separator and " " not in scheme:
        allowed = "allowed: http, https, or a command (apprise and others can be one)"
        raise ConfigError(_SOURCE, [Problem(f"scheme {of}", f"{scheme}://…", allowed)])
    try:
        command = tuple(shlex.split(value))
    except ValueError:
        command = ()
    if not command or shutil.which(command[0]) is None:
        allowed = "allowed: a web address, or a command that can be run here"
        raise ConfigError(
            _SOURCE, [Problem(f"command {of}", command[0] if command else "…", allowed)]
        )
    return Target(f"the command {of}", command=command)
