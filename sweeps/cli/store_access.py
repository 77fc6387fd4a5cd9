"""``care store access``."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from rich.console import Console

from care.errors import ConfigError, Problem
from care.system.permissions import STORE, user_of
from care.trials.records import StoreRecord, read_record
from sweeps.cli.store import open_store
from sweeps.disk.access import Changes, set_access
from sweeps.process.terminal import make_console
from sweeps.store import Store
from sweeps.store_access import open_entries

_SHOWN = 5


def access_command(root: Path, group: str | None, private: bool) -> int:
    """Print or set who may use a store.

    Returns:
        0, or 1 if a part of the store is open to other users than the setting says.
    """
    if group is not None and private:
        allowed = "allowed: one of --group NAME and --private"
        raise ConfigError("care store access", [Problem("--private", True, allowed)])
    store, console = open_store(root), make_console()
    if group is None and not private:
        return _show(store, console)
    changes = set_access(store, group)
    _print(console, f"{root}: {_describe(group, store.root)}; {changes.changed:,} modes changed")
    _print_left(console, changes)
    return 1 if changes.linked or changes.failed else 0


def _describe(group: str | None, root: Path) -> str:
    if group is None:
        return f"private to {user_of(root.resolve())}"
    return f"shared with group {group}, whose members may read and write it"


def _show(store: Store, console: Console) -> int:
    record = read_record(store.root / STORE, StoreRecord)
    group = record.group if record and record.access == "group" else None
    opened = open_entries(store.root.resolve(), group=group is not None)
    if not opened:
        _print(console, f"{store.root}: {_describe(group, store.root)}")
        return 0
    choose = "its next run closes it" if record and record.access is None else "to close it"
    _print(console, f"{store.root}: open to other users; {choose}: care store access --private")
    for path in opened[:_SHOWN]:
        _print(console, f"  {path}: mode {path.lstat().st_mode & 0o7777:04o}")
    return 1


def _print_left(console: Console, changes: Changes) -> None:
    for uid, count in changes.others.items():
        owner = _name(uid)
        text = f"{count:,} files and folders of {owner} are left as they are; only {owner} can "
        _print(console, f"{text}change them, with the same command")
    for path in changes.linked[:_SHOWN]:
        _print(console, f"left as it is, because it has a name outside of the store: {path}")
    for path, reason in list(changes.failed.items())[:_SHOWN]:
        _print(console, f"left as it is ({reason}): {path}")
    more = max(0, len(changes.linked) - _SHOWN) + max(0, len(changes.failed) - _SHOWN)
    if more:
        _print(console, f"and {more:,} more are left as they are")


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _print(console: Console, text: str) -> None:
    printable = os.fsencode(text).decode(errors="backslashreplace")
    console.print(printable, markup=False, highlight=False, soft_wrap=True)
