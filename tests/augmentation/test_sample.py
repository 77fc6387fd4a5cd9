"""The table of parameters: inside its ranges, of the announced distribution, a function of rng."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from care.augmentation import sample
from care.config import AugmentationConfig
from care.randomness import generator
from care.vision import transforms

MANY = 20_000

ranges = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda ends: tuple(sorted(ends)))
ratios = st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(lambda ends: tuple(sorted(ends)))


@given(
    scale=ranges,
    ratio=ratios,
    side=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_crops_lie_inside_the_image(
    scale: tuple[float, float], ratio: tuple[float, float], side: tuple[int, int], seed: int
) -> None:
    config = AugmentationConfig.model_validate({"crop": {"scale": scale, "ratio": ratio}})
    top, left, height, width = sample(config, 64, side, generator(seed, "t")).crop.unbind(1)
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= side[0]).all()
    assert (left + width <= side[1]).all()


@given(probability=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_probabilities_0_and_1_are_kept(probability: float, seed: int) -> None:
    config = AugmentationConfig.model_validate(
        {
            "horizontal_flip": probability,
            "color_jitter": {"probability": probability},
            "grayscale": probability,
            "gaussian_blur": {"probability": probability},
        }
    )
    table = sample(config, 50, (16, 16), generator(seed, "t"))
    always = probability == 1
    assert (table.flip == always).all()
    assert (table.gray == always).all()
    assert ((table.order >= 0).all(1) == always).all()
    assert ((table.sigma > 0) == always).all()


def test_jitter_orders_are_permutations_and_all_occur() -> None:
    order = sample(AugmentationConfig(), MANY, (32, 32), generator(0, "t")).order
    jittered = order[order[:, 0] >= 0]
    assert (jittered.sort(1).values == torch.arange(4)).all()
    assert len(set(map(tuple, jittered.tolist()))) == 24
    assert len(jittered) / MANY == pytest.approx(0.8, abs=0.015)


def test_factors_are_uniform_in_their_ranges() -> None:
    table = sample(AugmentationConfig(), MANY, (32, 32), generator(0, "t"))
    for column, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        values = table.jitter[:, column].double().numpy()
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    sigma = table.sigma[table.sigma > 0].double().numpy()
    assert len(sigma) / MANY == pytest.approx(0.5, abs=0.015)
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


@pytest.mark.parametrize("size", [(32, 32), (16, 48)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    """The same areas, shapes and places as RandomResizedCrop.make_params, fallback included."""
    config = AugmentationConfig()
    ours = sample(config, MANY, size, generator(0, "t")).crop.double().numpy()
    theirs_crop = transforms.RandomResizedCrop(size, config.crop.scale, config.crop.ratio)
    image = torch.zeros(3, *size)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        drawn = [theirs_crop.make_params([image]) for _ in range(3000)]
    theirs = np.array([[d["top"], d["left"], d["height"], d["width"]] for d in drawn], dtype=float)
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3


def test_a_function_of_the_generator() -> None:
    def draw(seed: int) -> list[torch.Tensor]:
        table = sample(AugmentationConfig(), 20, (32, 32), generator(seed, "t", 3))
        return [value for value in vars(table).values() if isinstance(value, torch.Tensor)]

    assert all(map(torch.equal, draw(1), draw(1)))
    assert not all(map(torch.equal, draw(1), draw(2)))
