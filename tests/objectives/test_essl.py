from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from care.config import TrialConfig
from care.config.loading import validate
from care.objectives.essl import ESSL, quarter_turns, rotation_loss
from tests.conftest import TINY
from tests.helpers.layers import contrast, double, through
from tests.helpers.points import points
from tests.helpers.stepping import Passes, inputs_of, terms_of, trainer


def test_an_images_turns_follow_each_other() -> None:
    images = points(2 * 3 * 4, 4, 0).reshape(2, 3, 4, 4)
    turned = quarter_turns(images)
    assert turned.shape == (8, 3, 4, 4)
    for image in range(2):
        for turn in range(4):
            expected = np.rot90(images[image].numpy(), turn, axes=(1, 2))
            np.testing.assert_array_equal(turned[4 * image + turn].numpy(), expected)


def test_the_loss_is_the_cross_entropy_of_the_turns() -> None:
    logits = points(12, 4, 0)
    expected = 0.0
    for row, scores in enumerate(logits.tolist()):
        expected -= scores[row % 4] - np.log(np.exp(scores).sum())
    assert float(rotation_loss(logits)) == pytest.approx(expected / 12, rel=1e-12)


@pytest.mark.parametrize(("rotated", "side", "passes"), [("half", 8, 3), ("whole", 16, 6)])
def test_the_loss_is_the_authors(rotated: str, side: int, passes: int) -> None:
    made = trainer("essl", objective={"name": "essl", "hidden": 16, "rotated": rotated})
    counted = Passes(made.network.encoder)
    base, inputs, terms = made.objective.base, inputs_of(made), terms_of(made)
    assert isinstance(base, ESSL)
    assert sum(counted.batches) == 32 * passes == 32 * made.config.objective.passes.trained
    images = inputs["view-3"]
    step = 16 // side
    small = sum(images[:, :, i::step, j::step] for i in range(step) for j in range(step))
    turned = np.concatenate([np.rot90(np.asarray(small / step**2), k, (2, 3)) for k in range(4)])
    features = made.network.features(torch.from_numpy(turned.copy()))  # one pass, turn by turn
    logits = through(base.predictor, double(features))
    classes = np.repeat(np.arange(4), len(images))
    right = logits[np.arange(len(logits)), classes] - np.log(np.exp(logits).sum(1))
    rotation = float(-right.mean())
    one, two = (double(made.network.embed(inputs[f"view-{i}"]).projection) for i in (1, 2))
    base_loss = contrast(one, two, 0.5)
    assert terms["train/rotation"].item() == pytest.approx(rotation, rel=1e-5)
    assert terms["train/infonce"].item() == pytest.approx(base_loss, rel=1e-5)
    assert terms["train/loss"].item() == pytest.approx(base_loss + 0.4 * rotation, rel=1e-5)


def test_the_rotated_view_leaves_the_head_alone() -> None:
    made = trainer("essl")
    calls: list[int] = []
    made.network.head.register_forward_hook(lambda m, inputs, out: calls.append(len(out)))
    terms_of(made)
    assert calls == [32, 32]


def test_a_view_of_its_own_cannot_be_shared(refused: Any) -> None:
    shared = {"weight": 0.1, "splits": 16, "shared_views": True}
    tree = {**TINY, "objective": {"name": "essl", "equivariance": shared}}
    problem = refused(validate, TrialConfig, tree, "test")
    assert problem.field == "objective.equivariance.shared_views"
    assert "false, as 'essl' needs views of its own" in problem.allowed
