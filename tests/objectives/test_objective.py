"""Objectives as compositions: which views they look at, what they sum, what they keep."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch.nn import functional as fn

from care.config.objective import settings_of
from care.errors import ConfigError
from care.objectives.equivariance import equivariance_loss
from care.objectives.infonce import infonce
from care.objectives.objective import Objective
from care.registry import OBJECTIVES
from care.training.trainer import Trainer
from care.trials import checkpoint
from tests.helpers.stepping import BATCH, SMALL, Passes, inputs_of, terms_of, trainer

FORWARDS = {
    "simclr": 2,
    "simclr-4": 4,
    "care": 4,
    "care-shared": 2,
    "care-encoder": 4,
    "moco": 1,
    "moco-shuffled": 1,
    "care-moco": 3,
    "barlow": 2,
    "care-barlow": 4,
    "byol": 2,
    "care-byol": 4,
    "vicreg": 2,
    "care-vicreg": 4,
    "augself": 2,
    "essl": 3,
    "sie": 2,
    "sen": 2,
    "sen-energy": 2,
    "stl": 2,
    "equimod-simclr": 3,
    "equimod-byol": 3,
    "alignment": 2,
    "alignment-authors": 2,
    "uniformity": 2,
    "uniformity-authors": 2,
    "equivariance": 2,
    "equivariance-uniformity": 4,
}
UNUSED = {"sen": {"hinge"}}
"""Terms that only other settings of an objective have."""


def test_every_objective_is_tested_and_configurable() -> None:
    assert {settings["name"] for settings in SMALL.values()} == set(OBJECTIVES)
    assert all(settings_of(name).model_validate({}).name == name for name in OBJECTIVES)


@pytest.mark.parametrize("name", SMALL)
def test_an_objective_reports_the_terms_that_its_settings_name(name: str) -> None:
    made = trainer(name)
    added = {
        "equimod": made.config.objective.equimod_weight,
        "equivariance": made.config.objective.equivariance.weight,
    }
    chosen = set(made.config.objective.terms) - UNUSED.get(name, set())
    terms = {*chosen, *(term for term, weight in added.items() if weight)}
    expected = {"train/loss", "train/positive_cosine", *(f"train/{term}" for term in terms)}
    assert set(terms_of(made)) == expected


@pytest.mark.parametrize("name", SMALL)
def test_forward_passes_of_the_trained_encoder(name: str) -> None:
    made = trainer(name)
    passes = Passes(made.network.encoder)
    terms = terms_of(made)
    assert sum(passes.batches) == BATCH * FORWARDS[name]
    assert all(batch % BATCH == 0 for batch in passes.batches)
    assert made.config.objective.passes.trained == FORWARDS[name]
    assert all(value.isfinite() and value.shape == () for value in terms.values())


@pytest.mark.parametrize("name", SMALL)
def test_interrupted_anywhere_the_numbers_stay(name: str, tmp_path: Path) -> None:
    """Momentum encoders, queues and predictors included, bit for bit."""
    whole = trainer(name)
    expected = [whole.run_epoch(), whole.run_epoch()]
    paused = trainer(name)
    steps = iter([False, False, True])
    assert paused.run_epoch(stop=lambda: next(steps)) is None
    metrics = []
    for _ in range(2):
        paused = resumed(paused, name, tmp_path)
        metrics.append(paused.run_epoch())
    assert metrics == expected
    torch.testing.assert_close(paused.state(), whole.state(), rtol=0, atol=0)


def resumed(paused: Trainer, name: str, folder: Path) -> Trainer:
    """Another trainer that goes on from a checkpoint of this one."""
    checkpoint.save(folder, paused.epoch, paused.step, paused.state())
    made = trainer(name)
    state = checkpoint.load(folder, torch.device("cpu"), pytest.fail)
    assert state
    made.load_state(state)
    return made


@pytest.mark.parametrize("name", SMALL)
def test_what_is_kept_beside_the_network_is_a_function_of_the_seed(name: str) -> None:
    one, same = (trainer(name).objective.state_dict() for _ in range(2))
    torch.manual_seed(3)
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    torch.testing.assert_close(one, trainer(name).objective.state_dict(), rtol=0, atol=0)


def test_four_views_are_compared_in_pairs() -> None:
    made = trainer("simclr-4")
    inputs = inputs_of(made)
    seen = [made.network(inputs[f"view-{i}"]) for i in (1, 2, 3, 4)]
    pairs = [infonce(z1, z2, 0.5) for z1, z2 in combinations(seen, 2)]
    assert len(pairs) == 6
    torch.testing.assert_close(terms_of(made)["train/loss"], sum(pairs) / 6)


def test_shared_views_need_a_base_objective_of_two_views() -> None:
    """The settings of the repository's objectives say so earlier; those of a plugin may not."""
    made = trainer("care-shared")
    config = made.config.objective.model_copy(update={"views": 4})
    with pytest.raises(ConfigError, match=r"shared_views.*as simclr takes 4 views"):
        Objective(config, made.network, 0)


def test_shared_views_serve_both_losses() -> None:
    made = trainer("care-shared")
    inputs = inputs_of(made)
    assert set(inputs) == {"chunk-1", "chunk-2"}
    z1, z2 = (made.network(inputs[f"chunk-{i}"]) for i in (1, 2))
    terms = terms_of(made)
    torch.testing.assert_close(terms["train/infonce"], infonce(z1, z2, 0.5))
    expected = equivariance_loss(z1, z2, 4, "authors")
    torch.testing.assert_close(terms["train/equivariance"], expected)


def test_equivariance_before_the_head() -> None:
    made = trainer("care-encoder")
    inputs = inputs_of(made)
    h1, h2 = (fn.normalize(made.network.features(inputs[f"chunk-{i}"]), dim=1) for i in (1, 2))
    terms = terms_of(made)
    torch.testing.assert_close(terms["train/equivariance"], equivariance_loss(h1, h2, 4, "authors"))
    terms["train/equivariance"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in made.network.head.parameters())


@pytest.mark.parametrize(
    "name", ["care", "care-moco", "care-barlow", "care-byol", "equivariance-uniformity"]
)
def test_the_loss_is_the_weighted_sum_of_its_terms(name: str) -> None:
    terms = trainer(name).run_epoch()
    assert terms
    base = {"care": "infonce", "care-moco": "infonce", "care-barlow": "barlow_twins"}
    base["care-byol"] = "byol"
    weight = SMALL[name]["equivariance"]["weight"]
    total = terms[f"train/{base.get(name, 'uniformity')}"] + weight * terms["train/equivariance"]
    assert terms["train/loss"] == pytest.approx(total, rel=1e-5)


def test_the_chunks_of_the_first_step_do_not_depend_on_the_base() -> None:
    found = {
        name: terms_of(trainer(name))["train/equivariance"].item()
        for name in ("care", "equivariance")
    }
    assert found["care"] == found["equivariance"]
