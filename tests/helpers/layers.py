"""Layers and losses in numpy's float64, as oracles of the objectives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]


def double(tensor: Tensor) -> Array:
    """Its values in float64."""
    return np.asarray(tensor.detach().double().numpy())


def through(layers: nn.Module, x: Array) -> Array:
    """Run rows [N,d] through a new network in training mode, layer by layer."""
    assert isinstance(layers, nn.Sequential)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = x @ double(layer.weight).T
            if layer.bias is not None:
                x = x + double(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d):  # its affine parameters are 1 and 0
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        elif isinstance(layer, nn.LayerNorm):
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        else:
            assert isinstance(layer, nn.ReLU)
            x = np.maximum(x, 0)
    return x


def contrast(one: Array, two: Array, temperature: float) -> float:
    """InfoNCE of rows [N,d] of any norm, with 2N - 2 negatives for each of 2N embeddings."""
    z = np.concatenate([one, two])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i, row in enumerate(z):
        similar = np.exp(z @ row / temperature)
        partner = (i + len(one)) % len(z)
        total -= np.log(similar[partner] / (similar.sum() - similar[i]))
    return float(total / len(z))
