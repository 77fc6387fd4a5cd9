"""What makes a stored trial stale: another computation, never another sentence."""

from __future__ import annotations

import ast
import io
import json
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import care
from care.trials.code_version import (
    OUTSIDE,
    SCHEME,
    code_version,
    is_outside,
    syntax_hash,
    tree_hash,
)
from care.trials.version_cache import cached_version

PACKAGE = Path(care.__file__).parent
INSIDE = [
    name
    for path in sorted(PACKAGE.rglob("*.py"))
    if not is_outside(name := path.relative_to(PACKAGE).as_posix())
]


def tree_of(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_bytes())


def hash_of(tree: ast.AST) -> str:
    return syntax_hash(ast.unparse(ast.fix_missing_locations(tree)).encode())


class OtherWords(ast.NodeTransformer):
    """Rewrites each docstring, annotation and error."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return ast.Expr(ast.Constant("Other words."))
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if not any(isinstance(part, ast.Call) for part in ast.walk(node.annotation)):
            node.annotation = ast.Name("Any")
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = ast.Name("Any")
        for argument in node.args.args + node.args.kwonlyargs:
            argument.annotation = ast.Constant("another annotation")
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value += "!"
        return node


def without_comments(source: str) -> str:
    """Each comment becomes another one, at its line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    changed = (
        ("# another comment" if token.type == tokenize.COMMENT else token.string, token)
        for token in tokens
    )
    lines = source.splitlines(keepends=True)
    for text, token in reversed(list(changed)):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + text + line[token.end[1] :]
    return "".join(lines)


@pytest.mark.parametrize("name", INSIDE)
def test_other_words_change_nothing(name: str) -> None:
    source = (PACKAGE / name).read_text(encoding="utf-8")
    before = syntax_hash(source.encode())
    assert syntax_hash(without_comments(source).encode()) == before
    assert hash_of(tree_of(name)) == before, "another layout of the lines"
    assert hash_of(OtherWords().visit(tree_of(name))) == before


def constants(node: ast.AST, in_error: bool = False) -> Iterator[ast.Constant]:
    """Numbers in code that runs, without those in the text of an error."""
    in_error |= isinstance(node, ast.Raise)
    for field, value in ast.iter_fields(node):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.Constant) and isinstance(item.value, int | float):
                yield item
            elif field in ("annotation", "returns") or not isinstance(item, ast.AST):
                continue
            elif not (in_error and isinstance(item, ast.JoinedStr)):
                yield from constants(item, in_error)


@pytest.mark.parametrize("name", INSIDE)
def test_another_constant_is_another_version(name: str) -> None:
    tree = tree_of(name)
    before = tree_hash(tree)
    for constant in constants(tree):
        value = constant.value
        assert isinstance(value, int | float)
        constant.value = not value if isinstance(value, bool) else 2 * value + 1
        assert tree_hash(tree) != before, f"line {constant.lineno}"
        constant.value = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a + b", "a - b"),
        ("a + b", "b + a"),
        ("x = 1", "y = 1"),
        ("f(1)", "f(1.0)"),
        ("f(1)", "f(True)"),
        ("f('a')", "f('b')"),
        ("f(None)", "f()"),
        ("f(...)", "f(None)"),
        ("{None: 1}", "{**1}"),
        ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
        ("a = [1, [2]]", "a = [[1], 2]"),
        ("x = y = 1", "x = 1; y = 1"),
        ("def f(a, b=1): pass", "def f(a, *, b=1): pass"),
        ("if a: b()", "if a: b()\nelse: c()"),
        ("raise A('a')", "raise B('a')"),
        ("raise A(1)", "raise A(2)"),
        ("class A: x: int", "class A: y: int"),
        ("x: Annotated[int, Field(default=1)]", "x: Annotated[int, Field(default=2)]"),
        ("from a import b", "from c import b"),
        ("lambda: 1", "lambda: 2"),
        ("f'{a:.3f}'", "f'{a:.4f}'"),
    ],
)
def test_another_computation_is_another_hash(one: str, other: str) -> None:
    assert syntax_hash(one.encode()) != syntax_hash(other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x: int = 1", "x: float = 1"),
        ("def f(a): return a", "def f(a: int) -> int: return a"),
        ("f(1_000)", "f(1000)"),
        ("f('a')", 'f("a")'),
        ("from typing import Any", "from collections.abc import Mapping"),
        ("if TYPE_CHECKING:\n    import a", ""),
        ("raise A('a')", "raise A(f'{b} instead of c')"),
        ("def f():\n    'Doc.'\n    g()", "def f():\n    g()  # why"),
        ("a = 1\n'''What a is.'''", "a = 1"),
    ],
)
def test_words_types_and_layout_do_not_count(one: str, other: str) -> None:
    assert syntax_hash(one.encode()) == syntax_hash(other.encode())


def version_of(package: Path) -> str:
    """``code_version`` as a copy of the package gives it."""
    code = "from care.trials.code_version import code_version; print(code_version())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.usefixtures("cache")
def test_the_version_of_a_package(tmp_path: Path) -> None:
    package = tmp_path / "care"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert version_of(package) == code_version(), "the place of the package does not matter"
    assert code_version().startswith(f"{SCHEME}-")

    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "trainer.cpython-311.pyc").write_bytes(b"compiled")
    (package / "notes.md").write_text("no code")
    (package / "system" / "claim.py").open("a").write("A_NUMBER = 3\n")
    assert version_of(package) == code_version()

    (package / "objectives" / "more.py").write_text("# not named as outside\n")
    more = version_of(package)
    (package / "objectives" / "more.py").rename(package / "objectives" / "renamed.py")
    assert len({code_version(), more, version_of(package)}) == 3


def test_what_is_outside_exists_and_has_a_reason() -> None:
    for name, reason in OUTSIDE.items():
        assert (PACKAGE / name).exists(), name
        assert (PACKAGE / name).is_dir() == name.endswith("/")
        assert len(reason) > 8


def test_what_is_outside_computes_nothing() -> None:
    """Only a module that computes needs torch; of those outside, few have a reason to import it."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if is_outside(path.relative_to(PACKAGE).as_posix()) and "import torch" in path.read_text()
    }
    assert {user for user in users if not user.startswith("pretrained/")} == {
        "system/usage.py",
        "training/pace.py",
        "training/pack_size.py",
        "trials/checkpoint.py",
        "trials/failure.py",
        "trials/provenance.py",
    }


def never() -> str:
    raise AssertionError("computed a second time")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "care" / "code-versions.json"


def test_a_version_is_computed_once_for_all_processes(cache: Path) -> None:
    assert cached_version("one", lambda: "ast1-0123456789abcdef") == "ast1-0123456789abcdef"
    assert cached_version("one", never) == "ast1-0123456789abcdef"
    assert cached_version("other", lambda: "ast1-" + 16 * "0") == "ast1-" + 16 * "0"
    for key in map(str, range(60)):
        cached_version(key, lambda: "ast1-" + 16 * "1")
    assert len(json.loads(cache.read_text())) == 50


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"one": 3}', b'{"one": "x"}', b'{"one": "ast1-0123456789abcdef"'],
)
def test_a_damaged_cache_costs_only_time(cache: Path, content: bytes) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    assert cached_version("one", lambda: "ast1-" + 16 * "2") == "ast1-" + 16 * "2"
    assert cached_version("one", never) == "ast1-" + 16 * "2"


@pytest.mark.parametrize("home", ["", "relative", "/proc/nowhere", "file"])
def test_without_a_cache_the_version_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file") if home == "file" else home)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert cached_version("one", lambda: "ast1-" + 16 * "3") == "ast1-" + 16 * "3"


def test_the_cache_sees_every_change_of_the_code(cache: Path, tmp_path: Path) -> None:
    """In copies of the package, whose versions are those without a cache."""
    copy = tmp_path / "copy" / "care"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    first = version_of(copy)
    loss = copy / "objectives" / "infonce.py"
    loss.write_text(loss.read_text() + "\nX = 1\n")
    assert version_of(copy) != first == code_version()
    loss.write_text(loss.read_text().removesuffix("\nX = 1\n") + "\n# a comment\n")
    assert version_of(copy) == first
    assert len(json.loads(cache.read_text())) == 3
