"""The paper's tables and figures: each has a sweep, with the paper's settings and numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.paper_figures import FIGURES
from care.config.metrics import epoch_metrics, final_measures
from sweeps.paper_experiments import PaperExperiment, list_experiments
from sweeps.plan import make_plan
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store
from tests.helpers.paths import ROOT
from tests.helpers.processes import care

PAPER = ROOT / "experiments" / "paper"
FILES = sorted(PAPER.glob("*.yaml"))
TABLES = {
    "CIFAR-10": "table1-cifar10",
    "CIFAR-100": "table1-cifar100",
    "STL-10": "table1-stl10",
    "ImageNet-100": "table1-imagenet100",
}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[PaperExperiment]:
    return list(list_experiments(PAPER, Store(tmp_path_factory.mktemp("none"))))


def test_every_table_and_figure_has_an_experiment(entries: list[PaperExperiment]) -> None:
    """docs/paper.md §7; Figs 1 and 2 are drawings."""
    figures: set[int] = set()
    for entry in entries:
        numbers = [int(number) for number in re.findall(r"\d+", entry.reproduces)]
        if entry.reproduces.startswith("Fig"):
            figures |= set(numbers)
            for first, last in re.findall(r"(\d+) to (\d+)", entry.reproduces):
                figures |= set(range(int(first), int(last) + 1))
    assert figures == set(range(3, 22))
    tables = {entry.reproduces for entry in entries if entry.reproduces.startswith("Table")}
    assert tables == {f"Table 1, {name}" for name in TABLES}
    assert {entry.profile for entry in entries} == {"paper", "small"}


def test_order_and_states(entries: list[PaperExperiment]) -> None:
    names = [entry.file.stem for entry in entries if entry.profile == "paper"]
    assert names.index("fig3-trajectories") < names.index("fig10-losses")
    assert {entry.status for entry in entries} == {"new"}
    costs = {(entry.file.stem, entry.profile): entry.flops for entry in entries}
    whole, small = (costs["fig10-losses", profile] for profile in ("paper", "small"))
    assert whole is not None
    assert small is not None
    assert whole > 1e4 * small


@pytest.mark.parametrize("profile", ["paper", "small"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_can_be_planned_measured_and_drawn(file: Path, profile: str, tmp_path: Path) -> None:
    sweep = load_sweep(file, profile=profile)
    assert make_plan(sweep, Store(tmp_path / "none")).wanted >= 6
    reproduces = sweep.spec.reproduces
    assert reproduces is not None
    assert reproduces.figure in FIGURES or reproduces.figure == "table"
    assert reproduces.metric in (*epoch_metrics(), *final_measures())
    assert len(sweep.spec.all_seeds) >= 3
    assert set(reproduces.values) <= set(sweep.spec.variants)


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.stem.startswith("fig")], ids=lambda file: file.stem
)
def test_a_figure_has_one_word_in_file_key_and_module(file: Path) -> None:
    figure, _, word = file.stem.rpartition("-")
    first = figure.partition("-")[0]  # fig11-16 is drawn by fig11_positives.py
    reproduces = load_sweep(file).spec.reproduces
    assert reproduces is not None
    assert reproduces.figure == word
    assert FIGURES[word].__module__ == f"analysis.{first}_{word}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_small_profile_of_images_is_real_cifar_10(file: Path) -> None:
    data = load_sweep(file, profile="small").base_config().data
    if data.source.kind == "images":
        assert (data.name, data.train_images, data.test_images) == ("cifar10", 5000, 2000)


def printed(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_table_1_has_the_papers_numbers() -> None:
    """docs/paper.md §6."""
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    lines = text.split("## §6 ")[1].split("## §7 ")[0].splitlines()
    head, _, *rows = [line for line in lines if line.startswith("|")]
    for column, data in enumerate(printed(head)[1:], start=1):
        given = load_sweep(PAPER / f"{TABLES[data]}.yaml").spec.reproduces
        assert given is not None
        expected: dict[str, tuple[float, float | None]] = {}
        for row in map(printed, rows):
            numbers = [float(number) for number in re.findall(r"\d*\.\d+", row[column])]
            if numbers:
                expected[row[0]] = (numbers[0], numbers[1] if len(numbers) > 1 else None)
        values = {name: (value.value, value.spread) for name, value in given.values.items()}
        assert values == expected, data


SETTINGS: dict[str, dict[str, Any]] = {
    "table1-cifar10": {
        "model.encoder": "resnet50",
        "training.epochs": 400,
        "training.batch_size": 256,
        "optimizer.name": "adam",
        "optimizer.learning_rate": 1e-3,
        "optimizer.weight_decay": 1e-6,
        "objective.temperature": 0.5,
        "objective.equivariance.splits": 16,
        "objective.equivariance.weight": 0.01,
        "objective.equivariance.augmentation": "per_chunk",
        "objective.equivariance.scale": "authors",
        "evaluation.trained_probe.optimizer.learning_rate": 1e-3,
        "evaluation.trained_probe.optimizer.weight_decay": 1e-6,
        "evaluation.trained_probe.batch_size": 512,
        "evaluation.trained_probe.epochs": 100,
        "evaluation.trained_probe.initializations": 3,
    },
    "table1-cifar100": {
        "objective.equivariance.splits": 4,
        "objective.equivariance.weight": 0.001,
        "training.epochs": 400,
    },
    "table1-stl10": {
        "data.side": 32,
        "optimizer.name": "sgd",
        "optimizer.learning_rate": 0.06,
        "optimizer.weight_decay": 5e-4,
        "optimizer.momentum": 0,
        "optimizer.schedule": "cosine",
        "optimizer.warmup_epochs": 10,
        "objective.equivariance.splits": 8,
        "objective.equivariance.weight": 0.01,
    },
    "table1-imagenet100": {
        "training.epochs": 200,
        "training.batch_size": 512,
        "optimizer.learning_rate": 0.8,
        "optimizer.weight_decay": 1e-4,
        "optimizer.momentum": 0.9,
        "objective.temperature": 0.2,
        "objective.equivariance.splits": 4,
        "objective.equivariance.weight": 0.07,  # "Effective λ", section 3
        "objective.equivariance.scale": "mean",
        "model.head.batch_norm": False,
        "model.head.hidden": 2048,
        "evaluation.trained_probe.optimizer.learning_rate": 30,
        "evaluation.trained_probe.batch_size": 128,
        "evaluation.trained_probe.epochs": 60,
        "evaluation.trained_probe.milestones": (30, 40, 50),
    },
}


def field_of(sweep: Sweep, name: str) -> Any:
    value: Any = sweep.base_config()
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_the_papers(name: str) -> None:
    """docs/paper.md §5."""
    sweep = load_sweep(PAPER / f"{name}.yaml")
    found = {field: field_of(sweep, field) for field in SETTINGS[name]}
    assert found == SETTINGS[name]


def test_the_list_fits_a_terminal_and_json_has_everything(tmp_path: Path) -> None:
    folder = ("--folder", PAPER, "--store", tmp_path / "none")
    lines = care("experiments", *folder, cwd=tmp_path).stdout.splitlines()
    assert "…" not in "".join(lines)
    assert any("Table 1, ImageNet-100" in line for line in lines)
    found = json.loads(care("experiments", *folder, "--json", cwd=tmp_path).stdout)
    assert len(found) == 2 * len(FILES)
    first = found[0]
    assert {"name", "reproduces", "profile", "command", "trials", "flops", "status"} <= set(first)
    assert first["command"] == f"care sweep run {PAPER / 'fig3-trajectories.yaml'}"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_experiments_is_refused(tmp_path: Path) -> None:
    done = care("experiments", "--folder", "nowhere", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "a folder of sweeps' YAML files" in done.stderr
