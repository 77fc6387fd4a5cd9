"""One view of each image of a batch by torchvision on PIL images, as in the authors' code."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image

from benchmarks.authors import image_transform
from benchmarks.workload import Workload, make_images


def build(workload: Workload, cores: int) -> Callable[[], object]:  # noqa: ARG001 - as the others
    """Build the views for :mod:`benchmarks.side`."""
    images = [Image.fromarray(pixels) for pixels in make_images()[: workload.batch]]
    transform = image_transform()
    return lambda: torch.stack([transform(image) for image in images])
