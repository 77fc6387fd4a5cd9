"""Augmentation of images as a CUDA graph: two launches for a view instead of some hundred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from care.augmentation.apply import normalize
from care.augmentation.augmenter import Augmenter, ImageAugmenter
from care.augmentation.batched import augment_packed, pack
from care.augmentation.parameters import AugmentationTable


def graphed(augmenter: Augmenter[Any], warn: Callable[[str], None]) -> Augmenter[Any]:
    """One that augments alike, by graphs where that helps.

    Args:
        augmenter: Of any samples.
        warn: Called if a graph cannot be recorded.
    """
    if not isinstance(augmenter, ImageAugmenter):
        return augmenter
    fields = (augmenter.config, augmenter.size, augmenter.mean, augmenter.std)
    return GraphedImageAugmenter(*fields, warn)


@dataclass(frozen=True)
class GraphedImageAugmenter(ImageAugmenter):
    """Augments uint8 images on a GPU as its base does, but for rounding.

    Each shape of table and images is recorded when it first comes.

    Attributes:
        warn: Called if that fails; the shape is then augmented operation by operation.
    """

    warn: Callable[[str], None]
    _records: dict[tuple[int, ...], _Record | None] = field(default_factory=dict, compare=False)

    def apply(self, table: AugmentationTable, images: Tensor) -> Tensor:
        """See :class:`ImageAugmenter`."""
        packed = pack(table)
        key = (*packed.shape, *images.shape)
        if key not in self._records:
            self._records[key] = self._record(packed, images)
        record = self._records[key]
        return record(packed, images) if record else super().apply(table, images)

    def _record(self, packed: Tensor, images: Tensor) -> _Record | None:
        try:
            return _Record(self, packed, images)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            self.warn(f"views could not be recorded as a CUDA graph and are made slower: {reason}")
            return None


class _Record:
    """A graph of one shape, and the memory that it reads and writes."""

    def __init__(self, augmenter: ImageAugmenter, packed: Tensor, images: Tensor) -> None:
        self._packed = packed.to(images.device)
        self._images = images.clone()
        self._mean, self._std = augmenter.mean, augmenter.std
        self._augmented()  # kernels are chosen and constants sent before anything is recorded
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._result = self._augmented()

    def __call__(self, packed: Tensor, images: Tensor) -> Tensor:
        self._packed.copy_(packed.pin_memory(), non_blocking=True)
        self._images.copy_(images)
        self._graph.replay()
        # The next view of this shape is made in the same place.
        return self._result.clone()

    def _augmented(self) -> Tensor:
        images = augment_packed(self._packed, self._images)
        images = normalize(images, self._mean, self._std)
        return images.contiguous(memory_format=torch.channels_last)
