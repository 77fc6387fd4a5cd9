"""Rotate point clouds, the augmentation of the protein experiment (docs/paper.md §7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class RotationTable:
    """R rotations of space.

    Attributes:
        rotations: Matrices for column vectors, float32 [R,3,3], determinant 1.
    """

    rotations: Tensor

    def __len__(self) -> int:
        return len(self.rotations)

    def rows(self, index: slice) -> RotationTable:
        """Select the rows at ``index``."""
        return RotationTable(self.rotations[index])

    def describe(self) -> list[str]:
        """Describe angle and axis of each row, e.g. ``90° about (0.00, 0.00, 1.00)``."""
        return [_describe(rotation) for rotation in self.rotations.double()]

    def repeat(self, times: int) -> RotationTable:
        """Repeat each row ``times`` times consecutively."""
        return RotationTable(self.rotations.repeat_interleave(times, dim=0))

    def parameters(self) -> Tensor:
        """Return the matrices' entries, float32 [R,9]."""
        return self.rotations.flatten(1)


@dataclass(frozen=True)
class RotationAugmenter:
    """Rotations drawn uniformly from SO(3) [P], about the origin."""

    def identity(self) -> RotationTable:
        """Return one row that changes nothing."""
        return RotationTable(torch.eye(3)[None])

    def sample(self, rows: int, rng: np.random.Generator) -> RotationTable:
        """Draw ``rows`` rotations: normally distributed quaternions have uniform directions."""
        return RotationTable(from_quaternions(rng.standard_normal((rows, 4))))

    def named(self) -> dict[str, RotationTable]:
        """Return a quarter and a half turn about each axis, by name."""
        return {
            f"{360 * step // 4}° about {name}": about_axis(axis, 4).rows(slice(step, step + 1))
            for axis, name in enumerate("xyz")
            for step in (1, 2)
        }

    def apply(self, table: RotationTable, points: Tensor) -> Tensor:
        """Rotate clouds [N,P,4] of x, y, z and a mask, which is unchanged.

        Raises:
            ValueError: N is not a multiple of the table's rows.
        """
        if not len(table) or len(points) % len(table):
            raise ValueError(f"got {len(points)} clouds for {len(table)} rows; allowed: a multiple")
        rotations = table.repeat(len(points) // len(table)).rotations
        rotations = rotations.to(points.device, non_blocking=True)
        rotated = points[..., :3] @ rotations.mT
        return torch.cat([rotated, points[..., 3:]], dim=2)

    def apply_both(self, first: RotationTable, second: RotationTable, points: Tensor) -> Tensor:
        """Rotate clouds [N,P,4] by ``first`` and then by ``second``."""
        return self.apply(second, self.apply(first, points))


def from_quaternions(quaternions: NDArray[np.float64]) -> Tensor:
    """Convert quaternions (w, x, y, z) [R,4] of any norm but 0 to rotations, float32 [R,3,3]."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.from_numpy(np.array(rows).transpose(2, 0, 1).astype(np.float32))


def about_axis(axis: int, count: int) -> RotationTable:
    """Return evenly spaced rotations about an axis over 360°, from the identity on (Fig 3).

    Args:
        axis: 0, 1 or 2 for x, y or z.
        count: Number of rotations.
    """
    half = np.arange(count) * math.pi / count
    quaternions = np.zeros((count, 4))
    quaternions[:, 0], quaternions[:, 1 + axis] = np.cos(half), np.sin(half)
    return RotationTable(from_quaternions(quaternions))


def _describe(rotation: Tensor) -> str:
    """Describe angle, in [0, 180] degrees, and axis of one rotation matrix [3,3]."""
    angle = math.degrees(((rotation.trace() - 1) / 2).clamp(-1, 1).acos())
    axis = torch.linalg.eigh(rotation + rotation.T).eigenvectors[:, -1]
    x, y, z = (axis * _sense(rotation, axis)).tolist()
    return f"{angle:.0f}° about ({x:.2f}, {y:.2f}, {z:.2f})"


def _sense(rotation: Tensor, axis: Tensor) -> float:
    """Return 1 if the rotation about ``axis`` [3] is counterclockwise, else -1."""
    skew = rotation - rotation.T
    return -1.0 if torch.stack([skew[2, 1], skew[0, 2], skew[1, 0]]) @ axis < 0 else 1.0
