"""ResNets with the stem for 32×32 images: conv1 3×3 with stride 1, no max-pool (CARE.md sec. 5)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from care.vision import resnet18, resnet50


class ResNetEncoder(nn.Module):
    """A torchvision ResNet without its classifier and with the CIFAR stem.

    Attributes:
        feature_dim: Width of the output: 512 for ResNet-18, 2,048 for ResNet-50.
    """

    def __init__(self, resnet: Any) -> None:
        super().__init__()
        self.feature_dim: int = resnet.fc.in_features
        resnet.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
        resnet.maxpool = nn.Identity()
        resnet.fc = nn.Identity()
        self.resnet = resnet

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N,3,H,W] to features [N,feature_dim], each >= 0."""
        features: Tensor = self.resnet(images)
        return features


def resnet18_encoder() -> ResNetEncoder:
    """The encoder called ``resnet18``."""
    return ResNetEncoder(resnet18(weights=None))


def resnet50_encoder() -> ResNetEncoder:
    """The encoder called ``resnet50``."""
    return ResNetEncoder(resnet50(weights=None))
