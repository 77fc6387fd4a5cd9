from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from care.augmentation.parameters import AugmentationTable, sample
from care.config import AugmentationConfig, TrialConfig
from care.config.loading import validate
from care.objectives.inputs import ViewSpec
from care.objectives.stl import STL, PairedViewSpec, pair_rows
from care.system.rng import generator
from tests.conftest import TINY
from tests.helpers.layers import contrast, double, through
from tests.helpers.stepping import inputs_of, terms_of, trainer

SHARED, OWN = ("crop", "jitter", "order", "gray"), ("flip", "sigma")


def test_two_images_share_what_is_aligned() -> None:
    table = sample(AugmentationConfig(), 64, (16, 16), generator(0, "test"))
    paired = pair_rows(table)
    assert isinstance(paired, AugmentationTable)
    for field in SHARED:
        values = getattr(paired, field)
        assert torch.equal(values[0::2], values[1::2])
        assert torch.equal(values[0::2], getattr(table, field)[0::2])
    for field in OWN:
        assert torch.equal(getattr(paired, field), getattr(table, field))


def test_views_are_paired_and_others_of_the_pack_are_not() -> None:
    assert PairedViewSpec("view-1") != ViewSpec("view-1")
    paired, single = (inputs_of(trainer(name))["view-1"] for name in ("stl", "simclr"))
    changed = (paired != single).flatten(1).any(1)
    assert not changed[0::2].any()
    assert changed[1::2].float().mean() > 0.9


def test_the_loss_is_the_authors() -> None:
    """STL.forward of its authors' model.py, in float64, with its indices."""
    made = trainer("stl")
    base, inputs, terms = made.objective.base, inputs_of(made), terms_of(made)
    assert isinstance(base, STL)
    one, two = (made.network.embed(inputs[f"view-{i}"]) for i in (1, 2))
    y1, y2 = double(one.features), double(two.features)
    trans122 = through(base.transformation, np.hstack([y1, y2]))
    trans221 = through(base.transformation, np.hstack([y2, y1]))
    even, odd = np.arange(0, 32, 2), np.arange(1, 32, 2)
    shifted = np.stack([odd, even], axis=1).ravel()
    weight = double(base.predictor.layer.weight)

    def transformed(y: Any, transformation: Any) -> Any:
        matrices = (transformation @ weight.T).reshape(-1, 96, 96)
        return np.stack([m @ row for m, row in zip(matrices, y, strict=True)])

    pred1, pred2 = transformed(y2, trans221[shifted]), transformed(y1, trans122[shifted])
    z1, z2, zp1, zp2 = (through(base.equivariant_head, y) for y in (y1, y2, pred1, pred2))
    pairs = [np.concatenate([trans122[rows], trans221[rows]]) for rows in (even, odd)]
    trans1, trans2 = (through(base.transformation_head, rows) for rows in pairs)
    expected = {
        "invariance": contrast(double(one.projection), double(two.projection), 0.2),
        "prediction": contrast(np.concatenate([z1, z2]), np.concatenate([zp1, zp2]), 0.2),
        "transformation": contrast(trans1, trans2, 0.2),
    }
    for name, value in expected.items():
        assert terms[f"train/{name}"].item() == pytest.approx(value, rel=1e-4), name
    total = expected["invariance"] + expected["prediction"] + 0.1 * expected["transformation"]
    assert terms["train/loss"].item() == pytest.approx(total, rel=1e-4)


def test_an_odd_batch_has_no_pairs(refused: Any) -> None:
    tree = {**TINY, "objective": {"name": "stl"}, "training": {"epochs": 1, "batch_size": 33}}
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("training.batch_size", 33)
    assert "an even number with the objective 'stl'" in problem.allowed
