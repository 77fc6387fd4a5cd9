"""Small trees of image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from care.config import DataConfig

# A trial on such a tree, apart from its data.
SMALL: dict[str, Any] = {
    "augmentation": {"gaussian_blur": {"kernel_size": 3}},
    "model": {"encoder": "small", "head": {"hidden": 16, "output": 8}},
    "objective": {"equivariance": {"weight": 0.1, "splits": 2}},
    "evaluation": {
        "knn_neighbors": 3,
        "rotation_augmentations": 2,
        "monitor_images": 2,
        "monitor_augmentations": 2,
    },
}


def tree(fields: dict[str, Any] | None = None) -> DataConfig:
    """What :func:`write_tree` writes."""
    defaults = {"name": "images", "path": "tree", "side": 8}
    return DataConfig.model_validate({**defaults, **(fields or {})})


def write_tree(root: Path, count: int = 3, size: tuple[int, int] = (12, 9)) -> Path:
    """Two classes with ``count`` random PNG files each for training, one each for testing."""
    rng = np.random.default_rng(0)
    for split, images in (("train", count), ("test", 1)):
        for name in ("cat", "dog"):
            folder = root / "tree" / split / name
            folder.mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 256, (*size, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return root / "tree"
