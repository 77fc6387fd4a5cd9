from __future__ import annotations

import torch
from torch import Tensor, nn

from care.config import HeadConfig, ModelConfig
from care.evaluation.features import evaluation_mode, extract
from care.models import Network, build_network


def network() -> Network:
    return build_network(ModelConfig(encoder="small", head=HeadConfig(hidden=16, output=4)), 0)


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_one_eval_mode_pass() -> None:
    net, inputs = network(), images(7)
    features = extract(net, inputs, batch_size=3)
    h, _, z = net.eval().embed(inputs)
    torch.testing.assert_close(features.encoder, h)
    torch.testing.assert_close(features.head, z)
    assert not features.encoder.requires_grad
    assert not features.head.requires_grad


def test_prepare_is_applied_to_each_batch() -> None:
    net, inputs = network(), images(7)
    doubled = extract(net, inputs, prepare=lambda batch: 2 * batch, batch_size=3)
    assert torch.equal(doubled.head, extract(net, 2 * inputs, batch_size=3).head)


def test_the_network_is_left_as_it_was() -> None:
    net = network().train()
    frozen = net.encoder
    frozen.eval()  # a part that is kept in eval mode must stay there
    before = {name: value.clone() for name, value in net.state_dict().items()}
    extract(net, images(4))
    assert net.training
    assert net.head.training
    assert not any(module.training for module in frozen.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_modes_return_also_after_an_error() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2)).train()
    try:
        with evaluation_mode(net):
            assert not net[0].training
            assert not torch.is_grad_enabled()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert net[0].training
    assert torch.is_grad_enabled()
