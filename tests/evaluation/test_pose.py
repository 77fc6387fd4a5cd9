from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from care.augmentation.rotation import RotationAugmenter
from care.evaluation.pose import (
    axis_errors,
    circularity,
    predict_pose,
    principal_axes,
    project_to_plane,
    trajectories,
)
from care.models import Network
from care.system.rng import generator

ANGLES = torch.arange(100, dtype=torch.float64) * 2 * math.pi / 100


class Moments(nn.Module):
    """The second moments of a cloud: what its principal axis is a function of, equivariantly."""

    feature_dim = 6

    def forward(self, points: Tensor) -> Tensor:
        moments = points[..., :3].mT @ points[..., :3]
        return moments.flatten(1)[:, [0, 1, 2, 4, 5, 8]]


class Sizes(nn.Module):
    """Distances from the centre: nothing of the pose."""

    feature_dim = 1

    def forward(self, points: Tensor) -> Tensor:
        return points[..., :3].square().sum((1, 2))[:, None]


def clouds(count: int, seed: int, stretch: tuple[float, float, float] = (8, 0.5, 0.5)) -> Tensor:
    """Long clouds in random poses, centred."""
    made = torch.zeros(count, 30, 4)
    points = generator(seed, "clouds").standard_normal((count, 30, 3)) * stretch
    made[..., :3] = torch.from_numpy(points - points.mean(1, keepdims=True))
    made[..., 3] = 1
    augmenter = RotationAugmenter()
    return augmenter.apply(augmenter.sample(count, generator(seed, "poses")), made)


def network(encoder: nn.Module) -> Network:
    head = nn.Linear(int(encoder.feature_dim), 4)  # type: ignore[arg-type]
    return Network(encoder, head)


def test_axes_are_those_of_scikit_learn() -> None:
    made = clouds(6, 0, (3, 2, 1))
    made[:, 25:] = 0  # padding
    for cloud, projector in zip(made, principal_axes(made), strict=True):
        axis = PCA(1).fit(cloud[:25, :3].numpy()).components_[0]
        np.testing.assert_allclose(projector.numpy(), np.outer(axis, axis), atol=1e-6)


def test_moments_tell_the_axis_and_sizes_do_not() -> None:
    train, test = clouds(30, 1), clouds(15, 2)
    assert float(axis_errors(train, test, network(Moments()), 1e-4).encoder.mean()) < 5
    chance = axis_errors(train, test, network(Sizes()), 1e-4).encoder
    assert chance.shape == (15 * 20,)
    assert float(chance.mean()) == pytest.approx(180 / math.pi, abs=6)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_circle_is_one_and_sums_of_circles_are_less(times: int) -> None:
    circle = torch.stack([ANGLES.mul(times).cos(), ANGLES.mul(times).sin()], dim=1)
    assert float(circularity(circle + 3)) == pytest.approx(1)
    lesser = torch.stack([ANGLES.mul(times + 1).cos(), ANGLES.mul(times + 1).sin()], dim=1)
    both = torch.cat([2 * circle, lesser], dim=1)
    assert float(circularity(both)) == pytest.approx(4 / 5)


def test_noise_and_points_are_no_circles() -> None:
    noise = torch.from_numpy(generator(0, "noise").standard_normal((3, 2, 100, 4)))
    assert circularity(noise).shape == (3, 2)
    assert float(circularity(noise).max()) < 0.15
    still = torch.full((100, 3), 0.7) + 1e-8 * noise[0, 0, :, :3].float()
    assert float(circularity(still)) == 0


def test_where_no_rotation_moves_an_embedding_there_is_no_circularity() -> None:
    found = predict_pose(clouds(8, 0), clouds(4, 1), network(Sizes()), 1e-4)
    assert "head/circularity" not in found.measures
    assert found.notes == [
        "head: circularity is not measured: no rotation moves an embedding (0/0)"
    ]


def test_second_moments_run_through_circles() -> None:
    """v vᵀ turns twice while v turns once; the part along the rotation's axis wobbles once."""
    found = trajectories(clouds(2, 3), network(Moments()))
    assert found.shape == (2, 3, 100, 4)
    first = found[:, :, 0]
    torch.testing.assert_close(first[:, 0], first[:, 1])
    torch.testing.assert_close(first[:, 1], first[:, 2])


def test_the_plane_is_that_of_pca_and_has_its_first_point_on_the_positive_side() -> None:
    paths = torch.from_numpy(generator(0, "paths").standard_normal((2, 50, 5)))
    flat = project_to_plane(paths)
    for path, ours in zip(paths, flat, strict=True):
        theirs = PCA(2).fit_transform(path.numpy())
        np.testing.assert_allclose(ours.abs().numpy(), np.abs(theirs), atol=1e-9)
    assert (flat[:, 0] >= 0).all()


def test_measures_are_complete_repeatable_and_change_nothing() -> None:
    made = network(Moments())
    train, test = clouds(12, 1), clouds(4, 2)
    found, again = (predict_pose(train, test, made, 1e-4) for _ in range(2))
    assert set(found.measures) == {"encoder/axis_error", "head/axis_error", "head/circularity"}
    paths = found.details["head/trajectories"]
    assert paths.shape == (3, 3, 100, 2)
    assert again.measures == found.measures
    assert np.array_equal(again.details["head/trajectories"], paths)
