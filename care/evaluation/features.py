"""Features of a frozen network."""

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
# Normalizing in float32 leaves lengths within 1e-6 of 1, whatever the precision of the passes.
_OFF_SPHERE = 1e-3
# Squared distance of embeddings that are equal up to a hundred float32 roundings.
_ONE_POINT = 1e-10


class Features(NamedTuple):
    """What a network makes of N images.

    Attributes:
        encoder: The head's input, float [N,feature_dim].
        head: Its output on the unit sphere, float [N,d].
    """

    encoder: Tensor
    head: Tensor


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards each module has the mode that it had."""
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
    """While entered, the network computes in what ``choice`` means on its device.

    Raises:
        ConfigError: See :func:`care.system.precision.resolve_precision`; ``field`` is the choice's.
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
    """Features of all ``inputs``, computed in batches with eval-mode BatchNorm.

    Args:
        network: Left as it was, training mode included.
        inputs: Images [N,...] on any device; each batch is taken to the network's.
        prepare: Turns a batch of ``inputs`` into the network's input, float [n,3,H,W].
        batch_size: Images a forward pass.

    Returns:
        Features on the network's device, without gradients.

    Raises:
        DivergedError: A feature is not finite, or an embedding is not of unit length.
    """
    device = next(network.parameters()).device
    with evaluation_mode(network):
        batches = torch.split(inputs, batch_size)
        return _joined([network.embed(prepare(batch.to(device))) for batch in batches])


def extract_augmented(
    network: Network, augmenter: Augmenter[Any], table: Table, inputs: Tensor
) -> Features:
    """Features of all ``inputs`` under augmentations; see :func:`extract`.

    Args:
        network: Left as it was.
        augmenter: Applies the table.
        table: One row that all inputs share, or a row for each of them.
        inputs: Samples [N,...] on any device.

    Raises:
        DivergedError: As :func:`extract`.
    """
    device = next(network.parameters()).device
    parts = []
    with evaluation_mode(network):
        for start in range(0, len(inputs), _BATCH):
            here = slice(start, start + _BATCH)
            rows = table if len(table) == 1 else table.rows(here)
            parts.append(network.embed(augmenter.apply(rows, inputs[here].to(device))))
    return _joined(parts)


class PlainFeatures:
    """Features of samples as they are, extracted when first asked for and kept for all who ask.

    Args:
        network: Left as it was; it must not change meanwhile.
        augmenter: Normalizes the samples.
    """

    def __init__(self, network: Network, augmenter: Augmenter[Any]) -> None:
        self._network, self._augmenter = network, augmenter
        self._kept: list[tuple[Tensor, Features]] = []

    def __call__(self, samples: Tensor) -> Features:
        """Features of [N,...]; the same tensor gives the same features."""
        for known, features in self._kept:
            if known is samples:
                return features
        identity = self._augmenter.identity()
        features = extract_augmented(self._network, self._augmenter, identity, samples)
        self._kept.append((samples, features))
        return features


def _joined(parts: list[Embedding]) -> Features:
    features = Features(
        torch.cat([part.features for part in parts]), torch.cat([part.sphere for part in parts])
    )
    _check(features)
    return features


def _check(features: Features) -> None:
    """Refuse features that no measure is defined for.

    Finite weights can give them: running statistics of BatchNorm that overflow, or a projection
    whose length does, which the normalization then turns into 0.
    """
    finite = [space.isfinite().all(1) for space in features]
    on_sphere = lengths_off(features.head) <= _OFF_SPHERE  # False where the length is NaN
    bad = torch.stack([(~rows).sum() for rows in (finite[0] & finite[1], on_sphere)]).tolist()
    for count, what in zip(bad, ("finite", "of unit length"), strict=True):
        if count:
            raise DivergedError(f"{count} of {len(on_sphere)} embeddings are not {what}")


def lengths_off(embeddings: Tensor) -> Tensor:
    """How far the length of each embedding [N,d] is from 1, [N]."""
    lengths: Tensor = torch.linalg.vector_norm(embeddings, dim=1)
    return (lengths - 1).abs()


def has_directions(features: Tensor) -> bool:
    """Whether float32 can scale all features [N,F] to unit length: none is 0 or overflows."""
    return bool((lengths_off(fn.normalize(features, dim=1)) <= _OFF_SPHERE).all())


def is_one_point(embeddings: Tensor) -> bool:
    """Whether embeddings [N,d] on the unit sphere are equal up to float32's rounding."""
    moved = double(embeddings) - double(embeddings[:1])
    return bool(moved.square().sum(1).max() <= _ONE_POINT)


def double(values: Tensor) -> Tensor:
    """``values`` in float64 on their device, or on the CPU where the device has no float64."""
    if values.device.type == "mps":
        return values.cpu().double()
    return values.double()
