"""The digits: as many as announced, real, tinted by a hue that tells nothing of the class."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as load_sklearn_digits

from care.data import Dataset, load_dataset
from care.registry import DATA


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_sizes_are_those_of_the_registry(digits: Dataset) -> None:
    source = DATA["digits"]
    assert digits.train.images.shape == (source.train_size, 3, source.side, source.side)
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.train.images.dtype == torch.uint8


def test_the_same_every_time(digits: Dataset) -> None:
    again = load_dataset("digits")
    assert torch.equal(again.train.images, digits.train.images)
    assert torch.equal(again.test.factors["hue"], digits.test.factors["hue"])


def test_classes_are_balanced_in_both_parts(digits: Dataset) -> None:
    for part in (digits.train, digits.test):
        counts = part.labels.bincount(minlength=10)
        assert counts.max() - counts.min() <= 10
    assert len(digits.classes) == 10


def test_each_image_is_one_of_scikit_learns(digits: Dataset) -> None:
    """Brightness (the largest channel), averaged over blocks of 2×2, is the 8×8 original, blurred
    by the resizing: the nearest original has the same label nearly always, and all are used."""
    bunch = load_sklearn_digits()
    images = torch.cat([digits.train.images, digits.test.images]).float().amax(1) / 255
    labels = torch.cat([digits.train.labels, digits.test.labels])
    small = torch.nn.functional.avg_pool2d(images[:, None], 2).flatten(1)
    originals = torch.from_numpy(bunch.images / 16).float().flatten(1)
    nearest = torch.cdist(small, originals).argmin(1)
    assert len(set(nearest.tolist())) > 1750
    assert (torch.from_numpy(bunch.target)[nearest] == labels).double().mean() > 0.99


def test_hue_is_in_the_pixels(digits: Dataset) -> None:
    for index in range(0, 360, 17):
        image = digits.test.images[index].flatten(1)
        brightest = image[:, image.amax(0).argmax()].tolist()
        hue = colorsys.rgb_to_hsv(*(value / 255 for value in brightest))[0]
        turn = abs(hue - float(digits.test.factors["hue"][index]))
        assert min(turn, 1 - turn) < 0.01


def test_hue_is_spread_and_tells_nothing_of_the_class(digits: Dataset) -> None:
    hue = digits.train.factors["hue"].double().numpy()
    assert np.histogram(hue, bins=10, range=(0, 1))[0].min() > 120
    for label in range(10):
        of_class = hue[digits.train.labels.numpy() == label]
        # The mean of n unit vectors of independent directions has a length near 1/√n, here 0.08.
        assert abs(np.exp(2j * np.pi * of_class).mean()) < 0.15


def test_channel_statistics(digits: Dataset) -> None:
    pixels = digits.train.images.double() / 255
    assert digits.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert digits.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())


def test_moving_keeps_everything(digits: Dataset) -> None:
    moved = digits.to("cpu")
    assert torch.equal(moved.test.labels, digits.test.labels)
    assert moved.classes == digits.classes
