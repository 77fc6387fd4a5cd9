"""Registries: names that a configuration may use, and the plugins that add names to them.

A registry holds import paths, not objects, so that a configuration is checked without importing
torch. A plugin is a module outside this repository that registers entries when it is imported. The
environment variable ``CARE_PLUGINS`` names the plugins, separated by commas: docs/extending.md.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from care.errors import CareError, ConfigError, Problem

VARIABLE = "CARE_PLUGINS"
"""The environment variable that names the plugins. Child processes and SLURM jobs inherit it."""
OWN = ("care", "sweeps", "analysis")
"""Our packages, which are no plugins."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PATH = re.compile(r"(\w+(?:\.\w+)*):(\w+)")


@dataclass(frozen=True)
class Entry:
    """What a registry holds of a name."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The import paths ``module:attribute`` of the code behind the name."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(text for text in values if isinstance(text, str) and _PATH.fullmatch(text))

    @functools.cached_property
    def is_plugin(self) -> bool:
        """Whether some of its code lies outside this repository."""
        return any(path.partition(".")[0].partition(":")[0] not in OWN for path in self.paths)


EntryT = TypeVar("EntryT", bound=Entry)


class Registry(Mapping[str, EntryT], Generic[EntryT]):
    """Entries by name, with those of the plugins once a name is not one of ours.

    Args:
        kind: What the names are of, for messages, e.g. ``objective``.
        entries: The entries of this repository.
    """

    def __init__(self, kind: str, entries: Mapping[str, EntryT]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def register(self, name: str, entry: EntryT) -> None:
        """Add an entry; a second import of the plugin that added it changes nothing.

        Args:
            name: Lower-case letters, digits, hyphens and underscores. It is part of the identity of
                the trials that use it.
            entry: Says where the code lies.

        Raises:
            ConfigError: The name has other characters, or already means something else.
        """
        known = self._entries.get(name)
        if known is not None and known.paths != entry.paths:
            paths = ", ".join(known.paths)
            self._refuse(name, f"a name of its own; {name!r} is registered as {paths}")
        if not _NAME.fullmatch(name):
            self._refuse(name, "lower-case letters, digits, hyphens and underscores")
        if not entry.paths:
            self._refuse(name, "an entry with the import path of its code, module:attribute")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> EntryT:
        # Defaults of the configuration are checked while care.config is being imported, which a
        # plugin may import in turn: our own names need no plugin.
        if name not in self._entries:
            load_plugins()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        load_plugins()
        return len(self._entries)

    def _refuse(self, name: str, allowed: str) -> None:
        problem = Problem(f"{self.kind} {name!r}", name, f"allowed: {allowed}")
        raise ConfigError("a plugin's registration", [problem])


_loaded: set[str] = set()


def plugin_modules() -> tuple[str, ...]:
    """Name the modules in ``CARE_PLUGINS``."""
    return tuple(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


def load_plugins() -> None:
    """Import each module in ``CARE_PLUGINS``, once.

    Raises:
        ConfigError: A module is missing or raises an error.
    """
    for name in plugin_modules():
        if name in _loaded:
            continue
        _loaded.add(name)  # first: a plugin may itself look up a name
        try:
            importlib.import_module(name)
        except Exception as error:
            _loaded.discard(name)
            if isinstance(error, CareError):
                raise
            allowed = f"allowed: modules that can be imported ({type(error).__name__}: {error})"
            raise ConfigError(VARIABLE, [Problem("module", name, allowed)]) from error


def load(path: str) -> Any:
    """Import the object at ``module:attribute``.

    Raises:
        ConfigError: A plugin's module is missing, or has no such attribute.
    """
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if module.partition(".")[0] in OWN:
            raise
        problem = Problem("import path", path, f"allowed: a module and its attribute ({error})")
        raise ConfigError("a plugin's registration", [problem]) from error
