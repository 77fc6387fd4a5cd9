"""Who may import whom, and what must never be typed: the rules that keep the parts apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

HEAVY = {"torch", "torchvision", "ray", "mlflow", "optuna", "pandas", "matplotlib", "sklearn"}
PLATFORM = {"ray", "mlflow", "optuna", "submitit", "typer", "rich"}
# Who alone may import a library: its place in the architecture.
OWNERS = {
    "torchvision": ["care/system/torchvision.py"],
    "mlflow": ["sweeps/tracking/"],
    "ray": [
        "sweeps/backends/",
        "sweeps/tune/",
    ],
    "optuna": ["sweeps/tune/search.py"],
    "typer": ["sweeps/cli/"],
    "matplotlib": ["analysis/"],
    "pandas": ["analysis/"],
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level names of everything a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def offenders(folder: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {', '.join(bad)}"
        for path in sources(folder)
        if (bad := sorted(imports(path) & forbidden))
    ]


def test_the_method_knows_nothing_of_the_platform() -> None:
    assert not offenders("care", PLATFORM | {"sweeps", "analysis"})


def test_the_analysis_reads_files_and_runs_nothing() -> None:
    assert not offenders("analysis", PLATFORM | {"sweeps", "torch"})


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_a_library_has_one_home(library: str) -> None:
    users = [
        path.relative_to(ROOT).as_posix()
        for path in sources("care", "sweeps", "analysis")
        if library in imports(path)
    ]
    assert users, "nobody uses it any more"
    assert not [user for user in users if not user.startswith(tuple(OWNERS[library]))]


def test_nobody_elses_processes_are_ended() -> None:
    """A node is shared: only processes that we started are ended, by id."""
    files = [*sources("care", "sweeps", "analysis"), ROOT / "Makefile", ROOT / ".ci" / "run"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        for command in ("ray stop", "pkill", "killall"):
            assert command not in text, path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["sweep", "--help"],
        ["sweep", "plan", "--help"],
        ["sweep", "run", "--help"],
        ["evaluate", "--help"],
        ["report", "--help"],
        ["ui", "--help"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """That is what makes it quick."""
    code = f"""
import sys
from sweeps.cli.main import main
sys.argv = ["care", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert end.code == 0
print("loaded:", sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"
    assert "Usage" in done.stdout


def test_the_driver_does_not_load_torch() -> None:
    """It trains nothing, and the first trial would wait for it."""
    code = "import sys, sweeps.cli.sweep, sweeps.tune.experiment; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
