"""Extract and check the features of a frozen network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.augmentation import Augmenter, Table
from care.config import PrecisionChoice
from care.models import Embedding, Network
from care.system.precision import resolve_precision
from care.trials.failure import DivergedError

_BATCH = 256
# Normalization in float32 gives lengths within 1e-6 of 1, even after passes in bfloat16.
_OFF_SPHERE = 1e-3
# Squared distance of embeddings that are equal up to a hundred float32 roundings.
_ONE_POINT = 1e-10


class Features(NamedTuple):
    """Features of N samples.

    Attributes:
        encoder: Output of the encoder, float [N,feature_dim].
        head: Output of the projection head on the unit sphere, float [N,d].
    """

    encoder: Tensor
    head: Tensor


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch to eval mode without gradients; afterwards restore the mode of each module."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def computing_in(network: Network, field: str, choice: PrecisionChoice) -> Iterator[None]:
    """Set a network's precision inside the context.

    Args:
        network: The network.
        field: Dotted name of the configured field, for the message.
        choice: The configured precision.

    Raises:
        ConfigError: The device lacks it; see :func:`care.system.precision.resolve_precision`.
    """
    before, device = network.precision, next(network.parameters()).device
    network.precision = resolve_precision(field, choice, device)
    try:
        yield
    finally:
        network.precision = before


def _unchanged(inputs: Tensor) -> Tensor:
    return inputs


def extract(
    network: Network,
    inputs: Tensor,
    prepare: Callable[[Tensor], Tensor] = _unchanged,
    batch_size: int = _BATCH,
) -> Features:
    """Extract the features of all inputs in batches, with eval-mode BatchNorm.

    Args:
        network: Unchanged, including its training mode.
        inputs: Samples [N,...] on any device; batches are copied to the network's.
        prepare: Converts a batch of ``inputs`` to the network's input, float [n,3,H,W].
        batch_size: Samples per forward pass.

    Returns:
        Features on the network's device, without gradients.

    Raises:
        DivergedError: A feature is not finite, or an embedding is not of unit length.
    """
    device = next(network.parameters()).device
    with evaluation_mode(network):
        batches = torch.split(inputs, batch_size)
        return _concatenate([network.embed(prepare(batch.to(device))) for batch in batches])


def extract_augmented(
    network: Network, augmenter: Augmenter[Any], table: Table, inputs: Tensor
) -> Features:
    """Extract the features of all inputs under augmentations; see :func:`extract`.

    Args:
        network: Unchanged.
        augmenter: Applies the table.
        table: One row that all inputs share, or one row per input.
        inputs: Samples [N,...] on any device.

    Raises:
        DivergedError: See :func:`extract`.
    """
    device = next(network.parameters()).device
    parts = []
    with evaluation_mode(network):
        for start in range(0, len(inputs), _BATCH):
            batch = slice(start, start + _BATCH)
            rows = table if len(table) == 1 else table.rows(batch)
            parts.append(network.embed(augmenter.apply(rows, inputs[batch].to(device))))
    return _concatenate(parts)


class PlainFeatures:
    """Features of samples without augmentation, extracted at the first request and cached.

    Args:
        network: Unchanged; it must not change while this object is used.
        augmenter: Normalizes the samples.
    """

    def __init__(self, network: Network, augmenter: Augmenter[Any]) -> None:
        self._network, self._augmenter = network, augmenter
        self._cache: list[tuple[Tensor, Features]] = []

    def __call__(self, samples: Tensor) -> Features:
        """Return the features of samples [N,...]; the cache compares tensors by identity."""
        for known, features in self._cache:
            if known is samples:
                return features
        identity = self._augmenter.identity()
        features = extract_augmented(self._network, self._augmenter, identity, samples)
        self._cache.append((samples, features))
        return features


def _concatenate(parts: list[Embedding]) -> Features:
    features = Features(
        torch.cat([part.features for part in parts]), torch.cat([part.sphere for part in parts])
    )
    _check(features)
    return features


def _check(features: Features) -> None:
    """Refuse features for which no measure is defined.

    They can occur with finite weights: BatchNorm's running statistics may overflow. So may the
    length of a projection, which the normalization then turns into 0.
    """
    finite = [space.isfinite().all(1) for space in features]
    on_sphere = length_errors(features.head) <= _OFF_SPHERE  # False if the length is NaN
    bad = torch.stack([(~rows).sum() for rows in (finite[0] & finite[1], on_sphere)]).tolist()
    for count, property_ in zip(bad, ("finite", "of unit length"), strict=True):
        if count:
            raise DivergedError(f"{count} of {len(on_sphere)} embeddings are not {property_}")


def length_errors(embeddings: Tensor) -> Tensor:
    """Compute the distance of each embedding's length from 1, [N], for embeddings [N,d]."""
    lengths: Tensor = torch.linalg.vector_norm(embeddings, dim=1)
    return (lengths - 1).abs()


def has_directions(features: Tensor) -> bool:
    """Check whether float32 can scale all features [N,F] to unit length: none is 0 or overflows."""
    return bool((length_errors(fn.normalize(features, dim=1)) <= _OFF_SPHERE).all())


def is_one_point(embeddings: Tensor) -> bool:
    """Check whether embeddings [N,d] on the unit sphere are equal up to float32's rounding."""
    moved = double(embeddings) - double(embeddings[:1])
    return bool(moved.square().sum(1).max() <= _ONE_POINT)


def double(values: Tensor) -> Tensor:
    """Convert values to float64, on the CPU if their device lacks float64."""
    if values.device.type == "mps":
        return values.cpu().double()
    return values.double()
