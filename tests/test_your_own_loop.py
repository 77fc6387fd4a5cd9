"""The functions that a researcher takes from here: documented, and usable in a plain loop."""

from __future__ import annotations

import doctest
import inspect
import re
import statistics
from typing import Any

import pytest
import torch

import care.evaluation
import care.objectives
import care.system.torchvision
from tests.helpers.paths import ROOT

PUBLIC = [
    (package, name) for package in (care.objectives, care.evaluation) for name in package.__all__
]
FUNCTIONS = [(p, name) for p, name in PUBLIC if inspect.isfunction(getattr(p, name))]


def script() -> str:
    """The code block of the page."""
    page = (ROOT / "docs" / "your-own-loop.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    return str(block)


def test_the_pages_loop_makes_augmentations_act_more_like_rotations() -> None:
    """The best rotations fit better than without L_equi, and not because embeddings collapse."""
    text, measured = script(), []
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 30
    for weight in ("0.0", "3.0"):
        names: dict[str, Any] = {}
        with torch.random.fork_rng():
            exec(text.replace("weight = 8, 3.0", f"weight = 8, {weight}"), names)
        measured.append(statistics.mean(names["residuals"]))
        assert float(care.objectives.uniformity(names["embed"](names["test"]))) < 0.9
    without, with_care = measured
    assert with_care < 0.85 * without


@pytest.mark.parametrize(
    ("package", "name"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_function_has_shapes_and_an_example_that_runs(package: Any, name: str) -> None:
    function = getattr(package, name)
    text = inspect.getdoc(function) or ""
    assert re.search(r"\[[A-Zn.][\w,.]*\]", text), "no shapes"
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(function, name, globs={"torch": torch, name: function})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_a_public_name_is_the_object_and_not_its_module() -> None:
    for package, name in PUBLIC:
        assert callable(getattr(package, name)), name
