"""The whole of ``apply``, on tables as ``sample`` draws them."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from care.augmentation import AugmentationTable, apply, identity, sample
from care.augmentation.apply import augment
from care.augmentation.batched import augment_packed, pack
from care.config import AugmentationConfig, ColorJitterConfig
from care.system.rng import generator
from care.system.torchvision import functional as tv
from tests.helpers.one_by_one import noise_images, real_images, torchvision_one_by_one

MEAN, STD = (0.1, 0.4, 0.6), (0.2, 0.3, 0.5)
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
STRONG = AugmentationConfig(color_jitter=ColorJitterConfig(hue=0.5))
DIGIT = (16, 16)


def drawn(rows: int, size: tuple[int, int], *indices: int) -> AugmentationTable:
    return sample(STRONG, rows, size, generator(0, "test-apply", *indices))


@pytest.mark.parametrize("size", [DIGIT, (32, 32), (24, 17)])
def test_equals_torchvision_one_image_at_a_time(size: tuple[int, int]) -> None:
    images = real_images(96) if size == DIGIT else noise_images(96, size)
    table = drawn(96, size)
    theirs = torchvision_one_by_one(table, images)
    torch.testing.assert_close(apply(table, images, *UNIT), theirs, rtol=0, atol=4e-6)
    normalized = tv.normalize(theirs, list(MEAN), list(STD))
    result = apply(table, images, MEAN, STD)
    torch.testing.assert_close(result, normalized, rtol=0, atol=4e-6 / min(STD))


@pytest.mark.parametrize("rows", [1, 4])
def test_identity_only_normalizes(rows: int) -> None:
    images = real_images(8)
    expected = tv.normalize(tv.to_dtype(images, torch.float32, scale=True), list(MEAN), list(STD))
    result = apply(identity(rows, DIGIT), images, MEAN, STD)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 6), shared=st.integers(1, 5), index=st.integers(0, 1000))
def test_a_shared_row_is_the_row_repeated(rows: int, shared: int, index: int) -> None:
    images = noise_images(rows * shared, (12, 9))
    table = drawn(rows, (12, 9), index)
    repeated = table.rows(torch.tensor([row for row in range(rows) for _ in range(shared)]))
    torch.testing.assert_close(
        apply(table, images, *UNIT), apply(repeated, images, *UNIT), rtol=0, atol=1e-6
    )


@settings(deadline=None, max_examples=20)
@given(chosen=st.lists(st.integers(0, 31), min_size=1, max_size=32), index=st.integers(0, 1000))
def test_an_image_does_not_depend_on_its_batch(chosen: list[int], index: int) -> None:
    images = real_images(32)
    table = drawn(32, DIGIT, index)
    whole = apply(table, images, *UNIT)
    alone = apply(table.rows(torch.tensor(chosen)), images[chosen], *UNIT)
    torch.testing.assert_close(alone, whole[chosen], rtol=0, atol=1e-6)


def test_the_same_call_gives_the_same_bits_and_leaves_its_input() -> None:
    images = real_images(64)
    before, table = images.clone(), drawn(64, DIGIT)
    kept = replace(table, jitter=table.jitter.clone(), crop=table.crop.clone())
    first = apply(table, images, MEAN, STD)
    assert torch.equal(first, apply(kept, images, MEAN, STD))
    assert torch.equal(images, before)
    assert torch.equal(table.jitter, kept.jitter)
    assert torch.equal(table.crop, kept.crop)


def test_images_need_not_be_contiguous() -> None:
    images = noise_images(16, (12, 9))
    table = drawn(16, (12, 9))
    last = images.to(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    assert torch.equal(apply(table, last, *UNIT), apply(table, images, *UNIT))


def test_autocast_does_not_reach_the_colors() -> None:
    images, table = real_images(16), drawn(16, DIGIT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = apply(table, images, MEAN, STD)
    assert torch.equal(result, apply(table, images, MEAN, STD))


@pytest.mark.parametrize("rows", [12, 4])
def test_never_reads_from_the_device(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor on ``meta`` has no values: reading one, as waiting for a device does, raises.

    So does mixing it with a tensor that was left on the CPU.
    """
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    images = torch.empty(12, 3, *DIGIT, dtype=torch.uint8, device="meta")
    result = apply(drawn(rows, DIGIT), images, MEAN, STD)
    assert (result.device.type, result.dtype) == ("meta", torch.float32)
    assert result.shape == images.shape


@pytest.mark.parametrize("rows", [0, 3, 16])
def test_refuses_images_that_do_not_divide_by_rows(rows: int) -> None:
    with pytest.raises(ValueError, match=f"got 8 images for {rows} rows; allowed: a multiple"):
        apply(identity(rows, DIGIT), real_images(8), MEAN, STD)


def test_refuses_images_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"got images of \(16, 16\) pixels; allowed: \(32, 32\)"):
        apply(identity(8, (32, 32)), real_images(8), MEAN, STD)


@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(1, 6),
    shared=st.integers(1, 5),
    index=st.integers(0, 1000),
    jittered=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_without_branches_it_is_the_same(
    rows: int, shared: int, index: int, jittered: float
) -> None:
    config = STRONG.model_copy(update={"color_jitter": ColorJitterConfig(probability=jittered)})
    table = sample(config, rows, (12, 9), generator(0, "test-branchless", index))
    images = noise_images(rows * shared, (12, 9))
    result = augment_packed(pack(table), images)
    torch.testing.assert_close(result, augment(table, images), rtol=0, atol=1e-6)


def test_without_branches_the_identity_changes_nothing() -> None:
    images = real_images(8)
    table = identity(1, DIGIT)
    assert torch.equal(augment_packed(pack(table), images), augment(table, images))
