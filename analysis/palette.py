"""The colors of inline figures as CSS variables, for a light and a dark page."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

PAPER, DARK_PAPER = "ffffff", "15181c"
_GRAY = 0.12  # largest saturation of a gray
_DARKEST, _LIGHTEST = 0.1, 0.92  # lightness of white and of black on a dark page
_CONTRAST = 4.0  # of a drawn color to a dark page


def describe_colors(colors: Iterable[str], *, dark: bool) -> str:
    """Return CSS declarations ``--c0072b2:#0072b2`` of colors, six hexadecimal digits each."""
    return "".join(
        f"--c{color}:#{darken(color) if dark else color};" for color in sorted(set(colors))
    )


def darken(color: str) -> str:
    """Return the counterpart of a color on a dark page, as legible and of one hue.

    Grays exchange light and dark. Other colors are lightened until they stand out.
    """
    if color == PAPER:
        return DARK_PAPER
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (0, 2, 4))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if saturation < _GRAY:
        lightness = _LIGHTEST + (_DARKEST - _LIGHTEST) * lightness
        return _hex(colorsys.hls_to_rgb(hue, lightness, saturation))
    while lightness < 1 and _contrast(colorsys.hls_to_rgb(hue, lightness, saturation)) < _CONTRAST:
        lightness += 0.02
    return _hex(colorsys.hls_to_rgb(hue, min(1.0, lightness), saturation))


def _hex(color: tuple[float, float, float]) -> str:
    return "".join(f"{round(255 * part):02x}" for part in color)


def _contrast(color: tuple[float, float, float]) -> float:
    """Return the contrast of WCAG 2 to the dark page, from 1 to 21."""
    paper = tuple(int(DARK_PAPER[start : start + 2], 16) / 255 for start in (0, 2, 4))
    light, dark = sorted((_luminance(color), _luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: tuple[float, ...]) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
