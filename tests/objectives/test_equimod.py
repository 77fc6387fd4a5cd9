from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from care.augmentation.parameters import PARAMETERS, identity, sample
from care.config import AugmentationConfig
from care.models import Network
from care.objectives.equimod import EquiMod
from care.objectives.inputs import Inputs
from care.system.rng import generator
from tests.helpers.stepping import BATCH, SMALL, inputs_of, terms_of, trainer


def test_every_parameter_of_an_augmentation_is_seen() -> None:
    table = sample(AugmentationConfig(), 64, (16, 16), generator(0, "test"))
    seen = table.parameters()
    assert seen.shape == (64, PARAMETERS)
    expected = [
        [
            *map(float, table.crop[i]),
            float(table.flip[i]),
            *map(float, table.order[i]),
            *map(float, table.jitter[i]),
            float(table.gray[i]),
            float(table.sigma[i] > 0),
            float(table.sigma[i]),
        ]
        for i in range(64)
    ]
    assert torch.equal(seen, torch.tensor(expected))
    assert torch.equal(identity(1, (16, 16)).parameters()[0, :5], torch.tensor([0, 0, 16, 16, 0.0]))


def standardized(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))


def weights(module: nn.Module) -> list[NDArray[np.float64]]:
    """Of its Linear layers, in order; the affine parameters of a new BatchNorm are 1 and 0."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert all(layer.bias is None for layer in layers)
    return [layer.weight.detach().double().numpy() for layer in layers]


def by_hand(network: Network, module: EquiMod, inputs: Inputs) -> float:
    """arXiv 2211.01244, layer by layer in float64, with loops for the loss."""
    names = ("original", "view-1", "view-2")
    features = torch.cat([network.features(inputs[name]) for name in names])
    x = features.detach().double().numpy()
    first, second, third = weights(module.head)
    for weight in (first, second):
        x = np.maximum(standardized(x @ weight.T), 0)
    x = standardized(x @ third.T)
    before, after = np.concatenate([x[:BATCH], x[:BATCH]]), x[BATCH:]
    described = torch.cat([inputs[f"{name}/parameters"] for name in names[1:]]).double().numpy()
    described = standardized(standardized(described) @ weights(module.parameters_head)[0].T)
    both = np.concatenate([before, described], axis=1)
    predicted = standardized(both @ weights(module.predictor)[0].T)
    z = np.concatenate([after, predicted])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    similar = np.exp(z @ z.T / 0.2)
    total = 0.0
    for i in range(len(z)):
        partner = (i + len(after)) % len(z)
        total -= np.log(similar[i, partner] / (similar[i].sum() - similar[i, i]))
    return float(total / len(z))


@pytest.mark.parametrize("name", ["equimod-simclr", "equimod-byol"])
def test_the_loss_is_the_formula_layer_by_layer(name: str) -> None:
    made = trainer(name)
    module = made.objective.equimod
    assert module is not None
    terms = terms_of(made)
    expected = by_hand(made.network, module, inputs_of(made))
    assert terms["train/equimod"].item() == pytest.approx(expected, rel=1e-5)
    base = terms["train/byol" if name == "equimod-byol" else "train/infonce"]
    torch.testing.assert_close(terms["train/loss"], base + terms["train/equimod"])


def test_the_unit_of_a_parameter_does_not_matter() -> None:
    """A shift of the hue by some hundredths has the say that a crop by many pixels has."""
    made = trainer("equimod-simclr")
    assert made.objective.equimod is not None
    head = made.objective.equimod.parameters_head
    table = sample(AugmentationConfig(), 256, (16, 16), generator(0, "test")).parameters()
    units = torch.logspace(0, 2, PARAMETERS)
    # BatchNorm's epsilon is some thousandths of the hue's variance.
    torch.testing.assert_close(head(table * units), head(table), rtol=0, atol=0.02)


def test_everything_of_it_is_trained() -> None:
    made = trainer("equimod-byol")
    terms_of(made)["train/loss"].backward()  # type: ignore[no-untyped-call]
    stepped = {id(p) for group in made.optimizer.param_groups for p in group["params"]}
    assert isinstance(made.objective.equimod, EquiMod)
    for name, parameter in made.objective.equimod.named_parameters():
        assert parameter.grad is not None, name
        assert id(parameter) in stepped, name


def test_images_that_share_an_augmentation_share_its_parameters() -> None:
    shared = {"splits": 4, "weight": 0.1, "shared_views": True}
    made = trainer("equimod-simclr", objective={**SMALL["equimod-simclr"], "equivariance": shared})
    module = made.objective.equimod
    assert module is not None
    tables = [
        made._augmenter.sample(4, generator(0, f"chunk-{i}", 0, 0)).parameters() for i in (1, 2)
    ]
    seen: list[torch.Tensor] = []
    module.parameters_head.register_forward_hook(lambda m, inputs, output: seen.append(inputs[0]))
    terms_of(made)
    expected = torch.cat([table.repeat_interleave(BATCH // 4, 0) for table in tables])
    assert torch.equal(seen[0], expected)
