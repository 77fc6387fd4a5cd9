"""A sweep whose data are exchanged: its old numbers are marked, and trained again when asked."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image, ImageOps

from tests.helpers.declaring import SWEEP, declare
from tests.helpers.processes import care
from tests.helpers.trees import SMALL, write_tree

EXPERIMENT: dict[str, Any] = {
    **SMALL,
    "data": {"name": "images", "path": "tree", "side": 8},
    "training": {"epochs": 1, "batch_size": 4},
    "runtime": {"threads": 1, "compile": "never"},
}
MEASURES = ["encoder/gamma", "head/gamma"]


def plan(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        care("sweep", "plan", "sweep.yaml", "--json", cwd=folder).stdout
    )
    return found


def evaluations(folder: Path) -> dict[str, dict[str, float]]:
    files = (folder / "runs/trials").glob("*/evaluation.json")
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def reported(folder: Path) -> dict[str, list[float]]:
    """The measures of the finished trials in the report, by trial."""
    table = pd.read_csv(folder / "runs/sweeps/tiny/report/tables/trials.csv")
    done = table[table["state"] == "finished"]
    return {row["trial_id"]: [row[name] for name in MEASURES] for _, row in done.iterrows()}


def stale_tags(folder: Path) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()])
    return [run.data.tags["stale"] for run in runs if "stale" in run.data.tags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two trials on a small tree."""
    folder = tmp_path_factory.mktemp("sweep")
    write_tree(folder / "data", count=6)
    declare(folder, axes=SWEEP["axes"], seeds=1)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    care("sweep", "run", "sweep.yaml", cwd=folder)
    return folder


def test_a_sweep_with_exchanged_data_trains_again_when_asked(folder: Path) -> None:
    before = evaluations(folder)
    assert len(before) == 2
    assert sorted(reported(folder)) == sorted(before)
    for file in (folder / "data/tree").rglob("*.png"):
        ImageOps.invert(Image.open(file)).save(file)
    found = plan(folder)
    assert (found["stale"], found["finished"]) == (2, 0)
    (remark,) = found["remarks"]
    assert re.fullmatch(
        r"2 stale: trained on other data: images, fingerprint \w{8}… recorded, \w{8}… now", remark
    )
    done = care("sweep", "run", "sweep.yaml", cwd=folder, check=False)
    assert done.returncode == 1
    assert remark in done.stdout
    assert "--rerun-stale" in done.stdout
    assert evaluations(folder) == before, "nothing is trained unasked"
    assert reported(folder) == {}
    page = (folder / "runs/sweeps/tiny/report/report.html").read_text()
    assert "No trial is finished with code and data as they are now" in page
    assert "trained on other data: images, fingerprint" in page
    assert sorted(stale_tags(folder)) == ["yes", "yes"]

    care("sweep", "run", "sweep.yaml", "--rerun-stale", cwd=folder)
    after = evaluations(folder)
    assert sorted(after) == sorted(before)
    assert all(after[trial] != before[trial] for trial in before)
    assert plan(folder)["finished"] == 2
    for trial, measures in reported(folder).items():
        assert measures == pytest.approx([after[trial][name] for name in MEASURES])
    assert sorted(stale_tags(folder)) == ["no", "no"]
    assert "trials differ" not in page
    archived = [path.name[:16] for path in (folder / "runs/archive").iterdir()]
    assert sorted(archived) == sorted(before)


def test_a_sweep_of_data_that_are_elsewhere_is_planned_and_reported(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    for name in ("sweep.yaml", "experiment.yaml"):
        shutil.copy(folder / name, tmp_path / name)
    done = care("sweep", "plan", "sweep.yaml", cwd=tmp_path)
    assert "2 finished" in done.stdout
    assert "not compared with their data, which are not here: images in data" in done.stdout
    care("report", "tiny", cwd=tmp_path)
    assert len(reported(tmp_path)) == 2
    shutil.copytree(folder / "data/tree", tmp_path / "data/tree")
    assert plan(tmp_path)["finished"] == 2
