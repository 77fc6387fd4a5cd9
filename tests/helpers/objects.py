"""3DIEBench in miniature, in its official layout: views are colored by their latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TRAIN = ("/02691156/aa1/", "/03001627/bb1/", "/02691156/aa2/", "/03001627/bb2/")
VAL = ("/03001627/bb3/", "/02691156/aa3/")
VIEWS = 50


def write_objects(root: Path, side: int = 8) -> Path:
    """Six objects of two classes with fifty views each, and the four official lists."""
    folder = root / "3DIEBench"
    rng = np.random.default_rng(0)
    for name in (*TRAIN, *VAL):
        for number in range(VIEWS):
            write_view(folder / name.strip("/"), number, rng, side)
    for split, objects in (("train", TRAIN), ("val", VAL)):
        np.save(folder / f"{split}_images.npy", np.array(objects, dtype="<U43"))
        labels = [int(name.startswith("/03001627")) for name in objects]
        np.save(folder / f"{split}_labels.npy", np.array(labels, dtype=np.int64))
    return folder


def write_view(
    folder: Path, number: int, rng: np.random.Generator, side: int, outside: bool = False
) -> None:
    """A view whose red, green and blue are its rotation about x, y and z."""
    folder.mkdir(parents=True, exist_ok=True)
    angles = rng.uniform(-np.pi / 2, np.pi / 2, 3)
    if outside:
        angles = np.sign(angles) * (np.pi - np.abs(angles))
    rest = rng.uniform(0, [1, np.pi / 4, 2 * np.pi, 1])
    color = np.clip((angles / np.pi + 1) / 2 * 255, 0, 255).astype(np.uint8)
    pixels = np.broadcast_to(color, (side, side, 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"image_{number}.jpg", quality=95)
    np.save(folder / f"latent_{number}.npy", np.array([*angles, *rest]))


def write_ood(root: Path, side: int = 8) -> Path:
    """Views of the held-out objects out of range: three of one, two of the other."""
    folder = root / "3DIEBench-OOD"
    rng = np.random.default_rng(1)
    for name, numbers in zip(VAL, ((2, 3, 5), (0, 1)), strict=True):
        for number in numbers:
            write_view(folder / name.strip("/"), number, rng, side, outside=True)
    return folder
