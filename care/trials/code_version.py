"""Hash the code so that the version changes only if its computation can change."""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from care.trials.version_cache import cached_version

SCHEME = "ast1"
"""Prefix of a version; versions without a prefix are hashes of the files' bytes."""

OUTSIDE = {
    "__init__.py": "names for users",
    "system/allocator.py": "how memory is allocated",
    "system/arrays.py": "how arrays are stored",
    "config/bundled.py": "finds configurations, which are compared as a trial's identity",
    "system/cgroup.py": "limits of the machine",
    "system/checkout.py": "records beside the numbers",
    "trials/checkpoint.py": "how a state is stored; a resumed trial equals an uninterrupted one",
    "system/claim.py": "which process may write",
    "system/claim_files.py": "which process may write",
    "trials/code_version.py": "SCHEME stands for it",
    "trials/condition.py": "which files of a trial are damaged",
    "system/cores.py": "limits of the machine",
    "config/cost.py": "estimates",
    "data/download.py": "how data arrive; their fingerprints are compared",
    "trials/pinned.py": "the identity of a trial, which is compared separately",
    "plugins.py": "finds code by its name; that code is compared by itself",
    "trials/plugin_versions.py": "compares versions",
    "data/archive.py": "how data arrive; their fingerprints are compared",
    "data/fingerprints/": "fingerprints, which are compared separately",
    "errors.py": "messages for people",
    "config/fields.py": "reads configurations, which are compared as a trial's identity",
    "trials/failure.py": "how a failure is classified",
    "system/files.py": "how files are written",
    "system/git.py": "records beside the numbers",
    "trials/identity.py": "the identity of a trial, which is compared separately",
    "system/heartbeat.py": "which process may write",
    "system/holder.py": "which process may write",
    "system/libraries.py": "records beside the numbers",
    "system/permissions.py": "who may read and write",
    "system/process.py": "which processes run",
    "config/loading.py": "reads configurations, which are compared as a trial's identity",
    "trials/hardware.py": "records beside the numbers",
    "training/pace.py": "how long steps take",
    "training/pack_size.py": "how many trials share a process; each equals its solo run",
    "pretrained/": "uses trained networks; a trial's own evaluation does not",
    "trials/preprocessing.py": "records beside the numbers",
    "trials/provenance.py": "records beside the numbers",
    "trials/records.py": "how files are read",
    "trials/trial_files.py": "how files are read",
    "trials/version_cache.py": "finds a hash by the files' bytes",
    "system/redaction.py": "text for people",
    "trials/reference.py": "how measurements of other encoders are stored",
    "trials/staleness.py": "compares versions",
    "trials/state.py": "words for where a trial stands",
    "system/usage.py": "records beside the numbers",
    "system/version.py": "records beside the numbers",
    "trials/find.py": "finds a trial by its identity",
    "trials/folder.py": "how files are written",
    "trials/log.py": "lines for people",
    "trials/log_lines.py": "lines for people",
    "trials/process_log.py": "lines for people",
    "config/yaml_reader.py": "reads configurations, which are compared as a trial's identity",
}
"""Modules of care/ that cannot change a number, with the reason; all others are hashed."""

_TRAINING = ("training/", "objectives/", "evaluation/monitor")
"""Parts of care/ that train, and take no part in the final measures."""
_MEASURING = ("pretrained/measure.py", "pretrained/public_encoder.py", "trials/preprocessing.py")
"""Modules that measure an encoder that no trial trained."""
_FOR_TYPES = ("__future__", "typing", "collections.abc")


@functools.cache
def code_version() -> str:
    """Hash the syntax trees of all modules that can change a number.

    Docstrings, comments, type annotations, formatting and error messages do not count.

    Returns:
        :data:`SCHEME`, a hyphen and 16 hexadecimal digits, equal in all versions of Python.
    """
    return _hash_modules(lambda name: not is_outside(name))


@functools.cache
def evaluation_version() -> str:
    """Hash the modules that can change a measure of a given encoder, as :func:`code_version` does.

    The code of the training does not count.
    """
    return _hash_modules(
        lambda name: name in _MEASURING or not (is_outside(name) or name.startswith(_TRAINING))
    )


def _hash_modules(counts: Callable[[str], bool]) -> str:
    """Hash the modules of care/ whose path ``counts``."""
    package = Path(__file__).parents[1]
    # An editor marks an open file by a link to nothing beside it.
    paths = [path for path in sorted(package.rglob("*.py")) if path.exists()]
    names = {path.relative_to(package).as_posix(): path for path in paths}
    sources = {name: path.read_bytes() for name, path in names.items() if counts(name)}
    return cached_version(_content_hash(sources), lambda: _hash_sources(sources))


def _content_hash(sources: Mapping[str, bytes]) -> str:
    """Hash all that a version depends on, byte by byte, which parses nothing."""
    digest = hashlib.sha256(f"{SCHEME} {sys.version_info[:2]}".encode())
    for name, source in {"": Path(__file__).read_bytes(), **sources}.items():
        digest.update(f"\0{name}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()


def _hash_sources(sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, source in sources.items():
        digest.update(f"{name}\0{syntax_hash(source)}\n".encode())
    return f"{SCHEME}-{digest.hexdigest()[:16]}"


def is_outside(name: str) -> bool:
    """Check whether :data:`OUTSIDE` has a module, given by its path below care/, or its folder."""
    return any(name == part or (part[-1] == "/" and name.startswith(part)) for part in OUTSIDE)


def syntax_hash(source: bytes) -> str:
    """Hash the syntax tree of a module's source.

    Raises:
        SyntaxError: The source is not valid Python.
    """
    return tree_hash(ast.parse(source))


def tree_hash(tree: ast.AST) -> str:
    """Hash a syntax tree without the parts that :func:`code_version` leaves out."""
    digest = hashlib.sha256()
    for word in _words(tree):
        digest.update(f"{word}\0".encode())
    return digest.hexdigest()


def _words(node: ast.AST) -> Iterator[str]:
    """Serialize a tree as words, in the order of its fields; each node ends with a bracket."""
    if isinstance(node, ast.Raise):
        node = _NoText().visit(copy.deepcopy(node))
    yield type(node).__name__
    for field, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        counted = [item for item in values if not _is_left_out(node, field, item)]
        if counted:
            yield f".{field}"
        for item in counted:
            if isinstance(item, ast.AST):
                yield from _words(item)
            else:
                yield repr(item)
    yield ")"


class _NoText(ast.NodeTransformer):
    """Empties the strings of a raise statement, which cannot change a number."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, _: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")


def _is_left_out(node: ast.AST, field: str, item: object) -> bool:
    if field in ("annotation", "returns"):
        # A call in an annotation may hold a value: Field(default=…).
        return not isinstance(item, ast.AST) or not _has_call(item)
    if item is None:  # an empty field, which other versions of Python may not have
        return not isinstance(node, ast.Constant | ast.Dict | ast.arguments)
    return field in ("ctx", "type_comment", "kind", "simple") or _is_silent(item)


def _has_call(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def _is_silent(statement: object) -> bool:
    """Check whether a statement is a docstring or an import for types only."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.ImportFrom(module=module):
            return module in _FOR_TYPES
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False
