from __future__ import annotations

import colorsys
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import Tensor

from care.config import DataConfig
from care.config.loading import validate
from care.data.dataset import Dataset, ImageSet, load_dataset
from care.errors import Problem
from care.registry import DATA
from care.system.torchvision import functional as tv


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DataConfig(), Path())


def test_sizes_are_those_of_the_registry(digits: Dataset) -> None:
    registered = DATA["digits"]
    side = registered.side
    assert (digits.name, len(digits.train), len(digits.test)) == ("digits", 1437, 360)
    assert len(digits.train) == registered.train_size
    for part in (digits.train, digits.test):
        assert part.images.shape == (len(part), 3, side, side)
        assert part.labels.shape == part.factors["hue"].shape == (len(part),)
        types = (part.images.dtype, part.labels.dtype, part.factors["hue"].dtype)
        assert types == (torch.uint8, torch.int64, torch.float32)


def indices(part: ImageSet) -> Tensor:
    """Places of the images in scikit-learn's data, read off their hues."""
    known = torch.arange(1797, dtype=torch.float64) * (5**0.5 - 1) / 2 % 1
    away = (part.factors["hue"].double().unsqueeze(1) - known).abs()
    return torch.minimum(away, 1 - away).argmin(1)


def test_every_digit_is_in_one_part(digits: Dataset) -> None:
    places = torch.cat([indices(digits.train), indices(digits.test)])
    assert torch.equal(places.sort().values, torch.arange(1797))


@pytest.mark.parametrize("name", ["train", "test"])
def test_images_are_the_digits_grown(digits: Dataset, name: str) -> None:
    """The value, the largest channel, is scikit-learn's ink, resized by torchvision."""
    part = getattr(digits, name)
    originals = datasets.load_digits()
    assert torch.equal(part.labels, torch.from_numpy(originals.target)[indices(part)])
    ink = torch.from_numpy(originals.images)[indices(part)].unsqueeze(1) / 16
    grown = tv.resize(ink, [16, 16], antialias=True).squeeze(1)
    torch.testing.assert_close(part.images.amax(1).double(), 255 * grown, rtol=0, atol=0.5 + 1e-6)


def test_classes_have_their_share_of_each_part(digits: Dataset) -> None:
    assert digits.classes == tuple("0123456789")
    train, test = (part.labels.bincount(minlength=10) for part in (digits.train, digits.test))
    share = (train + test) * len(digits.test) / 1797
    assert float((test - share).abs().max()) <= 1


def test_loading_again_gives_the_same(digits: Dataset) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    again = load_dataset(DataConfig(), Path())
    for one, other in ((digits.train, again.train), (digits.test, again.test)):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.factors["hue"], other.factors["hue"])
    assert (digits.mean, digits.std) == (again.mean, again.std)


def test_hue_is_that_of_the_pixels(digits: Dataset) -> None:
    """Python's colorsys reads the hue and full saturation off each image's brightest pixel."""
    part = digits.test
    brightest = part.images.amax(1).flatten(1).argmax(1)
    pixels = part.images.flatten(2)[torch.arange(len(part)), :, brightest].double() / 255
    hsv = torch.tensor([colorsys.rgb_to_hsv(*pixel) for pixel in pixels.tolist()])
    away = (hsv[:, 0] - part.factors["hue"]).abs()
    # Rounding to uint8 moves the hue by half of 1/255 of a sixth of the circle at full value.
    assert float(torch.minimum(away, 1 - away).max()) < 1 / 255 / 6
    assert float(hsv[:, 1].min()) == 1
    assert float(hsv[:, 2].min()) > 0.75


@pytest.mark.parametrize("part", ["train", "test"])
def test_hue_is_spread_and_tells_nothing_of_the_class(digits: Dataset, part: str) -> None:
    images = getattr(digits, part)
    hue, labels = images.factors["hue"].double(), images.labels
    assert largest_gap(hue) < 10 / len(hue)
    for label in range(10):
        of_class = hue[labels == label]
        # The mean of points spread evenly by chance is about 1 / √n from the circle's center.
        assert mean_resultant(of_class) < 2 / len(of_class) ** 0.5


def largest_gap(hue: Tensor) -> float:
    points = hue.sort().values
    return float(torch.cat([points.diff(), points[:1] + 1 - points[-1:]]).max())


def mean_resultant(hue: Tensor) -> float:
    return float(torch.polar(torch.ones_like(hue), 2 * torch.pi * hue).mean().abs())


def test_mean_and_std_are_of_the_training_pixels(digits: Dataset) -> None:
    pixels = digits.train.images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(digits.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(digits.std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_moves_to_another_device_whole(digits: Dataset) -> None:
    moved = digits.to("meta")
    for part, original in ((moved.train, digits.train), (moved.test, digits.test)):
        tensors = (part.images, part.labels, part.factors["hue"])
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert len(part) == len(original)
    assert digits.train.images.device.type == "cpu"
    assert (moved.name, moved.classes, moved.mean) == (digits.name, digits.classes, digits.mean)


def test_an_unknown_name_is_refused(refused: Callable[..., Problem]) -> None:
    problem = refused(validate, DataConfig, {"name": "digit"}, "test")
    assert (problem.field, problem.value) == ("name", "digit")
    assert "did you mean 'digits'?" in problem.allowed


def test_data_sets_are_imported_by_name_without_loading_torch_before() -> None:
    code = "import sys, care.data; print('torch' in sys.modules); print(care.data.load_dataset)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, function = done.stdout.splitlines()
    assert loaded == "False"
    assert "load_dataset" in function
