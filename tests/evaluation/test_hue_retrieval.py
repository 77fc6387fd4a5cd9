from __future__ import annotations

import cmath
import colorsys
import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from care.augmentation import ImageAugmenter
from care.augmentation.apply import augment
from care.augmentation.single import shift_hue
from care.config import AugmentationConfig
from care.evaluation.hue_retrieval import (
    SHOWN_TURN,
    TURNS,
    choose_shown_queries,
    color_following,
    colorfulness,
    compare_neighbors,
    nearest_neighbors,
)
from care.evaluation.results import Results
from care.models import Network
from tests.helpers.colored_images import SIDE, ColorEncoder, colored_images

AUGMENTER = ImageAugmenter(AugmentationConfig(), (SIDE, SIDE), (0.5,) * 3, (0.25,) * 3)


def random_images(count: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=rng, dtype=torch.uint8)


def plain_images(hues: list[float]) -> Tensor:
    """One color each."""
    colors = torch.tensor([colorsys.hsv_to_rgb(hue, 1, 1) for hue in hues])
    return (colors * 255).round().to(torch.uint8)[:, :, None, None].expand(-1, 3, SIDE, SIDE)


def test_colorfulness_is_the_loop_over_pixels() -> None:
    images = random_images(3)
    images[2, 1:] = 0  # pure red pixels
    for image, found in zip(images, colorfulness(images).tolist(), strict=True):
        total = 0j
        for red, green, blue in image.flatten(1).T.tolist():
            hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
            total += cmath.rect(saturation * value, 2 * math.pi * hue)
        assert found == pytest.approx(total / SIDE**2, abs=1e-6)
    gray = torch.full((1, 3, SIDE, SIDE), 77, dtype=torch.uint8)
    assert colorfulness(gray).abs() == 0


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_of_the_hue_turns_the_color(turn: float) -> None:
    images = random_images(4)
    turned = augment(shift_hue((SIDE, SIDE), turn), images)
    found = colorfulness((turned * 255).round().to(torch.uint8))
    expected = colorfulness(images) * cmath.rect(1, 2 * math.pi * turn)
    assert float((found - expected).abs().max()) < 5e-3


def test_neighbors_are_scikit_learns_without_the_image_itself() -> None:
    gallery = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    moved = gallery[:10] + 0.1
    search = NearestNeighbors(n_neighbors=6).fit(gallery.numpy())
    for queries in (gallery[:10], moved):
        theirs = search.kneighbors(queries.numpy(), return_distance=False)
        ours = nearest_neighbors(queries, gallery).tolist()
        for index, row in enumerate(theirs.tolist()):
            assert ours[index] == [other for other in row if other != index][:5]


def test_following_is_one_for_those_that_follow_and_zero_for_those_that_stay() -> None:
    hues = [index / 100 for index in range(100)]
    colors = torch.polar(torch.ones(100), 2 * math.pi * torch.tensor(hues))
    own = torch.arange(100)[:, None].expand(-1, 5)
    stay = dict.fromkeys(TURNS, own)
    follow = {turn: (own + round(100 * turn)) % 100 for turn in TURNS}
    back = {turn: (own - round(100 * turn)) % 100 for turn in TURNS}
    assert color_following(colors, own, stay) == pytest.approx(0, abs=1e-6)
    assert color_following(colors, own, follow) == pytest.approx(1, abs=1e-6)
    halved = {turn: (own + round(50 * turn)) % 100 for turn in TURNS}
    assert 0 < color_following(colors, own, halved) < 1
    assert color_following(colors, own, back) < 0.2
    rng = torch.Generator().manual_seed(0)
    chance = {turn: torch.stack([torch.randperm(100, generator=rng)] * 5, dim=1) for turn in TURNS}
    assert color_following(colors, own, chance) == pytest.approx(0.1, abs=0.05)


class Blind(nn.Module):
    """Sees brightness only, which a turn of the hue hardly changes for these images."""

    feature_dim = 2

    def forward(self, images: Tensor) -> Tensor:
        value = images.amax((1, 2, 3))
        return torch.stack([value, torch.ones_like(value)], dim=1)


def results(encoder: nn.Module) -> Results:
    network = Network(encoder, nn.Linear(int(encoder.feature_dim), 2))  # type: ignore[arg-type]
    return compare_neighbors(network, plain_images([i / 60 for i in range(60)]), AUGMENTER)


def test_a_network_that_sees_color_follows_and_a_blind_one_has_no_neighbors() -> None:
    assert results(ColorEncoder()).measures["encoder/color_following"] > 0.95
    blind = results(Blind())
    assert not blind.measures
    assert "encoder: color following is not measured: no image has nearest" in blind.notes[0]


def test_pictures_show_queries_and_neighbors() -> None:
    images = colored_images(48, seed=0).images
    network = Network(ColorEncoder(), nn.Linear(3, 2))
    found = compare_neighbors(network, images, AUGMENTER)
    grid = found.details["encoder/retrieval"]
    queries = choose_shown_queries(colorfulness(images))
    assert grid.shape == (len(queries), 2, 6, 3, SIDE, SIDE)
    assert grid.dtype == np.uint8
    assert found.details["retrieval/shift"].tolist() == [SHOWN_TURN] * len(queries)
    shown = {image.tobytes() for image in images.numpy()}
    turned = augment(shift_hue((SIDE, SIDE), SHOWN_TURN), images[queries])
    for place, query in enumerate(queries.tolist()):
        assert np.array_equal(grid[place, 0, 0], images[query].numpy())
        assert np.abs(grid[place, 1, 0] / 255 - turned[place].numpy()).max() < 0.003
        neighbors = grid[place, :, 1:].reshape(-1, 3, SIDE, SIDE)
        assert all(image.tobytes() in shown for image in neighbors)
        assert not any(np.array_equal(image, images[query].numpy()) for image in neighbors)
    hues = (torch.angle(colorfulness(images[queries])) / (2 * math.pi)) % 1
    assert len({int(4 * hue) for hue in hues.tolist()}) == len(queries)


def test_neighbors_without_color_have_nothing_to_follow() -> None:
    """One image has a color, and is not its own neighbor."""
    images = torch.arange(9, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, SIDE, SIDE)
    images = torch.cat([plain_images([0.0]), 5 * images])
    found = compare_neighbors(Network(Blind(), nn.Linear(2, 2)), images, AUGMENTER)
    assert "encoder/color_following" not in found.measures
    assert any("the neighbors in encoder have no color" in note for note in found.notes)


def test_large_images_are_shown_small() -> None:
    images = plain_images([i / 10 for i in range(10)])[:, :, :1, :1].expand(-1, 3, 128, 96)
    augmenter = ImageAugmenter(AugmentationConfig(), (128, 96), (0.5,) * 3, (0.25,) * 3)
    found = compare_neighbors(Network(ColorEncoder(), nn.Linear(3, 2)), images, augmenter)
    assert found.details["head/retrieval"].shape[-2:] == (64, 48)


def test_what_cannot_be_measured_is_said() -> None:
    network = Network(ColorEncoder(), nn.Linear(3, 2))
    gray = torch.full((9, 3, SIDE, SIDE), 5, dtype=torch.uint8)
    for images, said in ((gray, "have no color"), (random_images(5), "no five neighbors")):
        found = compare_neighbors(network, images, AUGMENTER)
        assert found.measures == {}
        assert said in found.notes[0]
