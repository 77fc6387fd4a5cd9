from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from care.data.decoding import decode
from care.system.torchvision import transforms

RNG = np.random.default_rng(1)
GRAY = RNG.integers(0, 256, (9, 9), np.uint8)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (17, 17), (5, 90)])
def test_size_is_torchvisions_resize_and_center_crop(tmp_path: Path, size: tuple[int, int]) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8))
    image.save(tmp_path / "a.png")
    oracle = transforms.Compose([transforms.Resize(16), transforms.CenterCrop(16)])(image)
    decoded = decode(tmp_path / "a.png", 16)
    assert decoded.mode == "RGB"
    assert np.array_equal(decoded.pixels.transpose(1, 2, 0), np.asarray(oracle))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB"])
def test_other_modes_are_seen_as_pil_shows_them(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (9, 9, 3), np.uint8)).convert(mode)
    path = tmp_path / "a.tiff"
    image.save(path)
    decoded = decode(path, 9)
    with Image.open(path) as oracle:
        assert decoded.mode == oracle.mode
        assert np.array_equal(decoded.pixels.transpose(1, 2, 0), np.asarray(oracle.convert("RGB")))


def test_sixteen_bit_grays_keep_their_high_byte(tmp_path: Path) -> None:
    Image.fromarray(GRAY.astype(np.uint16) * 256 + 77).save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png", 9)
    assert decoded.mode.startswith("I")
    for channel in decoded.pixels:
        assert np.array_equal(channel, GRAY)


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (GRAY.astype(np.float32) / 255, "tiff"),
        (GRAY.astype(np.int32) * 2**16, "tiff"),
        (GRAY.astype(np.float32), "pfm"),
    ],
)
def test_pixels_whose_range_no_format_states_are_refused(
    tmp_path: Path, pixels: Any, suffix: str
) -> None:
    """PIL clips floats to 0 … 255, and the high byte of 32 bits is none: both would train black."""
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    with pytest.raises(OSError, match="range is not stated"):
        decode(tmp_path / f"a.{suffix}", 9)


def test_sixteen_bits_of_a_pgm_keep_their_high_byte(tmp_path: Path) -> None:
    Image.fromarray(GRAY.astype(np.uint16) * 256 + 77).save(tmp_path / "a.pgm")
    assert np.array_equal(decode(tmp_path / "a.pgm", 9).pixels[0], GRAY)


@pytest.mark.parametrize("length", [1, 17, 2_000, 20_001, 1_000_000])
@pytest.mark.parametrize("upright", [False, True])
def test_the_middle_of_a_strip_is_seen(tmp_path: Path, length: int, upright: bool) -> None:
    """Resampled as a whole, the longest would take 150 GB. The oracle interpolates its middle."""
    side = 224
    row = RNG.integers(0, 256, length, np.uint8)
    strip = row[:, None] if upright else row[None]
    Image.fromarray(strip).save(tmp_path / "a.png")
    # Each pixel becomes 224; between the middles of two of them the value changes evenly.
    places = length / 2 + (np.arange(side) + 0.5 - side / 2) / side
    oracle = np.interp(places, np.arange(length) + 0.5, row)
    decoded = decode(tmp_path / "a.png", side).pixels[0]
    seen = decoded if upright else decoded.T
    assert seen.shape == (side, side)
    assert np.abs(seen - oracle[:, None]).max() <= 1


def test_what_is_transparent_is_seen_on_white(tmp_path: Path) -> None:
    color = RNG.integers(0, 256, (9, 9, 3), np.uint8)
    alpha = RNG.integers(0, 256, (9, 9, 1), np.uint8)
    Image.fromarray(np.concatenate([color, alpha], 2)).save(tmp_path / "a.png")
    share = alpha / 255
    oracle = color * share + 255 * (1 - share)
    found = decode(tmp_path / "a.png", 9).pixels.transpose(1, 2, 0)
    assert np.abs(found - oracle).max() <= 1


def test_a_palette_with_transparency_too(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((9, 9), np.uint8), "P")
    image.putpalette([10, 20, 30])
    image.save(tmp_path / "a.png", transparency=0)
    assert (decode(tmp_path / "a.png", 9).pixels == 255).all()


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("kind", ["empty", "text", "cut", "noise"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "ppm", "tiff"])
def test_damaged_files_are_errors_of_the_file(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    noise = whole[:8] + RNG.bytes(len(whole) - 8)
    damaged = {"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2], "noise": noise}
    path.write_bytes(damaged[kind])
    with pytest.raises(OSError):  # noqa: PT011 - PIL has many messages
        decode(path, 9)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "ppm", "tiff"])
def test_whatever_the_damage_no_other_error_comes_out(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.exponential(80, 4).astype(int) % len(whole):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(OSError):
            assert decode(path, 9).pixels.shape == (3, 9, 9)
