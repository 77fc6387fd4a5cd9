"""docs/extending.md, run as it stands: one of each from outside, through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import CARE

BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", re.DOTALL)


def write_files_of_the_page(folder: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    assert len(blocks) == 7
    for name, content in blocks:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")


def care(folder: Path, *arguments: str, plugins: str = "lab") -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [*CARE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "CARE_PLUGINS": plugins},
        capture_output=True,
        text=True,
        timeout=250,
    )


def output(folder: Path, *arguments: str) -> str:
    done = care(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def provenance(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "runs" / "trials").glob("*/provenance.json"))
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's package, its trial trained by two processes, and its sweep run."""
    folder = tmp_path_factory.mktemp("extension")
    write_files_of_the_page(folder)
    trained = output(folder, "train", "stripes.yaml", "runtime.processes=2", "runtime.threads=2")
    assert "encoder/sparsity" in trained
    assert "1 finished, 1 new" in output(folder, "sweep", "plan", "variance.yaml")
    output(folder, "sweep", "run", "variance.yaml")
    return folder


def test_the_report_shows_the_measure(folder: Path) -> None:
    report = folder / "runs" / "sweeps" / "variance" / "report"
    assert "sparsity" in (report / "report.html").read_text(encoding="utf-8")
    trials = pd.read_csv(report / "tables" / "trials.csv")
    assert trials["encoder/sparsity"].between(0, 1).all()
    assert trials["heldout/sparsity"].between(0, 1).all()
    assert trials["train/invariance"].notna().all()
    assert len(trials) == 2


def test_a_trial_records_each_entry_that_it_uses(folder: Path) -> None:
    recorded = provenance(folder)
    entries = [
        "data set stripes",
        "encoder patches",
        "measure sparsity",
        "monitored measure sparsity",
        "objective vireg",
    ]
    assert [sorted(one["plugins"]) for one in recorded] == [entries] * 2
    assert recorded[0]["plugins"] == recorded[1]["plugins"], "in whatever process it ran"


def test_a_misspelt_name_gets_the_nearest_one(folder: Path) -> None:
    done = care(folder, "train", "stripes.yaml", "objective.name=viregg")
    assert done.returncode == 2
    assert "did you mean 'vireg'?" in done.stderr
    done = care(folder, "train", "stripes.yaml", "objective.varianze=1")
    assert "did you mean 'variance'?" in done.stderr


def test_without_the_plugin_its_names_are_unknown(folder: Path) -> None:
    done = care(folder, "train", "stripes.yaml", plugins="")
    assert done.returncode == 2
    assert "data.name" in done.stderr
    done = care(folder, "train", "stripes.yaml", plugins="labb")
    assert done.returncode == 2
    assert "CARE_PLUGINS" in done.stderr
    assert "labb" in done.stderr


def test_an_edited_plugin_makes_its_trials_stale(folder: Path) -> None:
    module = folder / "lab" / "vireg.py"
    source = module.read_text(encoding="utf-8")
    try:
        module.write_text(f"# a comment\n{source}", encoding="utf-8")
        assert "2 finished" in output(folder, "sweep", "plan", "variance.yaml")
        module.write_text(source.replace("1e-4", "1e-3"), encoding="utf-8")
        plan = output(folder, "sweep", "plan", "variance.yaml")
        assert "2 stale" in plan
        assert "objective vireg" in " ".join(plan.split())
    finally:
        module.write_text(source, encoding="utf-8")
