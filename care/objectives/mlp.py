"""A small network of fully connected layers, beside the encoder."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    """Build Linear without bias, BatchNorm and ReLU for each hidden layer, then a Linear layer.

    Args:
        *widths: Of the input, the hidden layers and the output.
        bias: Whether the last layer has a bias.
    """
    *hidden, last = pairwise(widths)
    layers: list[nn.Module] = []
    for inputs, outputs in hidden:
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(*last, bias=bias))
