"""ResNets with their own stem or one for small images: conv1 3×3, stride 1, no max-pool [C]."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from care.system.torchvision import resnet18, resnet50


class ResNetEncoder(nn.Module):
    """A torchvision ResNet without its classifier.

    Attributes:
        feature_dim: Width of the output: 512 for ResNet-18, 2,048 for ResNet-50.
    """

    def __init__(self, resnet: Any, *, cifar_stem: bool) -> None:
        super().__init__()
        self.feature_dim: int = resnet.fc.in_features
        if cifar_stem:
            resnet.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
            resnet.maxpool = nn.Identity()
        resnet.fc = nn.Identity()
        self.resnet = resnet

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N,3,H,W] to features [N,feature_dim], each >= 0."""
        features: Tensor = self.resnet(images)
        return features


def resnet18_encoder() -> ResNetEncoder:
    """Build the encoder ``resnet18``, for small images."""
    return ResNetEncoder(resnet18(weights=None), cifar_stem=True)


def resnet50_encoder() -> ResNetEncoder:
    """Build the encoder ``resnet50``, for small images."""
    return ResNetEncoder(resnet50(weights=None), cifar_stem=True)


def resnet50_imagenet_encoder() -> ResNetEncoder:
    """Build the encoder ``resnet50_imagenet``, for images of 224×224."""
    return ResNetEncoder(resnet50(weights=None), cifar_stem=False)
