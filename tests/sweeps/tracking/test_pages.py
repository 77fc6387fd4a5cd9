"""MLflow's pages in a real browser: the format of a saved view is documented nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.store import Store
from sweeps.tracking.pages import list_pages
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.browsing import Browser, browsing
from tests.helpers.exporting import export_here
from tests.helpers.processes import start_care, wait_for
from tests.helpers.reviewing import start_sweep
from tests.helpers.serving import answers, free_port
from tests.helpers.tracked import copy_database, open_mlflow, run_ids


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> Iterator[tuple[str, Store, Any]]:
    """The address of ``care ui``, the store, and MLflow's client."""
    folder = tmp_path_factory.mktemp("served")
    copy_database(empty_database, folder / "runs")
    store, _ = start_sweep(folder, [0, 0.01, 0.1], 2, weights_files=True, tracking=None)
    with pytest.MonkeyPatch.context() as quick:
        export_here(quick)
        sync_store(store, None)
    port = free_port()
    page = start_care("ui", "--port", str(port), cwd=folder)
    wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"))
    yield f"http://127.0.0.1:{port}", store, open_mlflow(store.root)[0]
    page.terminate()
    page.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all pages."""
    with browsing() as started:
        yield started


def test_the_printed_pages_show_charts_without_a_click(
    served: tuple[str, Store, Any], browser: Browser
) -> None:
    address, store, client = served
    pages = list_pages(client, "1", store, store.prepare(), False, "tiny")
    by_axis = browser.read(
        f"{address}/{pages['tiny']}",
        "tiny by λ", "1 What λ does", "2 Trade-offs", "3 Training: mean and range over seeds",
        "Group: 0.01", "λ vs. head/gamma",
    )  # fmt: skip
    assert by_axis.index("1 What λ does") < by_axis.index("2 Trade-offs")
    browser.read(
        f"{address}/{pages['tiny, every trial']}",
        "tiny: every trial", "1 What λ does", "λ=0.01 seed=1",
    )  # fmt: skip
    browser.read(
        f"{address}/{pages['all sweeps']}",
        "1 log10 λ - 0 leftmost: mean and 95 % limits", "head/gamma mean",
    )  # fmt: skip


def test_the_run_of_a_sweep_reads_as_a_page(
    served: tuple[str, Store, Any], browser: Browser
) -> None:
    address, store, client = served
    run = run_ids(store.root)["tiny"]
    page = browser.read(
        f"{address}/#/experiments/1/runs/{run}?workflowType=machine_learning",
        "0.505 at λ=0, 0.405 at λ=0.1", "Charts by λ</a>", f"path=note.png&amp;run_uuid={run}",
    )  # fmt: skip
    assert "care --&gt;" not in page, "the marks are not shown"
    assert client.download_artifacts(run, "note.png", None)


def test_a_trial_has_its_data_set_and_a_view_without_an_envelope_is_no_view(
    served: tuple[str, Store, Any], browser: Browser
) -> None:
    address, store, client = served
    run = run_ids(store.root)["λ=0.1 seed=1"]
    browser.read(
        f"{address}/#/experiments/1/runs/{run}?workflowType=machine_learning",
        "charts</a>", "trials/",
    )  # fmt: skip
    best = client.get_run(run_ids(store.root)["λ=0.1 seed=0"]).data.tags["trial_id"]
    browser.read(
        f"{address}/#/experiments/1/models?workflowType=machine_learning",
        f"tiny-{best[:8]}", "λ=0.1 seed=0",
    )  # fmt: skip
    plain = browser.read(f"{address}/#/experiments/1/runs?workflowType=machine_learning", "tiny")
    assert "1 What λ does" not in plain
