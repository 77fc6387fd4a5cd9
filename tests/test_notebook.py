"""The notebook of docs/ runs from its first cell to its last, on trials that were trained.

Its cells are executed in order in one fresh process, and the last expression of each is shown as a
notebook shows it. There is no Jupyter here: nbclient would bring twenty packages for one test.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweeps.plan import trial_configs
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT
from tests.helpers.paths import ROOT
from tests.helpers.processes import CARE
from tests.helpers.small_store import declared, train

NOTEBOOK = ROOT / "docs" / "sweep.ipynb"

RUNNER = """
import ast, json, sys
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
names = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] != "code":
        continue
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell["id"], "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
        shown = {n: getattr(value, n)() for n in ("_repr_html_", "_repr_png_") if hasattr(value, n)}
        kinds = [name for name, content in shown.items() if content]
        print(json.dumps([cell["id"], kinds, repr(value)]))
"""


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A small sweep under the default sweep's name, trained."""
    folder = tmp_path_factory.mktemp("notebook")
    store = Store(folder / "runs")
    metric = {"name": "head/gamma", "mode": "min"}
    sweep = declared(folder, store, name="digits-lambda", axes={WEIGHT: [0, 0.1]}, metric=metric)
    for config in trial_configs(sweep, store).values():
        train(store, config)
    return store


def test_every_cell_runs_and_shows_something(store: Store, tmp_path: Path) -> None:
    environment = {**os.environ, "CARE_STORE": str(store.root)}
    done = subprocess.run(
        [CARE[0], "-W", "error::DeprecationWarning:care", "-c", RUNNER, str(NOTEBOOK)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(rows) == sum(cell["cell_type"] == "code" for cell in cells())
    assert sum(kinds == ["_repr_html_"] for _, kinds, _ in rows) == 4, "the sweep and tables"
    shown = [text for _, _, text in rows]
    assert shown[0].startswith("sweep digits-lambda over λ\n  4 trials: 4 finished")
    assert sum(kinds == ["_repr_png_"] for _, kinds, _ in rows) == 1
    assert "torch.Size([100, " in shown[-2]
    assert not list(tmp_path.iterdir()), "the notebook writes no file"


def test_the_notebook_is_committed_without_outputs() -> None:
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert code
    assert not [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"]]
    assert NOTEBOOK.stat().st_size < 10_000
