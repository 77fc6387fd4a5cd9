"""The distribution of ``sample``: its limits for any configuration, its shape for the default."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from care.augmentation import AugmentationTable, sample
from care.augmentation.parameters import HUE
from care.config import (
    AugmentationConfig,
    ColorJitterConfig,
    CropConfig,
    GaussianBlurConfig,
)
from care.system.rng import generator
from care.system.torchvision import transforms

DEFAULT = AugmentationConfig()
SIZE = (16, 16)


def ordered(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    numbers = st.floats(low, high)
    return st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))


probabilities = st.floats(0, 1)
configs = st.builds(
    AugmentationConfig,
    crop=st.builds(CropConfig, scale=ordered(0.001, 1), ratio=ordered(0.01, 100)),
    horizontal_flip=probabilities,
    color_jitter=st.builds(
        ColorJitterConfig,
        probability=probabilities,
        brightness=probabilities,
        contrast=probabilities,
        saturation=probabilities,
        hue=st.floats(0, 0.5),
    ),
    grayscale=probabilities,
    gaussian_blur=st.builds(
        GaussianBlurConfig,
        probability=probabilities,
        kernel_size=st.sampled_from([1, 3, 5]),
        sigma=ordered(0.01, 5),
    ),
)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def draw(config: AugmentationConfig, rows: int, size: tuple[int, int] = SIZE) -> AugmentationTable:
    return sample(config, rows, size, generator(0, "test-sample"))


@settings(deadline=None)
@given(config=configs, size=sizes, seed=st.integers(0, 1000))
def test_every_row_is_within_the_limits(
    config: AugmentationConfig, size: tuple[int, int], seed: int
) -> None:
    table = sample(config, 32, size, generator(seed, "test-sample"))
    assert len(table) == 32
    top, left, height, width = table.crop.T
    assert bool(((top >= 0) & (height >= 1) & (top + height <= size[0])).all())
    assert bool(((left >= 0) & (width >= 1) & (left + width <= size[1])).all())
    assert torch.equal(table.order.sort(1).values, torch.arange(4).expand(32, 4))
    jitter = config.color_jitter
    spread = torch.tensor([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    changes = (table.jitter - torch.tensor([1.0, 1.0, 1.0, 0.0])).abs()
    assert bool((changes <= spread + 1e-6).all())
    assert bool((table.jitter[:, :HUE] >= 0).all())
    low, high = (np.float32(sigma) for sigma in config.gaussian_blur.sigma)
    assert bool(((table.sigma == 0) | ((table.sigma >= low) & (table.sigma <= high))).all())
    assert (table.size, table.kernel_size) == (size, config.gaussian_blur.kernel_size)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_never_and_always(probability: float) -> None:
    config = AugmentationConfig(
        horizontal_flip=probability,
        color_jitter=ColorJitterConfig(probability=probability),
        grayscale=probability,
        gaussian_blur=GaussianBlurConfig(probability=probability),
    )
    table = draw(config, 500)
    jittered = (table.jitter != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(1)
    for happened in (table.flip, jittered, table.gray, table.sigma > 0):
        assert bool((happened == bool(probability)).all())


def test_a_function_of_the_generator_alone() -> None:
    first, again = draw(DEFAULT, 64), draw(DEFAULT, 64)
    other = sample(DEFAULT, 64, SIZE, generator(1, "test-sample"))
    for field in fields(AugmentationTable):
        mine, same, different = (getattr(t, field.name) for t in (first, again, other))
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine, same), field.name
            assert not torch.equal(mine, different), field.name


@pytest.mark.parametrize(
    ("size", "config"),
    [
        ((32, 32), CropConfig()),
        ((16, 16), CropConfig(scale=(0.2, 1.0))),
        ((24, 17), CropConfig(scale=(0.05, 0.6), ratio=(0.3, 2.5))),
        ((12, 40), CropConfig(scale=(0.35, 1.0))),  # some rows fall back to the center
        ((40, 12), CropConfig(scale=(0.35, 1.0))),
    ],
)
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int], config: CropConfig) -> None:
    theirs = torchvision_crops(config, size, 4000)
    ours = draw(AugmentationConfig(crop=config), 20000, size).crop.numpy()
    for a, b in zip(_measures(ours), _measures(theirs), strict=True):
        assert same_distribution(a, b) > 1e-3


def _measures(crops: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """top, left, height, width, area."""
    return [*crops.T, crops[:, 2] * crops[:, 3]]


def torchvision_crops(config: CropConfig, size: tuple[int, int], count: int) -> NDArray[np.int64]:
    transform = transforms.RandomResizedCrop(size, scale=config.scale, ratio=config.ratio)
    image = torch.empty(3, *size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [transform.make_params([image]) for _ in range(count)]
    return np.array([[d["top"], d["left"], d["height"], d["width"]] for d in drawn])


def same_distribution(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """p-value of a chi-square test, values binned so that each bin holds enough of ``b``."""
    edges = np.unique(np.quantile(b, np.linspace(0, 1, 13)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) for x in (a, b)]
    table = np.array(counts)
    return float(stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue)


def test_a_window_that_cannot_fit_falls_back_to_the_center() -> None:
    wide = AugmentationConfig(crop=CropConfig(scale=(1.0, 1.0), ratio=(2.0, 2.0)))
    assert draw(wide, 3, (16, 16)).crop.tolist() == [[4, 0, 8, 16]] * 3
    tall = AugmentationConfig(crop=CropConfig(scale=(1.0, 1.0), ratio=(0.5, 0.5)))
    assert draw(tall, 3, (16, 16)).crop.tolist() == [[0, 4, 16, 8]] * 3
    thin = AugmentationConfig(crop=CropConfig(scale=(1.0, 1.0), ratio=(100.0, 100.0)))
    assert draw(thin, 3, (16, 16)).crop.tolist() == [[7, 0, 1, 16]] * 3


def test_factors_are_uniform_and_orders_equally_likely() -> None:
    table = draw(AugmentationConfig(color_jitter=ColorJitterConfig(probability=1.0)), 24000)
    for column, (low, width) in enumerate([(0.6, 0.8)] * 3 + [(-0.1, 0.2)]):
        values = table.jitter[:, column].double().numpy()
        assert stats.kstest(values, "uniform", (low, width)).pvalue > 1e-3
    orders = (table.order @ torch.tensor([64, 16, 4, 1])).numpy()
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_probabilities_and_sigma_of_the_authors() -> None:
    table = draw(DEFAULT, 20000)
    jittered = (table.jitter != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(1)
    sigma = table.sigma[table.sigma > 0]
    expected = [(table.flip, 0.5), (jittered, 0.8), (table.gray, 0.2), (table.sigma > 0, 0.5)]
    for happened, probability in expected:
        times = int(happened.sum())
        assert stats.binomtest(times, len(table), probability).pvalue > 1e-3
    assert stats.kstest(sigma.double().numpy(), "uniform", (0.1, 1.9)).pvalue > 1e-3


def test_operations_are_drawn_independently() -> None:
    table = draw(DEFAULT, 20000)
    jittered = (table.jitter != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(1)
    happened = torch.stack([table.flip, jittered, table.gray, table.sigma > 0]).double()
    correlation = torch.corrcoef(torch.cat([happened, table.crop.T.double()[:2]]))
    # Top and left both depend on the area that was drawn, so theirs is left out.
    others = correlation[:4].masked_fill(torch.eye(4, 6, dtype=torch.bool), 0)
    assert float(others.abs().max()) < 4 / len(table) ** 0.5
