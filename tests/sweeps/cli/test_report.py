"""``care report``: the answer in the terminal is that of the page, of MLflow and of Python."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

import care
from analysis.overview import build_overview
from care.trials.state import State
from sweeps.cli.report import report_command
from sweeps.plan import make_plan
from sweeps.report import read_answer, sweep_summary, write_sweep_report
from sweeps.store import Store
from tests.helpers.declaring import load
from tests.helpers.reviewing import falling, start_sweep
from tests.helpers.small_store import declared


def test_the_answer_stands_above_the_path_and_is_the_same_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, sweep = start_sweep(tmp_path, [0, 0.01, 0.1], 3)
    report_command("tiny", None, store.root)
    *answer, path = capsys.readouterr().out.splitlines()
    page = store.root / "sweeps" / "tiny" / "report" / "report.html"
    assert path == f"report: {page}"
    assert answer[0].startswith(
        "γ_f, sphere: falls from λ=0.01 on, which is better; 0.510 at λ=0, "
    )
    assert any(
        line.startswith("Best by γ_f, sphere (smaller is better) is λ=0.1") for line in answer
    )
    assert answer == read_answer(page)
    text = html.unescape(page.read_text())
    assert answer[0].removeprefix("γ_f, sphere: ") in text
    for line in answer:
        assert line in repr(care.sweep("tiny", store=store.root))
    values = {
        trial.trial_id: {
            "head/gamma": falling(trial.config.objective.equivariance.weight, trial.config.seed)
        }
        for trial in make_plan(sweep, store).trials
    }
    overview = build_overview(
        sweep_summary(sweep, store).members, values, "head/gamma", "min", (), with_picture=False
    )
    assert overview
    assert overview.answer == answer[0]


def test_before_a_trial_is_finished_there_is_a_page_and_no_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "runs")
    sweep = declared(tmp_path, store)
    assert {trial.state for trial in make_plan(sweep, store).trials} == {State.NEW}
    report_command("tiny", None, store.root)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("report: ")


def test_a_report_of_an_earlier_version_has_no_answer(tmp_path: Path) -> None:
    store, _ = start_sweep(tmp_path, [0, 0.1], 2)
    page = write_sweep_report(load(tmp_path, seeds=2), store)
    (page.parent / "answer.txt").unlink()
    assert read_answer(page) == []
