from __future__ import annotations

import pytest
import torch
from torch import nn

from care.plugins import load
from care.registry import ENCODERS


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "name", sorted(name for name in ENCODERS if ENCODERS[name].kind == "images")
)
def test_encoder_maps_images_to_its_feature_dim(name: str) -> None:
    encoder = load(ENCODERS[name].factory)().eval()
    with torch.no_grad():
        features = encoder(torch.randn(3, 3, 16, 16))
    assert features.shape == (3, encoder.feature_dim)
    assert isinstance(encoder.feature_dim, int)


def test_small_encoder_has_about_32_000_parameters() -> None:
    encoder = load(ENCODERS["small"].factory)()
    assert count_parameters(encoder) == 32_976
    assert encoder.feature_dim == 96


# Parameters of the published networks, less the classifier, with 3x3 for 7x7 in the first layer.
@pytest.mark.parametrize(
    ("name", "published", "feature_dim"),
    [("resnet18", 11_689_512, 512), ("resnet50", 25_557_032, 2048)],
)
def test_resnet_has_the_published_layers_and_the_cifar_stem(
    name: str, published: int, feature_dim: int
) -> None:
    encoder = load(ENCODERS[name].factory)()
    classifier = feature_dim * 1000 + 1000
    stem = 3 * 64 * (7 * 7 - 3 * 3)
    assert count_parameters(encoder) == published - classifier - stem
    assert encoder.feature_dim == feature_dim


def test_resnet_for_imagenet_is_the_published_one() -> None:
    encoder = load(ENCODERS["resnet50_imagenet"].factory)()
    assert count_parameters(encoder) == 25_557_032 - (2048 * 1000 + 1000)
    assert encoder.resnet.conv1.kernel_size == (7, 7)


def test_resnet_stem_keeps_the_resolution() -> None:
    """The last maps of a 32x32 image are 4x4: no stride and no pooling before the stages."""
    encoder = load(ENCODERS["resnet18"].factory)().eval()
    sides: list[int] = []
    encoder.resnet.layer4.register_forward_hook(lambda *call: sides.append(call[-1].shape[-1]))
    with torch.no_grad():
        encoder(torch.randn(1, 3, 32, 32))
    assert sides == [4]
