"""The report: stands alone, states n everywhere, drops nothing, survives anything."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.freshness import fingerprint, is_current
from analysis.report import write_report
from analysis.summary import Member, SweepSummary
from care.system.files import DiskError
from care.trials.state import State
from care.trials.trial_files import StoreFiles

WEIGHT = "objective.equivariance.weight"
MEASURES = ("gamma", "wahba_per_sqrt_n", "hue_r2", "probe_accuracy", "knn_accuracy", "gamma_median")


def write_trial(folder: Path, value: float, *, error: str = "", measured: bool = True) -> None:
    folder.mkdir(parents=True)
    status = {"state": "finished", "epoch": 2, "epochs": 2, "updated": "2026-01-01T00:00:00+00:00"}
    failure = {"kind": "diverged", "message": error, "traceback": ""} if error else None
    (folder / "status.json").write_text(json.dumps({**status, "error": failure}))
    (folder / "provenance.json").write_text(
        json.dumps({"code_version": "c0de", "threads": 1, "versions": {"torch": "2.13.0"}})
    )
    lines = [
        {"epoch": e, "step": e, "train/infonce": 5 - value, "heldout/gamma": value / e}
        for e in (1, 2)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    times = [
        {"epoch": e, "seconds": 1.5, "images_per_second": 100.0, "finished_at": 1.0} for e in (1, 2)
    ]
    (folder / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in times))
    if measured:
        measures = {f"{s}/{m}": value for s in ("encoder", "head") for m in MEASURES}
        (folder / "evaluation.json").write_text(json.dumps(measures))


def member(point: dict[str, Any], seed: int, state: State = State.FINISHED) -> Member:
    name = "-".join([*map(str, point.values()), str(seed)])
    return Member(name, name[:-2], seed, point, state)


def summary(members: list[Member]) -> SweepSummary:
    return SweepSummary(
        name="a-sweep",
        description="What a <b>sweep</b> does.",
        members=members,
        metric="head/gamma",
        mode="min",
        spec_yaml="name: a-sweep\n",
        experiment_yaml="seed: 0\n",
        command="care sweep run a.yaml",
        code_version="c0de",
    )


def report(tmp_path: Path, members: list[Member]) -> str:
    page = write_report(StoreFiles(tmp_path / "trials"), summary(members), tmp_path / "report")
    assert page == tmp_path / "report" / "report.html"
    assert sorted(path.name for path in tmp_path.iterdir()) in (["report", "trials"], ["report"])
    return page.read_text()


def loaded_from_outside(page: str) -> list[str]:
    """The addresses that a browser would load to show the page; links are not loaded."""
    return re.findall(r'(?:src|srcset|xlink:href)="(?!data:)|<link|@import|url\((?!#)', page)


def panel_titles(page: str) -> Counter[str]:
    """The texts of the pictures, counted."""
    return Counter(re.findall(r"<text[^>]*>([^<]*)</text>", page))


@pytest.fixture
def lambda_sweep(tmp_path: Path) -> list[Member]:
    members = [member({WEIGHT: weight}, seed) for weight in (0.0, 0.1, 1.0) for seed in range(3)]
    for place, one in enumerate(members):
        write_trial(
            tmp_path / "trials" / one.trial_id, 1.0 - one.axes[WEIGHT] * 0.5 + place % 3 / 50
        )
    return members


def test_stands_alone_with_everything_in_it(tmp_path: Path, lambda_sweep: list[Member]) -> None:
    page = report(tmp_path, lambda_sweep)
    assert loaded_from_outside(page) == []
    assert panel_titles(page)["γ_f, relative rotational"] == 1
    assert panel_titles(page)["Δ γ_f (↓)"] == 1
    assert panel_titles(page)["InfoNCE, training (↓)"] == 1
    assert "9 of 9 trials finished" in page
    assert "<b>λ</b>, each seed compared with itself at λ=0:" in page
    assert "What a &lt;b&gt;sweep&lt;/b&gt; does." in page
    for text in ("care sweep run a.yaml", "name: a-sweep", "2.13.0", "c0de"):
        assert text in page


def test_answer_is_the_paired_difference(tmp_path: Path, lambda_sweep: list[Member]) -> None:
    """Seeds differ by 0.02, the change is -0.5 in each of them: the interval has no width."""
    page = report(tmp_path, lambda_sweep)
    assert re.search(r"<td>−0.500<small>± \S+, n = 3</small></td>", page)
    assert '<td class="better">falls, which is better</td>' in page
    assert "falls from λ=0.1 on, which is better; 1.020 at λ=0, 0.520 at λ=1 (−0.500 ± " in page
    table = pd.read_parquet(tmp_path / "report" / "tables" / "summary.parquet")
    row = table[(table[WEIGHT] == 1.0) & (table["metric"] == "head/gamma")].iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx(0.52), 3)
    assert row["difference"] == pytest.approx(-0.5)


def test_up_to_date_until_anything_changes(tmp_path: Path, lambda_sweep: list[Member]) -> None:
    trials, out = tmp_path / "trials", tmp_path / "report"

    def current(members: list[Member]) -> bool:
        return is_current(out, fingerprint(StoreFiles(trials), summary(members)))

    assert not current(lambda_sweep)
    report(tmp_path, lambda_sweep)
    assert current(lambda_sweep)
    assert not current(lambda_sweep[:-1])
    for name in ("evaluation.json", "metrics.jsonl", "status.json"):
        file = trials / lambda_sweep[0].trial_id / name
        before = file.read_bytes()
        file.write_bytes(before + b" ")
        assert not current(lambda_sweep), name
        file.write_bytes(before)
    file.unlink()
    assert not current(lambda_sweep)


def test_files_and_tables(tmp_path: Path, lambda_sweep: list[Member]) -> None:
    report(tmp_path, lambda_sweep)
    out = tmp_path / "report"
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    figures = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    assert {name.partition(".")[0] for name in figures} == {"curves", "differences", "measures"}
    assert len(figures) == 3 * len(starts)
    for name, content in figures.items():
        assert content.startswith(starts[name.partition(".")[2]]), name
    for name in ("trials", "curves", "summary", "differences"):
        csv = pd.read_csv(out / "tables" / f"{name}.csv")
        parquet = pd.read_parquet(out / "tables" / f"{name}.parquet")
        assert csv.shape == parquet.shape
        assert len(csv)


def test_a_table_too_long_for_a_spreadsheet_is_parquet_alone(
    tmp_path: Path, lambda_sweep: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.contents._MOST_CSV_ROWS", 40)
    page = report(tmp_path, lambda_sweep)
    tables = tmp_path / "report" / "tables"
    assert {path.stem for path in tables.glob("*.csv")} == {"trials", "curves", "summary"}
    assert len(pd.read_parquet(tables / "differences.parquet")) > 40
    linked = re.findall(r'href="(tables/[^"]*)"', page)
    assert "tables/differences.parquet" in linked
    assert all((tmp_path / "report" / name).exists() for name in linked)


def test_tables_hold_what_each_point_has_alone(tmp_path: Path, lambda_sweep: list[Member]) -> None:
    """Means and differences of all points at once are those of the trials' files one by one."""
    lambda_sweep = [one for one in lambda_sweep if one.trial_id != "0.1-1"]  # not finished yet
    report(tmp_path, lambda_sweep)
    values = {
        one.trial_id: 1.0 - one.axes[WEIGHT] * 0.5 + place / 50
        for weight in (0.0, 0.1, 1.0)
        for place, one in enumerate(member({WEIGHT: weight}, seed) for seed in range(3))
    }
    tables = tmp_path / "report" / "tables"
    summary_table = pd.read_csv(tables / "summary.csv")
    pairs = pd.read_csv(tables / "differences.csv")
    for weight in (0.0, 0.1, 1.0):
        seeds = [one.seed for one in lambda_sweep if one.axes[WEIGHT] == weight]
        own = [values[f"{weight}-{seed}"] for seed in seeds]
        changes = [values[f"{weight}-{seed}"] - values[f"0.0-{seed}"] for seed in seeds]
        row = summary_table.query(f"`{WEIGHT}` == {weight} and metric == 'head/gamma'").iloc[0]
        assert (row["n"], row["difference_n"]) == (len(own), len(changes))
        assert row["mean"] == pytest.approx(sum(own) / len(own))
        assert row["difference"] == pytest.approx(sum(changes) / len(changes))
        found = pairs.query(f"`{WEIGHT}` == {weight} and metric == 'head/gamma'")
        assert found["seed"].tolist() == seeds
        assert found["difference"].tolist() == pytest.approx(changes)


def test_the_same_store_gives_the_same_tables(tmp_path: Path, lambda_sweep: list[Member]) -> None:
    report(tmp_path, lambda_sweep)
    tables = tmp_path / "report" / "tables"
    before = {path.name: path.read_bytes() for path in tables.glob("*.csv")}
    report(tmp_path, lambda_sweep)
    assert {path.name: path.read_bytes() for path in tables.glob("*.csv")} == before


def test_what_is_not_finished_is_shown_and_left_out(
    tmp_path: Path, lambda_sweep: list[Member]
) -> None:
    stale = member({WEIGHT: 0.1}, 7, State.STALE)
    failed = member({WEIGHT: 1.0}, 8, State.FAILED)
    new = member({WEIGHT: 1.0}, 9, State.NEW)
    write_trial(tmp_path / "trials" / stale.trial_id, 99.0)
    write_trial(tmp_path / "trials" / failed.trial_id, 1.0, error="loss was NaN", measured=False)
    page = report(tmp_path, [*lambda_sweep, stale, failed, new])
    assert "9 of 12 trials finished" in page
    for text in ("1 stale", "1 failed", "1 new", "diverged: loss was NaN", stale.trial_id):
        assert text in page
    table = pd.read_parquet(tmp_path / "report" / "tables" / "summary.parquet")
    assert table["mean"].max() < 2
    assert set(table["n"]) == {3}


def test_nothing_finished(tmp_path: Path) -> None:
    page = report(
        tmp_path, [member({WEIGHT: 0.1}, 0, State.NEW), member({WEIGHT: 0.0}, 0, State.NEW)]
    )
    assert "0 of 2 trials finished" in page
    assert "nothing to compare" in page


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    members = [member({WEIGHT: weight}, 0) for weight in (0.0, 1.0)]
    for one in members:
        write_trial(tmp_path / "trials" / one.trial_id, 1.0 - one.axes[WEIGHT] / 2)
    page = report(tmp_path, members)
    assert "<td>−0.500<small>n = 1</small></td>" in page
    assert "one seed only: no interval" in page
    assert "one seed only, so no difference is clear; 1.000 at λ=0, 0.500 at λ=1" in page


@pytest.mark.parametrize(
    "points",
    [
        [{"model.encoder": name} for name in ("small", "resnet18")],
        [{"model.encoder": n, WEIGHT: w} for n in ("small", "resnet18") for w in (0.0, 0.1)],
        [{WEIGHT: w, "objective.temperature": t} for w in (0.0, 0.1) for t in (0.2, 0.5)],
        [{"objective.temperature": 0.5}],
        [{"objective.temperature": t} for t in (0.1, 0.2, 0.4)],
        [{"data.train_images": images} for images in (512, None, 100)],
        [{"augmentation.crop.scale": s, WEIGHT: 0.1} for s in ([0.2, 1.0], [0.5, 1.0])],
        [{"a.b": value} for value in (-100.0, -1.0, -0.0, 0.001, 7.0)],
        [{"variant": name} for name in ("_$x_$", "<b>&", r"\alpha {x}", "$", "x" * 200)],
        [{WEIGHT: 10.0**-n} for n in range(30)],
        [{"variant": f"method number {n}"} for n in range(30)],
    ],
    ids=[
        "categories",
        "category-and-number",
        "two-numbers",
        "one-point",
        "no-zero",
        "null",
        "lists",
        "negative",
        "hostile-names",
        "thirty-numbers",
        "thirty-names",
    ],
)
@pytest.mark.filterwarnings("error")
def test_any_axes(tmp_path: Path, points: list[dict[str, Any]]) -> None:
    seeds = 2 if len(points) < 30 else 1
    members = [
        Member(f"{place}-{seed}", f"{place}", seed, point, State.FINISHED)
        for place, point in enumerate(points)
        for seed in range(seeds)
    ]
    for place, one in enumerate(members):
        write_trial(tmp_path / "trials" / one.trial_id, 0.1 * place)
    page = report(tmp_path, members)
    assert panel_titles(page)["Δ γ_f (↓)"] == 1
    assert loaded_from_outside(page) == []
    assert f"{len(members)} of {len(members)} trials finished" in page
    assert not re.search(r"\bnan\b|None", page)
    table = pd.read_csv(tmp_path / "report" / "tables" / "summary.csv", keep_default_na=False)
    assert set(table["n"]) == {seeds}
    assert len(table) == len(points) * len(MEASURES) * 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("state", [State.FAILED, State.STALE, State.NEW])
def test_a_sweep_with_nothing_that_counts_has_a_page(tmp_path: Path, state: State) -> None:
    members = [member({WEIGHT: weight}, seed, state) for weight in (0.0, 1.0) for seed in (0, 1)]
    for one in members[: 0 if state == State.NEW else None]:
        write_trial(tmp_path / "trials" / one.trial_id, 1.0, measured=state == State.STALE)
    page = report(tmp_path, members)
    assert "nothing to compare" in page
    assert "The answer" not in page
    assert not re.search(r"\bnan\b", page)


@pytest.mark.filterwarnings("error")
def test_what_is_missing_is_named_and_means_of_other_seeds_are_not_compared(tmp_path: Path) -> None:
    there = {0.0: (0, 1, 2), 0.1: (0, 1, 2), 1.0: (0,)}
    members = [
        member({WEIGHT: weight}, seed, State.FINISHED if seed in seeds else State.FAILED)
        for weight, seeds in there.items()
        for seed in range(3)
    ]
    for one in members:
        if one.state == "finished":
            write_trial(tmp_path / "trials" / one.trial_id, 1 - one.axes[WEIGHT] + one.seed / 50)
    page = report(tmp_path, members)
    assert "Best by γ_f, sphere (smaller is better) is λ=0.1: 0.920" in page
    assert "of 2 points with 3 common seeds. The other point is clearly worse." in page
    assert "Not compared, as n differs: λ=1." in page
    assert "one seed only: no interval" in page
    assert "falls from λ=0 to λ=0.1, 1.020 → 0.920 (−0.100 ± " in page
    assert "n = 3), which is better; one seed only at λ=1." in page


def test_nearly_collapsed_points_are_marked_and_never_the_best(
    tmp_path: Path, lambda_sweep: list[Member]
) -> None:
    for one in lambda_sweep:
        log = tmp_path / "trials" / one.trial_id / "metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        lines[0]["heldout/uniformity"] = 0.99  # as before training
        lines[1]["heldout/uniformity"] = 0.965 if one.axes[WEIGHT] == 1.0 else 0.7
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = report(tmp_path, lambda_sweep)
    assert "Best by γ_f, sphere (smaller is better) is λ=0.1" in page
    assert (
        "Left out as nearly collapsed (uniformity of 0.9 or more after the last epoch): λ=1."
        in page
    )
    assert "falls from λ=0 to λ=0.1, " in page
    chief = page[page.index("Measures at each point") : page.index("further measures")]
    assert re.findall(r"<td>(⚠\xa0[\d.]+)</td>", chief) == ["⚠\xa01"]
    assert page.count('<td class="n">⚠ ') == 3
    table = pd.read_csv(tmp_path / "report" / "tables" / "summary.csv")
    assert table.groupby(WEIGHT)["collapsed"].max().to_dict() == {0.0: 0, 0.1: 0, 1.0: 3}


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    members = [member({WEIGHT: 0.1}, seed) for seed in range(3)]
    for one, value in zip(members, (1.0, float("nan"), float("inf")), strict=True):
        write_trial(tmp_path / "trials" / one.trial_id, value)
    report(tmp_path, members)
    table = pd.read_parquet(tmp_path / "report" / "tables" / "summary.parquet")
    assert set(table["n"]) == {1}


def test_a_failure_leaves_the_old_report(
    tmp_path: Path, lambda_sweep: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report(tmp_path, lambda_sweep)

    def no_space(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.report._write", no_space)
    with pytest.raises(DiskError, match=r"cannot write \(No space left on device"):
        write_report(StoreFiles(tmp_path / "trials"), summary(lambda_sweep), tmp_path / "report")
    assert (tmp_path / "report" / "report.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "trials"]


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, lambda_sweep: list[Member]
) -> None:
    """A file where the folder belongs refuses to make files and to remove them, as a disk does."""
    (tmp_path / "a-sweep").write_text("")
    with pytest.raises(DiskError, match=r"report: cannot write"):
        write_report(
            StoreFiles(tmp_path / "trials"), summary(lambda_sweep), tmp_path / "a-sweep" / "report"
        )
