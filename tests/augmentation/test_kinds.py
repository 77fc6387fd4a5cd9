from __future__ import annotations

import pytest

from care.augmentation import identity
from care.augmentation.kinds import has_kind, sample_kind
from care.config import AugmentationConfig
from care.registry import AUGMENTATION_KINDS
from care.system.rng import generator

COLUMNS = {"crop": "crop", "color": "jitter", "grayscale": "gray", "blur": "sigma", "flip": "flip"}
SIZE = (16, 12)


@pytest.mark.parametrize("kind", AUGMENTATION_KINDS)
def test_a_kind_changes_every_row_and_nothing_else(kind: str) -> None:
    table = sample_kind(AugmentationConfig(), kind, 40, SIZE, generator(0, "test"))
    plain = identity(40, SIZE)
    for other, column in COLUMNS.items():
        values, neutral = getattr(table, column).float(), getattr(plain, column).float()
        changed = (values != neutral).reshape(40, -1).any(1)
        assert bool(changed.all() if other == kind else (~changed).all()), other


def test_values_come_from_the_ranges_of_the_distribution() -> None:
    config = AugmentationConfig.model_validate(
        {"gaussian_blur": {"sigma": [0.5, 0.75]}, "color_jitter": {"hue": 0.0, "contrast": 0.1}}
    )
    blur = sample_kind(config, "blur", 200, SIZE, generator(0, "test"))
    assert 0.5 <= float(blur.sigma.min()) < float(blur.sigma.max()) <= 0.75
    jitter = sample_kind(config, "color", 200, SIZE, generator(0, "test")).jitter
    assert bool((jitter[:, 3] == 0).all())
    assert float((jitter[:, 1] - 1).abs().max()) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "without"),
    [
        ("crop", {"crop": {"scale": [1, 1], "ratio": [1, 1]}}),
        ("color", {"color_jitter": {"probability": 0}}),
        (
            "color",
            {"color_jitter": dict.fromkeys(["brightness", "contrast", "saturation", "hue"], 0)},
        ),
        ("grayscale", {"grayscale": 0}),
        ("blur", {"gaussian_blur": {"probability": 0}}),
        ("blur", {"gaussian_blur": {"kernel_size": 1}}),
        ("flip", {"horizontal_flip": 0}),
    ],
)
def test_a_distribution_without_a_kind(kind: str, without: dict[str, object]) -> None:
    config = AugmentationConfig.model_validate(without, strict=False)
    assert [name for name in AUGMENTATION_KINDS if not has_kind(config, name)] == [kind]
    assert all(has_kind(AugmentationConfig(), name) for name in AUGMENTATION_KINDS)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(
        ValueError, match="got 'blurr'; allowed: crop, color, grayscale, blur, flip"
    ):
        sample_kind(AugmentationConfig(), "blurr", 1, SIZE, generator(0, "test"))
