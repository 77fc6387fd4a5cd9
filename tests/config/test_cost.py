from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from care.config import TrialConfig
from care.config.cost import monitor_share, training_flops
from care.config.loading import validate
from care.models import Network
from care.plugins import load
from care.registry import ENCODERS
from tests.helpers.stepping import SMALL, Passes, config, terms_of, trainer


@pytest.mark.parametrize("name", ENCODERS)
def test_the_table_is_what_torch_counts(name: str) -> None:
    entry = ENCODERS[name]
    encoder, size = load(entry.factory)().eval(), entry.size
    points = entry.kind == "points"
    sample = torch.ones(1, size, 4) if points else torch.randn(1, 3, size, size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(sample)
    assert entry.flops == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_passes_without_gradient(name: str) -> None:
    made = trainer(name)
    counted = [
        Passes(module.encoder) for module in made.objective.modules() if isinstance(module, Network)
    ]
    terms_of(made)
    images = sum(sum(passed.batches) for passed in counted)
    assert images == 32 * config(name).objective.passes.forward


def test_care_costs_twice_simclr_and_resnet50_what_the_paper_says() -> None:
    """Forward and backward of 2.6 GFLOP: 7.79 GFLOP a trained image."""
    trial = validate(
        TrialConfig,
        {
            "training": {"epochs": 2, "batch_size": 256},
            "objective": {"equivariance": {"weight": 1}},
        },
        "",
    )
    simclr = validate(TrialConfig, {"training": {"epochs": 2, "batch_size": 256}}, "")
    images = 2 * (1437 // 256) * 256
    assert training_flops(trial, 1437, 32) == pytest.approx(images * 4 * 7.79e9, rel=0.01)
    assert training_flops(trial, 1437, 32) == 2 * training_flops(simclr, 1437, 32)
    assert training_flops(trial, 1437, 64) == 4 * training_flops(trial, 1437, 32)


@pytest.mark.parametrize(
    ("monitor", "images"),
    [
        ({}, 7 * 30),
        ({"measures": ["rank"]}, 100),
        ({"measures": ["knn_accuracy", "gamma"], "every": 2}, 7 * 30 + 200 + 100),
    ],
)
def test_the_share_of_the_monitor_is_that_of_its_passes(
    monitor: dict[str, Any], images: int
) -> None:
    parts = {"train_images": 200, "test_images": 100}
    evaluation = {"knn_neighbors": 5, "monitor_images": 30, "monitor": {**parts, **monitor}}
    made = trainer("care", evaluation=evaluation)
    passes = Passes(made.network.encoder)
    made.monitor(made.network)
    assert sum(passes.batches) == images
    trained = made.steps_per_epoch * made.config.training.batch_size * 4 * 3
    every = made.config.evaluation.monitor.every
    assert monitor_share(made.config) == pytest.approx(images / (trained * every))


def test_the_share_is_unknown_where_only_the_files_show_the_samples() -> None:
    tree = {"data": {"name": "images", "path": "photos"}, "evaluation": {"knn_neighbors": 5}}
    assert monitor_share(validate(TrialConfig, tree, "test")) is None
