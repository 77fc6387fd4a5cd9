from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from care.augmentation import AugmentationTable, ImageAugmenter, RotationAugmenter, identity
from care.augmentation.apply import augment
from care.augmentation.rotation import RotationTable, from_quaternions
from care.augmentation.single import named_augmentations, shift_hue
from care.config import AugmentationConfig
from care.system.rng import generator
from care.system.torchvision import functional as tv
from tests.helpers.one_by_one import noise_images

SIZE = (12, 16)
IMAGES = noise_images(3, SIZE)
FLOAT = IMAGES.float() / 255
AUGMENTER = ImageAugmenter(AugmentationConfig(), SIZE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))

ORACLES = {
    "flip": lambda x: tv.horizontal_flip(x),
    "crop, middle half": lambda x: tv.resized_crop(x, 3, 4, 6, 8, list(SIZE), antialias=True),
    "brightness × 1.4": lambda x: tv.adjust_brightness(x, 1.4),
    "contrast × 0.6": lambda x: tv.adjust_contrast(x, 0.6),
    "saturation × 0.6": lambda x: tv.adjust_saturation(x, 0.6),
    "hue + 0.1": lambda x: tv.adjust_hue(x, 0.1),
    "hue + 0.33": lambda x: tv.adjust_hue(x, 1 / 3),
    "grayscale": lambda x: tv.rgb_to_grayscale(x, 3),
    "blur, σ = 1 px": lambda x: tv.gaussian_blur(x, [3, 3], [1.0, 1.0]),
}


def test_every_name_has_an_oracle() -> None:
    assert set(named_augmentations(SIZE)) == set(ORACLES)


@pytest.mark.parametrize("name", ORACLES)
def test_each_is_torchvisions(name: str) -> None:
    found = augment(named_augmentations(SIZE)[name], IMAGES)
    torch.testing.assert_close(found, ORACLES[name](FLOAT), atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 16)])
def test_they_fit_images_of_any_size(size: tuple[int, int]) -> None:
    for table in named_augmentations(size).values():
        assert augment(table, noise_images(2, size)).shape == (2, 3, *size)


def test_a_turn_beyond_half_goes_the_other_way() -> None:
    shifts = [float(shift_hue(SIZE, turn).jitter[0, 3]) for turn in (0.25, 0.75, 1.0, -0.25)]
    assert shifts == pytest.approx([0.25, -0.25, 0, -0.25])


def test_both_is_one_after_the_other() -> None:
    first, second = (AUGMENTER.sample(3, generator(seed, "both")) for seed in (1, 2))
    between = augment(first, IMAGES)
    expected = tv.normalize(augment(second, between), list(AUGMENTER.mean), list(AUGMENTER.std))
    torch.testing.assert_close(AUGMENTER.apply_both(first, second, IMAGES), expected)
    nothing = AUGMENTER.identity()
    torch.testing.assert_close(
        AUGMENTER.apply_both(nothing, second, IMAGES), AUGMENTER.apply(second, IMAGES)
    )
    torch.testing.assert_close(
        AUGMENTER.apply_both(first, nothing, IMAGES), AUGMENTER.apply(first, IMAGES)
    )


def test_float_images_are_augmented_as_their_uint8() -> None:
    table = AUGMENTER.sample(3, generator(0, "float"))
    torch.testing.assert_close(augment(table, FLOAT), augment(table, IMAGES), atol=1e-6, rtol=0)


def test_rotations_of_clouds_compose() -> None:
    clouds = torch.ones(4, 5, 4)
    clouds[..., :3] = torch.from_numpy(generator(0, "clouds").standard_normal((4, 5, 3)))
    augmenter = RotationAugmenter()
    first, second = (augmenter.sample(1, generator(seed, "both")) for seed in (1, 2))
    product = RotationTable(second.rotations @ first.rotations)
    torch.testing.assert_close(
        augmenter.apply_both(first, second, clouds), augmenter.apply(product, clouds)
    )


def test_descriptions_say_what_a_row_changes() -> None:
    assert identity(2, SIZE).describe() == ["nothing", "nothing"]
    named = {name: table.describe()[0] for name, table in named_augmentations(SIZE).items()}
    assert named == {
        "flip": "flip",
        "crop, middle half": "crop 6 × 8 at 3, 4",
        "brightness × 1.4": "brightness × 1.40",
        "contrast × 0.6": "contrast × 0.60",
        "saturation × 0.6": "saturation × 0.60",
        "hue + 0.1": "hue + 0.10",
        "hue + 0.33": "hue + 0.33",
        "grayscale": "grayscale",
        "blur, σ = 1 px": "blur 1.00 px",
    }
    assert shift_hue(SIZE, -0.2).describe() == ["hue − 0.20"]
    table: AugmentationTable = AUGMENTER.sample(5, generator(0, "rows"))
    assert table.describe()[2] == table.rows(slice(2, 3)).describe()[0]


def test_rotations_are_described_by_angle_and_axis() -> None:
    named = {name: table.describe()[0] for name, table in RotationAugmenter().named().items()}
    assert named["90° about x"] == "90° about (1.00, 0.00, 0.00)"
    assert named["180° about z"].removeprefix("180° about ") in (
        "(0.00, 0.00, 1.00)",
        "(0.00, 0.00, -1.00)",
        "(-0.00, -0.00, -1.00)",
    )
    quaternions = generator(0, "test").standard_normal((20, 4))
    for rotation, text in zip(
        from_quaternions(quaternions),
        RotationTable(from_quaternions(quaternions)).describe(),
        strict=True,
    ):
        turn = Rotation.from_matrix(rotation.numpy()).as_rotvec()
        angle = np.linalg.norm(turn)
        found = [float(part) for part in text.split("(")[1].rstrip(")").split(",")]
        assert found == pytest.approx((turn / angle).tolist(), abs=0.0051)
        assert float(text.split("°")[0]) == pytest.approx(math.degrees(angle), abs=0.51)
