"""Names of methods that HTML, matplotlib or its fonts would take for something else."""

from __future__ import annotations

import html
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import example_store as made_store
from tests.helpers.example_store import MadeStore, image_details

NAMES = (r"$\frac{$ of $", "_hidden", "<b>&amp;</b>", "[red]λ[/red]", "漢字")


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeStore:
    """Two seeds of methods with odd names."""
    methods = {
        name: {"name": "simclr", "temperature": 0.1 * (place + 1)}
        for place, name in enumerate(NAMES)
    }
    monkeypatch.setattr(made_store, "OBJECTIVES", methods)
    made, rng = MadeStore(tmp_path), np.random.default_rng(0)
    for name in NAMES:
        for seed in (0, 1):
            curves = {"heldout/gamma": rng.uniform(0, 1, 3).tolist()}
            measures = {"head/gamma": rng.uniform(), "encoder/probe_accuracy": rng.uniform()}
            made.add(name, seed, measures=measures, epochs=curves, details=image_details(rng))
    return made


@pytest.mark.parametrize("figure", ["wahba", "losses"])
def test_a_report_shows_names_as_they_are(named: MadeStore, figure: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = named.report(named.summary(figure))
    for name in NAMES:
        assert html.escape(name, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")
    assert "<b>&amp;" not in page
