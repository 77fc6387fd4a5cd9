"""The table of trials: links, tracebacks, and what a browser can show of ten thousand rows."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.report import write_report
from analysis.trial_table import TrialTable, build_trial_table
from care.system.claim import Claim
from care.trials.folder import TrialFolder
from care.trials.records import ErrorRecord
from care.trials.state import State
from care.trials.trial_files import StoreFiles
from tests.helpers.example_store import MadeStore

TRACEBACK = 'Traceback (most recent call last):\n  File "a <b>.py", line 1\nValueError: NaN & more'


def table(rows: list[dict[str, Any]], tmp_path: Path) -> TrialTable:
    trials = pd.DataFrame(
        [
            {
                "trial_id": f"{number:08x}",
                "a": 0.1,
                "seed": number,
                "state": "finished",
                "epochs": 1,
                "seconds": 1.0,
                "images_per_second": float("nan"),
                "error": "",
                **row,
            }
            for number, row in enumerate(rows)
        ]
    )
    return build_trial_table(trials, ["a"], "head/gamma", tmp_path / "trials", tmp_path / "report")


def fail(folder: Path, traceback: str) -> None:
    """Fail a trial as its process does."""
    claim = Claim.take(folder)
    assert claim
    with claim:
        error = ErrorRecord(kind="diverged", message="NaN", traceback=traceback)
        TrialFolder(folder, claim).write_status(State.FAILED, 1, 2, error=error)


def test_each_trial_links_to_its_folder(store: MadeStore) -> None:
    page = store.report(store.summary("table"))
    links = re.findall(r'<a href="([^"]+/)"><code>(\w+)</code></a>', page)
    assert [trial for _, trial in links] == [member.trial_id for member in store.members]
    for link, trial in links:
        assert (store.root / "report" / link).resolve() == (store.root / "trials" / trial).resolve()


def test_the_traceback_of_a_failed_trial_is_folded_into_its_row(tmp_path: Path) -> None:
    store = MadeStore(tmp_path)
    store.add("SimCLR", 0)
    folder = store.add("CARE", 0, state=State.FAILED)
    fail(folder, TRACEBACK)
    page = store.report(store.summary("table"))
    (row,) = [row for row in page.split("<tr>") if folder.name in row]
    shown = re.search(r"<details><summary>traceback</summary><pre>(.*?)</pre>", row, re.DOTALL)
    assert shown
    assert "<b>" not in shown[1]
    assert html.unescape(shown[1]) == TRACEBACK
    assert "diverged: NaN" in row


def test_a_long_traceback_keeps_its_two_ends(tmp_path: Path) -> None:
    store = MadeStore(tmp_path)
    folder = store.add("CARE", 0, state=State.FAILED)
    fail(folder, TRACEBACK.replace("line 1", "line 1\n" + "middle\n" * 3000))
    page = store.report(store.summary("table"))
    assert "characters left out]" in page
    assert "ValueError: NaN &amp; more</pre>" in page
    assert page.count("middle") < 1200


def test_of_many_trials_the_failed_ones_stay_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [{"state": "failed" if number == 9000 else "finished"} for number in range(10_000)]
    made = table(rows, tmp_path)
    assert len(made.rows) + made.left_out == 10_000
    assert made.rows[0].state == "failed"
    assert [row.seed for row in made.rows[1:4]] == [0, 1, 2]
    assert len(made.rows) < 1000


def test_values_that_are_missing_are_dashes(tmp_path: Path) -> None:
    (row,) = table([{"head/gamma": float("nan"), "error": None}], tmp_path).rows
    assert (row.metric, row.rate, row.error) == ("–", "–", "")


def test_the_page_counts_the_trials_that_it_leaves_out(tmp_path: Path) -> None:
    store = MadeStore(tmp_path)
    store.add("SimCLR", 0)
    first = store.members[0]
    copies = [
        type(first)(f"{number:016x}", "g", number, first.axes, State.NEW) for number in range(999)
    ]
    store.members += copies
    write_report(StoreFiles(tmp_path / "trials"), store.summary("table"), tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    shown = page.count('/"><code>')
    assert f"{1000 - shown} of 1,000 trials are left out here" in page
    assert len(pd.read_csv(tmp_path / "report" / "tables" / "trials.csv")) == 1000
