"""The page's own script, in a real browser: it sorts and filters, and is small."""

from __future__ import annotations

import re
from pathlib import Path

from analysis import page as page_module
from care.trials.state import State
from tests.helpers.browsing import browsing
from tests.helpers.example_store import MadeStore

SCRIPT = Path(page_module.__file__).parent / "templates" / "report.js"
ACT = """
<script>
const table = document.querySelector("h2#trials ~ div table");
const heads = [...table.querySelectorAll("thead th")], names = heads.map((one) => one.textContent);
const press = (name) => heads[names.indexOf(name)].querySelector("button").click();
const column = (name) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
  .map((row) => row.cells[names.indexOf(name)].firstChild.textContent.trim());
const note = (key, values) => document.body.setAttribute("data-" + key, values.join(","));
press("γ_f, sphere"); note("up", column("γ_f, sphere"));
press("γ_f, sphere"); note("down", column("γ_f, sphere"));
press("method"); note("names", column("method"));
const input = document.querySelector("input.filter");
input.value = "CARE failed"; input.oninput(); note("filtered", column("seed"));
</script>
"""


def test_the_table_sorts_by_number_and_filters_by_words(tmp_path: Path) -> None:
    values = [3.0, -1.5, 10.0, 0.0001, 9.0, 2.0, 0.5, 20.0, 7.0]
    store = MadeStore(tmp_path)
    for seed, value in enumerate(values):
        store.add("SimCLR", seed, measures={"head/gamma": value})
    store.add("CARE", 5, state=State.FAILED, measures={"head/gamma": 1.0})
    store.add("CARE", 6, state=State.NEW, measures={})
    store.report(store.summary("table"))
    file = tmp_path / "report" / "report.html"
    file.write_text(file.read_text().replace("</body>", f"{ACT}</body>"))
    with browsing() as browser:
        text = browser.read(file.as_uri(), "data-filtered=")
    noted = dict(re.findall(r'data-(\w+)="([^"]*)"', text[text.index("<body") :][:2000]))
    numbers = [float(one) for one in noted["up"].split(",") if one != "–"]
    assert numbers == sorted(numbers)
    assert {*values} <= {*numbers}
    reverse = [float(one) for one in noted["down"].split(",") if one != "–"]
    assert reverse == numbers[::-1]
    assert noted["up"].split(",")[len(numbers) :] == noted["down"].split(",")[len(numbers) :]
    assert noted["names"].split(",") == ["CARE"] * 2 + ["SimCLR"] * 9
    assert noted["filtered"] == "5"


def test_the_script_is_small() -> None:
    assert len(SCRIPT.read_bytes()) <= 2048
