"""From an image file of any mode to uint8 RGB of one size."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from care.vision import functional

RULE = "shorter side by antialiased bilinear, center crop; transparent on white; EXIF ignored"
"""How an image is made; part of a cache's name."""


class Decoded(NamedTuple):
    """One image file.

    Attributes:
        pixels: uint8 [3,side,side].
        mode: What PIL calls the file's own mode, e.g. ``RGB``, ``L``, ``RGBA``.
    """

    pixels: NDArray[np.uint8]
    mode: str


def decode(path: Path, side: int) -> Decoded:
    """The image in ``path``, its shorter side brought to ``side``, the middle cut out.

    Grayscale, palette, CMYK and 16-bit images become RGB; what is transparent is seen on white.

    Raises:
        OSError: The file cannot be read, or is no image, or a part of one.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            rgb = to_rgb(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error
    except (SyntaxError, ValueError, IndexError, OverflowError) as error:
        # PIL's readers raise these on damaged files.
        raise OSError(f"damaged: {error}") from error
    square = functional.center_crop(functional.resize(rgb, [side], antialias=True), [side, side])
    return Decoded(np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), mode)


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` as RGB: 16-bit grays by their high byte, transparent parts on white."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", layers.size, "white")
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")


def fingerprint(lines: list[str]) -> str:
    """16 hexadecimal digits that stand for what a cache is made of."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
