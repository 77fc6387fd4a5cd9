"""References of a sweep: which stand beside its trials in the report, and which do not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from care.errors import Problem
from care.trials import reference
from care.trials.reference import list_references
from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.references import unmeasured
from sweeps.report import sweep_summary, write_sweep_report
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import fabricate, load
from tests.helpers.outside import keep_reference

NAME = "torchvision:resnet18:random@32"
LABEL = "torchvision resnet18, random weights, at 32 px"
MEASURED = {"encoder/probe_accuracy": 0.8642, "encoder/gamma": 0.25}


def trained(folder: Path, **changes: Any) -> tuple[Sweep, Store]:
    """A sweep whose four trials are finished."""
    sweep, store = load(folder, **changes), Store(folder / "runs")
    for trial in make_plan(sweep, store).trials:
        measures = {"encoder/probe_accuracy": 0.5 + trial.config.seed / 10}
        epochs = trial.config.training.epochs
        fabricate(
            store,
            trial.config,
            State.FINISHED,
            epochs,
            metrics={"train/loss": 1.0},
            measures=measures,
        )
    return sweep, store


def test_a_reference_is_a_row_of_the_report_and_no_trial(tmp_path: Path) -> None:
    sweep, store = trained(tmp_path)
    without = write_sweep_report(sweep, store)
    tables = {file.name: file.read_bytes() for file in (without.parent / "tables").glob("*.csv")}
    kept = keep_reference(store.root, sweep.base_config(), MEASURED)
    page = write_sweep_report(sweep, store, if_current=False)  # it is out of date now
    text = page.read_text(encoding="utf-8")
    assert f">{LABEL}</td>" in text
    assert "<td>0.864</td>" in text
    assert "4 of 4 trials finished" in text
    with (page.parent / "tables" / "references.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["reference_id"] == kept.record.reference_id
    assert row["encoder"] == LABEL
    assert float(row["encoder/probe_accuracy"]) == 0.8642
    for name, content in tables.items():
        assert (page.parent / "tables" / name).read_bytes() == content
    plan = make_plan(sweep, store)
    assert plan.counts() == {State.FINISHED: 4}
    assert kept.path.name not in {folder.trial_id for folder in store.all_trials()}


def test_a_reference_of_other_settings_or_a_damaged_one_has_no_number(tmp_path: Path) -> None:
    sweep, store = trained(tmp_path)
    fields = sweep.base_config().model_dump(mode="json")
    fields["evaluation"]["knn_neighbors"] += 1
    keep_reference(store.root, type(sweep.base_config()).model_validate(fields), MEASURED)
    assert sweep_summary(sweep, store).references == ()
    kept = keep_reference(store.root, sweep.base_config(), MEASURED)
    (kept.path / "evaluation.json").write_text("{}")
    (row,) = sweep_summary(sweep, store).references
    assert (row.measures, row.reason) == ({}, "evaluation.json was changed")


def test_other_data_or_other_code_are_named_and_never_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = trained(tmp_path)
    keep_reference(store.root, sweep.base_config(), MEASURED, data={"data": "f" * 32})
    (row,) = sweep_summary(sweep, store).references
    assert "measured on other data" in row.reason
    page = write_sweep_report(sweep, store).read_text(encoding="utf-8")
    assert "measured on other data" in page
    assert "0.864" not in page
    keep_reference(store.root, sweep.base_config(), MEASURED)
    assert sweep_summary(sweep, store).references[0].measures == MEASURED
    monkeypatch.setattr(reference, "evaluation_version", lambda: "ast1-other")
    (row,) = sweep_summary(sweep, store).references
    assert (row.measures, row.reason) == ({}, "measured with other code")


def test_what_a_sweep_names_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "moco.pth"
    weights.write_bytes(b"weights")
    file = f"torchvision:resnet18:{weights}"
    sweep, store = trained(tmp_path, references=[NAME, file])
    assert unmeasured(sweep, store) == [NAME, file]
    missing = sweep_summary(sweep, store).references
    assert [row.label for row in missing] == [NAME, file]
    assert f"care evaluate --encoder {NAME} tiny" in missing[0].reason
    keep_reference(store.root, sweep.base_config(), MEASURED, name=NAME)
    assert unmeasured(sweep, store) == [file]
    keep_reference(store.root, sweep.base_config(), MEASURED, name=file, sha256="cd" * 32)
    assert unmeasured(sweep, store) == [file]  # its content may have changed
    assert len(list(list_references(store.root))) == 2
    rows = sweep_summary(sweep, store).references
    assert [row.label.startswith(f"{LABEL} (") for row in rows] == [True, True]
    monkeypatch.setattr(reference, "evaluation_version", lambda: "ast1-other")
    assert unmeasured(sweep, store) == [file]  # stale: not silently measured again
    assert unmeasured(sweep, store, stale=True) == [NAME, file]


@pytest.mark.parametrize(
    ("changes", "field", "part"),
    [
        ({"references": ["torchvison:resnet50"]}, "references", "torchvision"),
        ({"references": [NAME, NAME]}, "references", "each once"),
        ({"references": [""]}, "references", "torchvision:NAME"),
        (
            {"references": [NAME], "axes": {"augmentation.color_jitter.hue": [0.1, 0.2]}},
            "axes.augmentation.color_jitter.hue",
            "an axis of the training",
        ),
        (
            {
                "references": [NAME],
                "axes": None,
                "variants": {"one": {"evaluation.knn_neighbors": 3}, "two": {}},
            },
            "axes.variant",
            "an axis of the training",
        ),
    ],
)
def test_bad_references_are_refused(
    changes: dict[str, Any],
    field: str,
    part: str,
    refused: Callable[..., Problem],
    tmp_path: Path,
) -> None:
    problem = refused(lambda: load(tmp_path, **{"axes": {}, **changes}))
    assert problem.field == field
    assert part in problem.allowed


def test_a_sweep_that_varies_its_data_has_none_beside_it(tmp_path: Path) -> None:
    sweep, store = trained(tmp_path, axes={"evaluation.knn_neighbors": [3, 4]})
    keep_reference(store.root, sweep.base_config(), MEASURED)
    assert sweep_summary(sweep, store).references == ()
