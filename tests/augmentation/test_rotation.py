from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from care.augmentation.rotation import RotationAugmenter, about_axis, from_quaternions
from care.system.rng import generator

AUGMENTER = RotationAugmenter()


@settings(deadline=None)
@given(seed=st.integers(0, 1000), norm=st.floats(0.1, 10))
def test_matrices_are_scipys(seed: int, norm: float) -> None:
    quaternions = np.random.default_rng(seed).standard_normal((5, 4)) * norm
    theirs = Rotation.from_quat(quaternions, scalar_first=True).as_matrix()
    np.testing.assert_allclose(from_quaternions(quaternions).numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_evenly_spaced_about_an_axis(axis: int) -> None:
    angles = np.zeros((8, 3))
    angles[:, axis] = np.arange(8) * 45
    theirs = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    np.testing.assert_allclose(about_axis(axis, 8).rotations.numpy(), theirs, atol=1e-6)


def test_uniform_on_all_rotations() -> None:
    """The mean matrix is 0, and the angle θ has density (1 - cos θ) / π (Haar measure)."""
    table = AUGMENTER.sample(20_000, generator(0, "test"))
    assert table.rotations.mean(0).abs().max() < 0.02
    angles = np.sort(Rotation.from_matrix(table.rotations.numpy()).magnitude())
    expected = (angles - np.sin(angles)) / np.pi
    assert np.abs(np.arange(1, 20_001) / 20_000 - expected).max() < 0.015


def test_each_cloud_or_chunk_has_its_rotation_and_the_mark_stays() -> None:
    clouds = torch.from_numpy(generator(0, "clouds").standard_normal((6, 5, 4))).float()
    for rows in (6, 3, 1):
        table = AUGMENTER.sample(rows, generator(1, "test"))
        rotated = AUGMENTER.apply(table, clouds)
        for index in range(6):
            rotation = Rotation.from_matrix(table.rotations[index * rows // 6].numpy())
            theirs = rotation.apply(clouds[index, :, :3].numpy())
            np.testing.assert_allclose(rotated[index, :, :3].numpy(), theirs, atol=1e-5)
        assert torch.equal(rotated[..., 3], clouds[..., 3])
    assert torch.equal(AUGMENTER.apply(AUGMENTER.identity(), clouds), clouds)


def test_rows_must_fit() -> None:
    with pytest.raises(ValueError, match="got 5 clouds for 2 rows"):
        AUGMENTER.apply(AUGMENTER.sample(2, generator(0, "test")), torch.zeros(5, 3, 4))
