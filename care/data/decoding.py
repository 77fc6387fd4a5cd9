"""Decode image files of any mode to uint8 RGB of one size."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

RULE = (
    "shorter side by antialiased bilinear, center crop, of strips first; transparent on white; "
    "EXIF ignored"
)
"""The rule by which an image is decoded; part of a cache's name, so never reword it."""


_STRIP = 16  # aspect ratio from which an image counts as a strip

# PIL opens 16-bit files of these formats in a mode of 32 bits.
_16_BIT_AS_I = ("PNG", "PPM")


class Decoded(NamedTuple):
    """One image file.

    Attributes:
        pixels: uint8 [3,side,side].
        mode: PIL's name of the file's mode, e.g. ``RGB``, ``L``, ``RGBA``.
    """

    pixels: NDArray[np.uint8]
    mode: str


def decode(path: Path, side: int) -> Decoded:
    """Decode an image, resize its shorter side to ``side`` and crop the center.

    Grayscale, palette, CMYK and 16-bit images become RGB; transparency is shown on white. A very
    wide image needs little more memory than its own pixels.

    Raises:
        OSError: The file is unreadable, truncated, no image, or has pixels of unknown range.
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
    square = center_square(rgb, side)
    return Decoded(np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), mode)


def regular_file(path: Path) -> Path:
    """Return ``path`` unless it is a pipe, socket or device, from which a read may never end.

    Raises:
        OSError: ``path`` is a pipe, socket or device.
    """
    if path.exists() and not path.is_file():
        raise OSError("a pipe, a socket or a device, no file")
    return path


def center_square(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side to ``side``, antialiased bilinear, and crop the center square.

    A strip is cropped before it is resized: otherwise 1,000,000 × 1 pixels would become
    224,000,000 × 224.
    """
    from care.system.torchvision import functional  # takes seconds

    longest = _STRIP * min(image.size)
    if max(image.size) > longest:
        # The parity of each side is kept, so that the crop has the image's center.
        sides = [min(n, longest + (n - longest) % 2) for n in image.size]
        image = functional.center_crop(image, sides[::-1])
    resized = functional.resize(image, [side], antialias=True)
    square: Image.Image = functional.center_crop(resized, [side, side])
    return square


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB: 16-bit gray to its high byte, transparency onto white.

    Raises:
        ValueError: Pixels are floating-point or 32-bit: no format states which value is white.
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
    """Hash all that decides a cache's content to 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
