"""The encoders and the head without care's modules, as a peer would write them.

Their weights are in the order of those of care's networks, as :mod:`benchmarks.agreement` needs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as fn

from benchmarks.workload import HIDDEN, OUTPUT


class PlainNetwork(nn.Module):
    """Encoder, head and normalization; a batch stays in PyTorch's default memory format."""

    def __init__(self, encoder: str) -> None:
        super().__init__()
        self.encoder, width = _encoder(encoder)
        self.head = nn.Sequential(
            nn.Linear(width, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, OUTPUT),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalized images as unit vectors."""
        return fn.normalize(self.head(self.encoder(images).flatten(1)), dim=1)


def _encoder(name: str) -> tuple[nn.Module, int]:
    if name == "small":
        return _small(), 96
    # Imported here: a process that trains the small encoder does not need torchvision's models.
    from care.system.torchvision import resnet18, resnet50

    resnet: Any = {"resnet18": resnet18, "resnet50": resnet50}[name](weights=None)
    width = resnet.fc.in_features
    resnet.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    resnet.maxpool = resnet.fc = nn.Identity()
    return resnet, width


def _small() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs, stride in [(3, 16, 1), (16, 32, 2), (32, 96, 2)]:
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
