from __future__ import annotations

import pytest
import torch
from torch import nn

from care.config import HeadConfig, ModelConfig
from care.models import Network, build_network

CONFIG = ModelConfig(encoder="small", head=HeadConfig(hidden=24, output=8))


def weights(network: Network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_embeddings_are_unit_vectors_made_from_the_encoders_features() -> None:
    network = build_network(CONFIG, seed=0).eval()
    images = torch.randn(5, 3, 16, 16)
    h, _, z = network.embed(images)
    assert torch.equal(h, network.encoder(images.contiguous(memory_format=torch.channels_last)))
    assert z.shape == (5, 8)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(z, network.head(h) / network.head(h).norm(dim=1, keepdim=True))
    assert torch.equal(network(images), z)


def test_head_is_linear_without_bias_batchnorm_relu_linear() -> None:
    first, norm, activation, last = build_network(CONFIG, seed=0).head.children()
    assert isinstance(first, nn.Linear)
    assert first.weight.shape == (24, 96)
    assert first.bias is None
    assert isinstance(norm, nn.BatchNorm1d)
    assert isinstance(activation, nn.ReLU)
    assert isinstance(last, nn.Linear)
    assert last.weight.shape == (8, 24)
    assert last.bias is not None


def test_head_without_batchnorm_is_linear_relu_linear() -> None:
    head = HeadConfig(hidden=24, output=8, batch_norm=False)
    first, activation, last = build_network(
        ModelConfig(encoder="small", head=head), seed=0
    ).head.children()
    assert isinstance(first, nn.Linear)
    assert first.bias is not None
    assert isinstance(activation, nn.ReLU)
    assert isinstance(last, nn.Linear)


def test_initialization_is_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = weights(build_network(CONFIG, seed=3))
    torch.manual_seed(2)
    torch.randn(7)
    assert torch.equal(weights(build_network(CONFIG, seed=3)), first)
    assert not torch.equal(weights(build_network(CONFIG, seed=4)), first)


def test_initialization_leaves_the_global_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_network(CONFIG, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_every_parameter_is_trained() -> None:
    network = build_network(CONFIG, seed=0)
    network(torch.randn(8, 3, 16, 16))[:, 0].sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("encoder", ["small", "resnet18"])
def test_state_dict_round_trip_gives_equal_embeddings(encoder: str) -> None:
    config = ModelConfig(encoder=encoder, head=CONFIG.head)
    source, target = build_network(config, seed=0), build_network(config, seed=1)
    images = torch.randn(4, 3, 8, 8)
    source(images)  # moves the running statistics of BatchNorm
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.eval()(images), source.eval()(images))
