"""From an image file of any mode to uint8 RGB of one size."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from care.system.torchvision import functional

RULE = (
    "shorter side by antialiased bilinear, center crop, of strips first; transparent on white; "
    "EXIF ignored"
)
"""How an image is made; part of a cache's name."""


_STRIP = 16  # times longer than wide

# PIL opens 16-bit files of these formats in a mode of 32 bits.
_16_BIT_AS_I = ("PNG", "PPM")


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
    A very wide picture needs little more memory than its own pixels.

    Raises:
        OSError: The file cannot be read, or is no image, or a part of one, or has pixels whose
            range no format states.
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
    square = middle_square(rgb, side)
    return Decoded(np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), mode)


def regular_file(path: Path) -> Path:
    """Return ``path`` unless it is a pipe, a socket or a device, which could be read for ever.

    Raises:
        OSError: It is one.
    """
    if path.exists() and not path.is_file():
        raise OSError("a pipe, a socket or a device, no file")
    return path


def middle_square(image: Image.Image, side: int) -> Image.Image:
    """Bring the shorter side to ``side`` by antialiased bilinear and cut out the middle square.

    The middle of a strip is cut out before it is resampled: brought to 224 pixels as a whole,
    1,000,000 × 1 pixels would become 224,000,000 × 224.
    """
    longest = _STRIP * min(image.size)
    if max(image.size) > longest:
        # Of the picture's own parity, so that both have one middle.
        sides = [min(n, longest + (n - longest) % 2) for n in image.size]
        image = functional.center_crop(image, sides[::-1])
    resized = functional.resize(image, [side], antialias=True)
    square: Image.Image = functional.center_crop(resized, [side, side])
    return square


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert ``image`` to RGB: 16-bit grays by their high byte, transparent parts on white.

    Raises:
        ValueError: Floating-point or 32-bit pixels: no format states which value is white.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in _16_BIT_AS_I):
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise ValueError(f"{kind} pixels, whose range is not stated; allowed: 8 or 16 bits a pixel")
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
