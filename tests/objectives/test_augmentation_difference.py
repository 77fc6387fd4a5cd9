from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from care.augmentation.parameters import AugmentationTable, identity, sample
from care.config import AugmentationConfig, ColorJitterConfig
from care.objectives.augmentation_difference import (
    BLUR,
    COLOR,
    CROP,
    FLIP,
    GRAY,
    WIDTH,
    DifferenceSpec,
    difference,
)
from care.objectives.inputs import ViewSpec
from care.system.rng import generator
from tests.helpers.stepping import BATCH, inputs_of, trainer

CONFIG = AugmentationConfig()
SIZE = (16, 20)


def table(name: str, rows: int = 64) -> AugmentationTable:
    return sample(CONFIG, rows, SIZE, generator(0, name))


def described(table: AugmentationTable, row: int, mirrored: bool) -> list[float]:
    """The crop's center, height and width over the image's, y first."""
    top, left, height, width = table.crop[row].tolist()
    x = (left + width / 2) / SIZE[1]
    return [(top + height / 2) / SIZE[0], 1 - x if mirrored else x, height / 16, width / 20]


def test_equals_augselfs_description_row_by_row() -> None:
    """extract_diff of its authors' transforms.py, with loops."""
    first, second = table("one"), table("two")
    rows = difference(first, second, CONFIG.color_jitter)
    assert rows.shape == (64, WIDTH)
    for row in range(64):
        mirrored = bool(first.flip[row])
        one, two = described(first, row, mirrored), described(second, row, mirrored)
        expected = [a - b for a, b in zip(one, two, strict=True)]
        expected.append(float(first.flip[row] == second.flip[row]))
        for column, wide in enumerate((0.8, 0.8, 0.8, 0.2)):
            expected.append(float(first.jitter[row, column] - second.jitter[row, column]) / wide)
        expected.append(float(first.sigma[row] - second.sigma[row]))
        expected.append(float(first.gray[row]) - float(second.gray[row]))
        assert rows[row].tolist() == pytest.approx(expected, abs=1e-6)


def test_colors_and_crops_stay_within_one() -> None:
    rows = difference(table("one", 4096), table("two", 4096), CONFIG.color_jitter)
    for columns in (CROP, COLOR):
        assert rows[:, columns].abs().max() <= 1 + 1e-6
        assert rows[:, columns].std(0).min() > 0.1


def test_equal_augmentations_differ_in_nothing() -> None:
    one = table("one")
    rows = difference(one, one, CONFIG.color_jitter)
    assert torch.equal(rows[:, FLIP], torch.ones(64, 1))
    for columns in (CROP, COLOR, BLUR, GRAY):
        assert not rows[:, columns].any()


def test_the_other_order_is_the_negative_but_in_the_other_views_direction() -> None:
    one, two = table("one"), table("two")
    there, back = (difference(*pair, CONFIG.color_jitter) for pair in ((one, two), (two, one)))
    mixed = one.flip != two.flip
    negative = -back
    negative[mixed, 1] *= -1  # x, seen in a mirror
    negative[:, FLIP] *= -1
    torch.testing.assert_close(there, negative)


def test_a_color_that_never_varies_has_no_difference() -> None:
    plain = identity(2, SIZE)
    moved = replace(plain, jitter=plain.jitter + 0.25)
    rows = difference(moved, plain, ColorJitterConfig(brightness=0, hue=0.25))
    assert rows[:, COLOR].tolist() == [pytest.approx([0, 0.3125, 0.3125, 0.5])] * 2


def test_a_row_for_each_image_also_where_images_share_an_augmentation() -> None:
    shared = {"weight": 0.1, "splits": 4, "shared_views": True}
    made = trainer("sie", objective={"name": "sie", "equivariance": shared})
    inputs = inputs_of(made)
    assert set(inputs) == {"chunk-1", "chunk-2", "difference"}
    draw = made._augmenter.sample
    one, two = (draw(4, generator(0, f"chunk-{i}", 0, 0)) for i in (1, 2))
    expected = difference(one, two, CONFIG.color_jitter).repeat_interleave(BATCH // 4, 0)
    assert torch.equal(inputs["difference"], expected)


def test_views_and_name_make_the_identity_of_an_input() -> None:
    one, two = ViewSpec("one"), ViewSpec("two")
    assert DifferenceSpec(one, two) == DifferenceSpec(one, two)
    assert len({DifferenceSpec(one, two), DifferenceSpec(two, one)}) == 2
