"""Trials that share a process and its batches end with the numbers that each has alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from care.augmentation.augmenter import ImageAugmenter
from care.config import TrialConfig
from care.config.loading import validate
from care.data.shared_batches import SHARED, SharedBatches, batch_key, check_members
from care.errors import ConfigError
from care.training.pack import EpochResult, lockstep
from care.training.trial_run import TrialRun
from care.trials.failure import DivergedError
from care.trials.folder import TrialFolder
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.stepping import FEW, SMALL
from tests.helpers.stepping import config as of_objective

EPOCHS = 2


def tiny(**parts: Any) -> TrialConfig:
    training = {"epochs": EPOCHS, "batch_size": 256}
    return validate(TrialConfig, {**TINY, "training": training, **parts}, "test")


CONFIGS = {name: of_objective(name, data=FEW) for name in SMALL}


def alone(config: TrialConfig, folder: Path) -> None:
    run = TrialRun(config, TrialFolder(folder))
    while not run.finished:
        run.advance()


Runs = dict[TrialRun, str]


def opened(
    configs: dict[str, TrialConfig], folder: Path, shared: SharedBatches | None = None
) -> Runs:
    """Open trials that share batches; their names by run."""
    shared = shared or SharedBatches()
    return {
        TrialRun(config, TrialFolder(folder / name), shared=shared): name
        for name, config in configs.items()
    }


def train_epoch(runs: Runs, stop: Callable[[], bool] = lambda: False) -> dict[str, EpochResult]:
    """Train for one epoch and remove the trials that are over; results by name."""
    results: dict[str, EpochResult] = {}
    for step in lockstep(runs, stop):
        for run, result in step.ended.items():
            results[runs[run]] = result
            if run.finished or not isinstance(result, dict):
                del runs[run]
    return results


def together(configs: dict[str, TrialConfig], folder: Path) -> None:
    runs = opened(configs, folder)
    while runs:
        train_epoch(runs)


@pytest.fixture(scope="module")
def all_together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every objective there is, in one pack."""
    folder = tmp_path_factory.mktemp("together")
    together(CONFIGS, folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_every_objective_equals_its_solo_run(all_together: Path, tmp_path: Path, name: str) -> None:
    alone(CONFIGS[name], tmp_path)
    assert_equal_to_the_bit(all_together / name, tmp_path)


@pytest.fixture
def augmented(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each batch that is augmented."""
    batches: list[int] = []
    original = ImageAugmenter.apply

    def apply(self: ImageAugmenter, table: Any, images: torch.Tensor) -> torch.Tensor:
        batches.append(len(images))
        return original(self, table, images)

    monkeypatch.setattr(ImageAugmenter, "apply", apply)
    return batches


LAMBDAS = {f"λ={weight}": weight for weight in (0.01, 0.1, 1.0)}


def of_lambdas() -> dict[str, TrialConfig]:
    equivariance = {"splits": 16}
    return {
        name: tiny(objective={"equivariance": {**equivariance, "weight": weight}})
        for name, weight in LAMBDAS.items()
    }


def test_views_are_made_once(augmented: list[int], tmp_path: Path) -> None:
    runs = opened(of_lambdas(), tmp_path)
    steps = next(iter(runs)).trainer.steps_per_epoch
    augmented.clear()
    train_epoch(runs)
    assert augmented.count(256) == 4 * steps, "two views and two of chunks, whatever the members"


@pytest.fixture(scope="module")
def lambdas_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    for name, config in of_lambdas().items():
        alone(config, folder / name)
    return folder


def assert_all_as_alone(folder: Path, expected: Path, names: list[str]) -> None:
    for name in names:
        assert_equal_to_the_bit(folder / name, expected / name, name)


def stops_after(steps: int) -> Callable[[], bool]:
    answers: Iterator[bool] = iter([False] * steps)
    return lambda: next(answers, True)


@pytest.mark.parametrize("asked", [0, 1, 8, 20])
def test_paused_anywhere_and_packed_again(lambdas_alone: Path, tmp_path: Path, asked: int) -> None:
    """``stop`` is asked by each member before each step, so they pause up to a step apart."""
    configs = of_lambdas()
    runs, stop = opened(configs, tmp_path), stops_after(asked)
    members = list(runs)
    while runs:
        train_epoch(runs, stop)
    assert not any(member.finished for member in members)
    together(configs, tmp_path)
    assert_all_as_alone(tmp_path, lambdas_alone, list(configs))


def test_one_that_is_ahead_is_met(
    lambdas_alone: Path, tmp_path: Path, augmented: list[int]
) -> None:
    configs = of_lambdas()
    first, *others = configs
    TrialRun(configs[first], TrialFolder(tmp_path / first)).advance()
    runs = opened(configs, tmp_path)
    assert set(train_epoch(runs)) == set(others), "those behind go first"
    augmented.clear()
    assert set(train_epoch(runs)) == set(configs)
    assert_all_as_alone(tmp_path, lambdas_alone, list(configs))


def test_one_that_diverges_leaves_the_others(lambdas_alone: Path, tmp_path: Path) -> None:
    configs = of_lambdas()
    broken = tiny(optimizer={"name": "sgd", "learning_rate": 1e30})
    runs = opened({"broken": broken, **configs}, tmp_path)
    assert isinstance(train_epoch(runs)["broken"], DivergedError)
    while runs:
        train_epoch(runs)
    assert json.loads((tmp_path / "broken" / "status.json").read_text())["state"] == "failed"
    assert_all_as_alone(tmp_path, lambdas_alone, list(configs))


def test_one_that_is_dropped_leaves_the_others(lambdas_alone: Path, tmp_path: Path) -> None:
    configs = of_lambdas()
    runs = opened(configs, tmp_path)
    train_epoch(runs)
    first, dropped, last = configs
    del runs[list(runs)[1]]
    while runs:
        train_epoch(runs)
    assert len((tmp_path / dropped / "metrics.jsonl").read_text().splitlines()) == 1
    assert_all_as_alone(tmp_path, lambdas_alone, [first, last])


def test_one_that_joins_in_the_middle_of_an_epoch(lambdas_alone: Path, tmp_path: Path) -> None:
    configs, shared = of_lambdas(), SharedBatches()
    first, *others = configs
    runs = opened({first: configs[first]}, tmp_path, shared)
    steps = lockstep(runs)
    for _ in range(3):
        next(steps)
    runs |= opened({name: configs[name] for name in others}, tmp_path, shared)
    behind = [next(steps) for _ in range(3)]
    assert not any(step.together for step in behind), "the first one waits"
    assert {runs[run] for step in steps for run in step.ended} == set(configs)
    while runs:
        train_epoch(runs)
    assert_all_as_alone(tmp_path, lambdas_alone, list(configs))


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("seed", {"seed": 1}),
        ("augmentation", {"augmentation": {"grayscale": 0.3}}),
        ("training.batch_size", {"training": {"epochs": EPOCHS, "batch_size": 128}}),
        ("runtime.threads", {"runtime": {"threads": 2}}),
    ],
)
def test_what_cannot_share_a_stream_is_refused(field: str, parts: dict[str, Any]) -> None:
    assert field in SHARED
    other = tiny(**parts)
    with pytest.raises(ConfigError, match=f"{field}.*of the pack's first trial"):
        check_members([tiny(), other])
    assert batch_key(tiny()) != batch_key(other)
