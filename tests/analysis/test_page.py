"""What the page says beside its pictures: remarks, tables of measures, the paper's numbers."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis import freshness
from analysis.freshness import fingerprint, is_current
from analysis.labels import metric_label, short_metric_label
from care.config.metrics import epoch_metrics, final_measures
from care.trials.state import State
from care.trials.trial_files import StoreFiles
from tests.helpers.example_store import MadeStore, image_details

METHODS = ("SimCLR", "CARE")


def notes(*texts: str) -> dict[str, NDArray[Any]]:
    return {"notes": np.array(texts, dtype=str)}


def cells(page: str, first: str) -> list[str]:
    """The text of the cells of the table row whose first cell is ``first``."""
    row = re.search(rf"<tr><td>{re.escape(first)}</td>(.*?)</tr>", page)
    assert row, first
    found = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    return [re.sub(r"<small>(.*?)</small>", r" \1", cell).strip() for cell in found]


def test_each_remark_stands_once_with_where_it_holds(tmp_path: Path) -> None:
    store = MadeStore(tmp_path)
    everywhere, once, method = "Fewer samples <n>", "The embeddings do not span", "Only a part"
    store.add("SimCLR", 0, details=notes(everywhere, method))
    store.add("SimCLR", 1, details=notes(everywhere, method))
    store.add("CARE", 0, details=notes(everywhere))
    store.add("CARE", 1, details=notes(everywhere, once, once))
    store.add("L_inv", 0, details=notes("of other code"), state=State.STALE)
    store.add("L_unif", 0)
    page = store.report(store.summary("table"))
    assert page.count(">Remarks on the measures</h2>") == 1
    assert page.count("Fewer samples") == page.count(once) == page.count(method) == 1
    assert cells(page, "Fewer samples &lt;n&gt;") == ["all points"]
    assert cells(page, method) == ["SimCLR"]
    assert cells(page, once) == ["CARE (seed 1)"]
    assert "of other code" not in page


def test_no_remarks_no_section(store: MadeStore) -> None:
    assert "Remarks" not in store.report(store.summary("table"))


def test_the_pages_pictures_are_the_files(store: MadeStore) -> None:
    page = store.report(store.summary("wahba"))
    files = {path.name for path in (store.root / "report" / "figures").iterdir()}
    names = {"curves", "measures", "differences", "paper-wahba", "paper-wahba-named"}
    assert files == {f"{name}.{ending}" for name in names for ending in ("png", "pdf", "svg")}
    assert set(re.findall(r'href="figures/([^"]+)"', page)) == files
    assert "<li>augmentation 20</li>" in page


def test_the_contents_name_every_section(store: MadeStore) -> None:
    page = store.report(store.summary("wahba"))
    headings = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page)
    assert len(headings) == page.count("<h2") > 5
    contents = page[page.index("<nav") : page.index("</nav>")]
    assert re.findall(r'<a href="#([^"]+)">(.*?)</a>', contents) == headings


def test_the_citation_names_paper_and_versions(store: MadeStore) -> None:
    page = store.report(store.summary("table"))
    citation = page[page.index('id="citation"') :]
    assert "arXiv:2306.13924" in citation
    assert "code version c0de" in citation


def test_news_in_the_details_make_a_report_old(store: MadeStore) -> None:
    summary, trials = store.summary("wahba"), store.root / "trials"
    store.report(summary)
    assert is_current(store.root / "report", fingerprint(StoreFiles(trials), summary))
    file = trials / store.members[0].trial_id / "details.npz"
    before = file.read_bytes()
    np.savez(file, **image_details(np.random.default_rng(5)))  # type: ignore[arg-type]
    assert not is_current(store.root / "report", fingerprint(StoreFiles(trials), summary))
    file.write_bytes(before)
    assert is_current(store.root / "report", fingerprint(StoreFiles(trials), summary))


def test_new_code_of_a_figure_makes_a_report_old(
    store: MadeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    shutil.copytree(Path(freshness.__file__).parent, code)
    monkeypatch.setattr("analysis.freshness.__file__", str(code / "freshness.py"))
    trials, summary = tmp_path / "trials", store.summary("wahba")
    seen = {fingerprint(StoreFiles(trials), summary)}
    for name in ("fig5_wahba.py", "page.py", "templates/report.html.j2"):
        with (code / name).open("a") as file:
            file.write("\n")
        seen.add(fingerprint(StoreFiles(trials), summary))
    assert len(seen) == 4


def test_other_libraries_make_a_report_old(
    store: MadeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, summary = store.root / "trials", store.summary("wahba")
    now = fingerprint(StoreFiles(trials), summary)
    assert fingerprint(StoreFiles(trials), replace(summary, computed_by=("optuna 1.0",))) != now
    monkeypatch.setattr("analysis.freshness.library_versions", lambda *_: ("numpy 1.0",))
    assert fingerprint(StoreFiles(trials), summary) != now


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY"])
def test_damaged_details_are_named_and_left_out_of_the_figures(
    store: MadeStore, content: bytes
) -> None:
    file = store.root / "trials" / store.members[2].trial_id / "details.npz"
    file.write_bytes(content)
    page = store.report(store.summary("wahba"))
    member = store.members[2]
    (row,) = [row for row in page.split("<tr>") if "details.npz" in row]
    assert "figures leave its arrays out. Delete the file, and the next run evaluates" in row
    assert f"{member.axes['variant']} (seed {member.seed})" in row
    assert sorted(path.name for path in store.root.iterdir()) == ["report", "trials"]


def test_details_hold_no_objects(store: MadeStore) -> None:
    """Reading one would run whatever its file says."""
    file = store.root / "trials" / store.members[0].trial_id / "details.npz"
    np.savez(file, notes=np.array([{}], dtype=object))
    page = store.report(store.summary("table"))
    assert "details.npz is damaged (Object arrays cannot be loaded" in page


@pytest.fixture
def measured(tmp_path: Path) -> MadeStore:
    store = MadeStore(tmp_path)
    for place, method in enumerate(METHODS):
        for seed in range(3):
            value = 0.9 + 0.01 * place + 0.001 * seed
            measures = {
                "head/gamma": 0.5,
                "head/composition": 0.25,
                "encoder/paper_probe_accuracy": value,
                "encoder/paper_probe_spread": 0.002,
                "encoder/transfer_cifar100": 0.4 + 0.1 * place,
                "head/color_following": 0.75,
            }
            store.add(method, seed, measures=measures)
    return store


def test_the_papers_number_beside_ours(measured: MadeStore) -> None:
    metric = "encoder/paper_probe_accuracy"
    summary = measured.summary(
        "table",
        metric,
        percent=True,
        values={"SimCLR": (90.98, 0.1)},
        differing=[("training.epochs", "400", "2")],
        missing="Nothing at all.",
    )
    page = measured.report(summary)
    assert "class, the paper&#39;s probe (↑), head&#39;s input:" in page
    # Seeds 0.001 apart: the t-interval over three is ± 4.303 · 0.1 / √3 = 0.25 in %.
    assert cells(page, "SimCLR")[:4] == ["90.98 ± 0.10", "90.10 ± 0.25, n = 3", "0.20", "–"]
    paper, here, spread, change = cells(page, "CARE")[:4]
    assert (paper, here, spread) == ("–", "91.10 ± 0.25, n = 3", "0.20")
    assert change.startswith("1.00 ± ")
    assert change.endswith("n = 3")
    assert "<code>training.epochs</code></td><td>400</td><td>2</td>" in page
    assert "Nothing at all." in page


def test_without_the_papers_number_the_page_says_so(measured: MadeStore) -> None:
    page = measured.report(measured.summary("table", "head/gamma"))
    assert "The paper shows a picture and prints no number." in page
    assert "over the probe's starts" not in page


def test_every_measure_is_in_a_table_and_in_the_csv(measured: MadeStore) -> None:
    page = measured.report(measured.summary("table", "head/gamma"))
    chief = page[page.index("Measures at each point") : page.index("further measures")]
    assert "γ_f ↓" in chief
    for head in ("color following", "composition"):  # what does not fit a page's width
        assert head not in chief
    assert cells(page, "class of cifar100, transfer accuracy (↑)") == [
        "input",
        "0.400 ± 0.000, n = 3",
        "0.500 ± 0.000, n = 3",
    ]
    table = pd.read_csv(measured.root / "report" / "tables" / "summary.csv")
    assert set(table["metric"]) == {
        "head/gamma",
        "head/composition",
        "head/color_following",
        "encoder/paper_probe_accuracy",
        "encoder/paper_probe_spread",
        "encoder/transfer_cifar100",
    }


HELD_OUT = [name for name in epoch_metrics() if name.startswith("heldout/")]


@pytest.mark.parametrize("metric", [*final_measures(), *HELD_OUT])
def test_every_measure_has_a_name_for_people(metric: str) -> None:
    assert metric_label(metric) != metric
    assert short_metric_label(metric) != metric


def test_what_the_sweep_is_about_is_in_the_chief_table(measured: MadeStore) -> None:
    page = measured.report(measured.summary("table", "head/color_following"))
    chief = page[page.index("Measures at each point") : page.index("further measures")]
    assert "color following ↑" in chief


def test_curves_of_other_code_do_not_mix_with_ours(store: MadeStore) -> None:
    def pictures() -> dict[str, bytes]:
        store.report(store.summary("training"))
        files = (store.root / "report" / "figures").glob("*.png")
        return {path.name: path.read_bytes() for path in files}

    before = pictures()
    assert "paper-training.png" in before
    store.add("CARE", 9, epochs={"heldout/gamma": [99.0]}, state=State.STALE)
    assert pictures() == before
