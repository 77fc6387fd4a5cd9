"""One step of an objective on real digits, with every forward pass of the encoder counted."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from care.config import DataConfig, TrialConfig
from care.config.loading import validate
from care.data.dataset import Dataset, load_dataset
from care.data.shared_batches import Batch
from care.objectives.inputs import Inputs, make_inputs
from care.training.trainer import Trainer
from tests.conftest import TINY

BATCH = 32
SIDE = 16
QUEUE = 96  # three batches: a pause after two finds the place of the oldest key in the middle
CPU = torch.device("cpu")
FEW = {"train_images": 10 * BATCH, "test_images": 100}
"""Data of ten steps an epoch: more would only cost seconds."""
# Narrow predictors: the widths of the papers cost seconds and show nothing here.
SMALL: dict[str, dict[str, Any]] = {
    "simclr": {"name": "simclr"},
    "simclr-4": {"name": "simclr", "views": 4},
    "care": {"name": "simclr", "equivariance": {"weight": 0.1}},
    "care-shared": {"name": "simclr", "equivariance": {"weight": 0.1, "shared_views": True}},
    "care-encoder": {"name": "simclr", "equivariance": {"weight": 0.1, "space": "encoder"}},
    "moco": {"name": "moco_v2", "queue": QUEUE},
    "moco-shuffled": {"name": "moco_v2", "queue": QUEUE, "shuffle_groups": 4},
    "care-moco": {"name": "moco_v2", "queue": QUEUE, "equivariance": {"weight": 0.1}},
    "barlow": {"name": "barlow_twins"},
    "care-barlow": {"name": "barlow_twins", "equivariance": {"weight": 0.1}},
    "byol": {"name": "byol", "hidden": 16},
    "care-byol": {"name": "byol", "hidden": 16, "equivariance": {"weight": 0.1}},
    "vicreg": {"name": "vicreg"},
    "care-vicreg": {"name": "vicreg", "equivariance": {"weight": 0.1}},
    "augself": {"name": "augself", "flip": 1.0, "blur": 1.0, "hidden": 16},
    "essl": {"name": "essl", "hidden": 16},
    "sie": {"name": "sie"},
    "sen": {"name": "sen"},
    "sen-energy": {"name": "sen", "form": "energy"},
    "stl": {"name": "stl", "hidden": 16, "output": 8, "width": 8},
    "equimod-simclr": {"name": "simclr", "equimod": {"weight": 1.0, "hidden": 16, "output": 8}},
    "equimod-byol": {
        "name": "byol",
        "hidden": 16,
        "equimod": {"weight": 1.0, "hidden": 16, "output": 8},
    },
    "alignment": {"name": "alignment"},
    "alignment-authors": {"name": "alignment", "form": "authors"},
    "uniformity": {"name": "uniformity"},
    "uniformity-authors": {"name": "uniformity", "form": "authors"},
    "equivariance": {"name": "none", "equivariance": {"weight": 1.0}},
    "equivariance-uniformity": {"name": "uniformity", "equivariance": {"weight": 1.0}},
}


def config(name: str, **parts: Any) -> TrialConfig:
    """A tiny trial of one of the objectives above."""
    objective = {**SMALL[name]}
    if "equivariance" in objective:
        objective["equivariance"] = {"splits": 4, **objective["equivariance"]}
    training = {"epochs": 2, "batch_size": BATCH}
    return validate(
        TrialConfig, {**TINY, "objective": objective, "training": training, **parts}, ""
    )


@functools.cache
def _dataset() -> Dataset:
    return load_dataset(DataConfig.model_validate(FEW), Path())


def trainer(name: str, **parts: Any) -> Trainer:
    """Its trainer."""
    return Trainer(config(name, **{"data": FEW, **parts}), _dataset(), CPU)


def inputs_of(made: Trainer, step: int = 0) -> Inputs:
    """Make the inputs of a step of the first epoch, on the first images."""
    batch = Batch(made.dataset.train.images[:BATCH], made.config.seed, 0, step)
    return make_inputs(made.objective.input_specs(), batch, made._augmenter)


def terms_of(made: Trainer, step: int = 0) -> dict[str, Tensor]:
    """Compute the terms of that step."""
    terms: dict[str, Tensor] = made.objective(made.network, inputs_of(made, step))
    return terms


class Passes:
    """Counts the images that go forward through a module.

    Attributes:
        batches: Sizes of the batches, in order; n smaller images count as those of SIDE that have
            as many pixels.
    """

    def __init__(self, module: nn.Module) -> None:
        self.batches: list[int] = []
        module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        images = inputs[0]
        self.batches.append(images.numel() // (3 * SIDE**2) if images.dim() == 4 else len(images))


__all__ = ["BATCH", "FEW", "QUEUE", "SMALL", "Passes", "config", "inputs_of", "terms_of", "trainer"]
