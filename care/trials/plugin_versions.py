"""Versions of the code of plugins, which lies outside this repository.

A plugin's code is the module that its entry names, and all that this module imports from files that
are no library: not in site-packages, not of Python itself.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.errors import CareError, ConfigError, Problem
from care.plugins import OWN, Entry, Registry, plugin_modules
from care.registry import DATA, ENCODERS, MEASURES, MONITORED, OBJECTIVES
from care.trials.code_version import syntax_hash

_LIBRARIES = {"site-packages", "dist-packages"}
_DIGITS = 16


def plugin_versions(config: TrialConfig) -> dict[str, str]:
    """Hash the code of each plugin entry that a trial uses.

    Returns:
        Hashes by kind and name, e.g. ``objective vicreg``; empty for a trial without plugins.

    Raises:
        ConfigError: A module named in an entry is missing.
    """
    data = (config.data, *config.evaluation.transfer)
    measures = [name for name, entry in MEASURES.items() if entry.when(config)]
    used: list[tuple[Registry[Any], str]] = [
        (OBJECTIVES, config.objective.name),
        (ENCODERS, config.model.encoder),
        *((DATA, one.name) for one in data),
        *((MEASURES, name) for name in measures),
        *((MONITORED, name) for name in config.evaluation.monitor.measures),
    ]
    return {
        f"{registry.kind} {name}": _version(registry[name].paths)
        for registry, name in used
        if registry[name].is_plugin
    }


def plugin_difference(recorded: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe the first entry with changed code; empty without one.

    A measure that the trial lacks is no difference, as its other numbers stay valid.

    Args:
        recorded: Result of :func:`plugin_versions` at the trial's last start.
        now: Present result of :func:`plugin_versions` for the trial's configuration.
    """
    for name, version in now.items():
        before = recorded.get(name)
        if before != version and (before or not name.startswith(f"{MEASURES.kind} ")):
            return f"trained with other code of the plugin's {name}"
    return ""


def plugin_files() -> dict[str, Path]:
    """Find the top-level modules and packages of all plugins that are no installed libraries.

    Returns:
        The file or folder of each, by name.
    """
    registries: list[Registry[Any]] = [OBJECTIVES, ENCODERS, DATA, MEASURES, MONITORED]
    entries: list[Entry] = [entry for registry in registries for entry in registry.values()]
    modules = [path.partition(":")[0] for entry in entries for path in entry.paths]
    roots: dict[str, Path] = {}
    for name in _sources([*plugin_modules(), *modules]):
        top = name.partition(".")[0]
        root = _root(top)
        if root is not None and not _is_library(root):
            folder = root / top
            roots[top] = folder if folder.is_dir() else root / f"{top}.py"
    return roots


@functools.cache
def _version(paths: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(paths).encode())
    for name, file in sorted(_sources(path.partition(":")[0] for path in paths).items()):
        try:
            digest.update(f"\0{name}\0{syntax_hash(file.read_bytes())}".encode())
        except (OSError, SyntaxError) as error:
            raise CareError(f"{file}, the code of a plugin: {error}") from error
    return digest.hexdigest()[:_DIGITS]


def _sources(modules: Iterable[str]) -> dict[str, Path]:
    """Find the files of modules and of everything they import, without libraries.

    Raises:
        ConfigError: One of ``modules`` is missing.
    """
    waiting = [name for name in modules if name.partition(".")[0] not in OWN]
    plugins = {name.partition(".")[0] for name in waiting}
    for name in waiting:
        if _file(name) is None:
            problem = Problem("module", name, "allowed: modules on PYTHONPATH, or installed ones")
            raise ConfigError("a plugin", [problem])
    files: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        file, top = _file(name), name.partition(".")[0]
        if name in files or file is None or (_is_library(_root(top)) and top not in plugins):
            continue
        files[name] = file
        # A package that registers entries changes no number when it registers one more.
        waiting += [package for package in _parents(name) if package not in plugin_modules()]
        waiting += _imports(name, file)
    return files


def _file(module: str) -> Path | None:
    """Find a module's source file; None for our own, Python's and compiled modules."""
    root = _root(module.partition(".")[0])
    if root is None:
        return None
    base = root.joinpath(*module.split("."))
    return next(
        filter(Path.is_file, (base / "__init__.py", base.with_name(f"{base.name}.py"))), None
    )


@functools.cache
def _root(top: str) -> Path | None:
    """Find the folder that a top-level module lies in; imports nothing."""
    if top in OWN or top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # e.g. __main__ has none
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin else None


def _is_library(root: Path | None) -> bool:
    return root is not None and not _LIBRARIES.isdisjoint(root.parts)


def _parents(module: str) -> list[str]:
    """Name the packages above a module, whose ``__init__`` runs before it."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _imports(module: str, file: Path) -> Iterator[str]:
    """Name the modules that a module imports, anywhere in it."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError) as error:
        raise CareError(f"{file}, the code of a plugin: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(above if node.level else []), *filter(None, [node.module])]
            for alias in node.names:
                inner = ".".join([*parts, alias.name])
                yield inner if _file(inner) else ".".join(parts)
