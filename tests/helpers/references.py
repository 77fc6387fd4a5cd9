"""Follows what prose refers to: names of the code, files, sections, links."""

from __future__ import annotations

import ast
import functools
import importlib
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatchcase
from os.path import normpath
from pathlib import Path

from tests.helpers.paths import ROOT

PACKAGES = ("care", "sweeps", "analysis", "benchmarks", "tests")


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(path for name in names.splitlines() if (path := ROOT / name).is_file())


@functools.cache
def paths() -> frozenset[str]:
    """The files and their folders, relative to the repository."""
    names = [path.relative_to(ROOT) for path in files()]
    return frozenset(part.as_posix() for name in names for part in (name, *name.parents))


@functools.cache
def ends() -> frozenset[str]:
    """The paths, and the ends by which prose may name them."""
    return frozenset(
        "/".join(parts[start:])
        for path in paths()
        for parts in [path.split("/")]
        for start in range(len(parts))
    )


@functools.cache
def exists(target: str, folder: str) -> bool:
    """Tell whether a path, or its end, is in the repository; ``*`` stands for any name.

    Args:
        target: As the prose names it.
        folder: That of the file that names it, from which a path may start.
    """
    if "*" in target:
        return any(fnmatchcase(path, target) for path in ends())
    return target in ends() or normpath(f"{folder}/{target}") in paths()


@functools.cache
def prose(path: Path) -> str:
    """The docstrings and comments of a Python file; the whole of any other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    strings = [
        node.value.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join([*strings, *(t.string for t in tokens if t.type == tokenize.COMMENT)])


@functools.cache
def module_file(name: str) -> Path | None:
    """The file of one of our modules."""
    base = ROOT / name.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names that statements define, import or assign, with the statement."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((t.id, node) for t in targets if isinstance(t, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((a.asname or a.name.partition(".")[0], node) for a in node.names)
        elif isinstance(node, (ast.If, ast.Try)):  # imports for types only
            yield from bound(node.body)


def members(node: ast.ClassDef) -> set[str]:
    """Methods, fields, and attributes that methods assign."""
    assigned = {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and ast.unparse(inner.value) == "self"
    }
    return assigned | {name for name, _ in bound(node.body)}


def is_defined(parts: list[str], path: Path) -> bool:
    """Tell whether ``parts``, e.g. a class and its method, name something in a module."""
    names = dict(bound(tree_of(path).body))
    if not parts:
        return True
    node = names.get(parts[0])
    if isinstance(node, ast.ClassDef) and len(parts) == 2:
        return parts[1] in members(node) or bool(node.bases)
    if isinstance(node, ast.ImportFrom) and node.module and len(parts) == 2:
        file = module_file(node.module)
        return file is None or is_defined(parts, file)
    return node is not None and len(parts) == 1


def resolves(name: str, path: Path) -> bool:
    """Tell whether a role's target exists, seen from the file that refers to it."""
    name = name.removeprefix("~").removesuffix("()")
    if name.startswith("."):
        name = ".".join([*path.relative_to(ROOT).parent.parts, name[1:]])
    parts = name.split(".")
    if path.suffix == ".py":
        if is_defined(parts, path):
            return True
        classes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
        if len(parts) == 1 and any(name in members(node) for node in classes):
            return True
    for cut in range(len(parts), 0, -1):
        file = module_file(".".join(parts[:cut]))
        if file:
            return is_defined(parts[cut:], file)
    return parts[0] not in PACKAGES and is_installed(name)


@functools.cache
def class_members() -> dict[str, frozenset[str]]:
    """Members of our classes by name, of all that share a name."""
    trees = [tree_of(p) for p in files() if p.suffix == ".py" and p.is_relative_to(ROOT / "care")]
    found: dict[str, frozenset[str]] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            found[node.name] = found.get(node.name, frozenset()) | members(node)
    return found


def is_installed(name: str) -> bool:
    """Tell whether a library has an object of that name."""
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute)
    except (ImportError, ValueError):
        return False


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
