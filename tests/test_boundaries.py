"""Who may import whom, and what must never be typed: the rules that keep the parts apart."""

from __future__ import annotations

import ast
import re
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
    "optuna": [
        "sweeps/tune/importance.py",
        "sweeps/tune/samplers.py",
        "sweeps/tune/search.py",
        "sweeps/tune/study_file.py",
        "sweeps/tune/study_space.py",
    ],
    "typer": ["sweeps/cli/"],
    "matplotlib": ["analysis/"],
    "pandas": ["analysis/"],
}

# Each part may import those below it, whether at the top of a file or within a function.
ORDER = {
    "care": [
        "training",
        "pretrained",
        "evaluation",
        "trials",
        "objectives",
        "data",
        "models",
        "optimizer",
        "lr_schedule",
        "augmentation",
        "system",
        "config",
        "distributed",
        "registry",
        "data_sets",
        "entries",
        "plugins",
        "errors",
    ],
    "sweeps": [
        "cli",
        "disk",
        "doctor",
        "backends",
        "run",
        "live",
        "results",
        "sides",
        "report",
        "tune",
        "notify",
        "tracking",
        "progress",
        "paper_experiments",
        "references",
        "inventory",
        "sweep_view",
        "account",
        "price",
        "past_trials",
        "warm_start",
        "plan_remarks",
        "plan",
        "holds",
        "point_seeds",
        "resources",
        "event_log",
        "question",
        "store",
        "states",
        "store_access",
        "store_identity",
        "deletions",
        "sweep_command",
        "study",
        "spec",
        "revisions",
        "process",
    ],
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


def modules() -> dict[str, Path]:
    """Our modules by name; a package is its ``__init__``."""
    return {
        path.relative_to(ROOT)
        .with_suffix("")
        .as_posix()
        .replace("/", ".")
        .removesuffix(".__init__"): path
        for path in sources(*ORDER, "analysis")
    }


def typing_only(tree: ast.AST) -> set[ast.AST]:
    """Nodes that only a type checker reads."""
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {node for block in blocks for node in ast.walk(block)}


def own_imports() -> dict[str, set[str]]:
    """For each module those of ours that it imports, anywhere in it."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wanted: set[str] = set()
        for node in set(ast.walk(tree)) - typing_only(tree):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= below & known.keys() or {node.module}
        graph[name] = (wanted & known.keys()) - {name}
    return graph


@pytest.mark.parametrize("package", ORDER)
def test_the_documented_layout_is_that_list(package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split(f"| `{package}/` | contents |")[1].split("\n\n")[0]
    names = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert re.findall(r"`(\w+)", "".join(names)) == ORDER[package]


def test_imports_run_down_one_list() -> None:
    upwards = []
    for name, wanted in own_imports().items():
        top, _, rest = name.partition(".")
        for other in wanted:
            other_top, _, other_rest = other.partition(".")
            if top in ORDER and other_top == top and rest and other_rest:
                order = ORDER[top]
                if order.index(rest.split(".")[0]) > order.index(other_rest.split(".")[0]):
                    upwards.append(f"{name} imports {other}")
    assert not upwards


def test_every_part_has_its_place_in_the_list() -> None:
    for top, order in ORDER.items():
        parts = {name.split(".")[1] for name in modules() if name.startswith(f"{top}.")}
        assert parts == set(order)


def test_no_ring_of_imports() -> None:
    """Imports within functions count: they hide a ring, they do not open it."""
    left = own_imports()
    while free := {name for name, wanted in left.items() if not wanted & left.keys()}:
        left = {name: wanted for name, wanted in left.items() if name not in free}
    assert not left, "these import each other, or what does"


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
    assert users, "no module uses it any more"
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
