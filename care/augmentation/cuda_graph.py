"""Augment images by CUDA graphs: two launches per view instead of about a hundred."""

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


def make_graphed(augmenter: Augmenter[Any], warn: Callable[[str], None]) -> Augmenter[Any]:
    """Return an equivalent augmenter that uses CUDA graphs for images.

    Args:
        augmenter: Augmenter of images or other samples, which is returned unchanged.
        warn: Called with a line if a graph cannot be recorded.
    """
    if not isinstance(augmenter, ImageAugmenter):
        return augmenter
    fields = (augmenter.config, augmenter.size, augmenter.mean, augmenter.std)
    return GraphedImageAugmenter(*fields, warn)


@dataclass(frozen=True)
class GraphedImageAugmenter(ImageAugmenter):
    """Augments uint8 images on a GPU like its base, up to rounding.

    A graph is recorded at the first use of each shape of table and images.

    Attributes:
        warn: Called with a line if recording fails; that shape is then augmented eagerly.
    """

    warn: Callable[[str], None]
    _records: dict[tuple[int, ...], _Record | None] = field(default_factory=dict, compare=False)

    def apply(self, table: AugmentationTable, images: Tensor) -> Tensor:
        """Augment and normalize uint8 [N,3,H,W] to float32 [N,3,H,W]."""
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
            self.warn(
                f"the augmentation could not be recorded as a CUDA graph and runs slower: {reason}"
            )
            return None


class _Record:
    """A graph for one shape, with its static buffers."""

    def __init__(self, augmenter: ImageAugmenter, packed: Tensor, images: Tensor) -> None:
        self._packed = packed.to(images.device)
        self._images = images.clone()
        self._mean, self._std = augmenter.mean, augmenter.std
        self._augment()  # selects kernels and copies constants, which a recording cannot
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._result = self._augment()

    def __call__(self, packed: Tensor, images: Tensor) -> Tensor:
        self._packed.copy_(packed.pin_memory(), non_blocking=True)
        self._images.copy_(images)
        self._graph.replay()
        # The next replay overwrites the static buffer.
        return self._result.clone()

    def _augment(self) -> Tensor:
        images = augment_packed(self._packed, self._images)
        images = normalize(images, self._mean, self._std)
        return images.contiguous(memory_format=torch.channels_last)
