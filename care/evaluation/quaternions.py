"""Unit quaternions (x, y, z, w) of rotations given by Euler angles."""

from __future__ import annotations

import torch
from torch import Tensor


def from_euler(angles: Tensor) -> Tensor:
    """Convert extrinsic rotations about x, then y, then z, in radians [N,3], to [N,4].

    The result is continuous in the angles. So its sign is that of scipy's
    ``Rotation.from_euler("xyz", angles).as_quat()``.
    """
    cosine, sine = (angles / 2).cos(), (angles / 2).sin()
    zero = torch.zeros_like(cosine[:, 0])

    def about(axis: int) -> Tensor:
        vector = [sine[:, axis] if axis == column else zero for column in range(3)]
        return torch.stack([*vector, cosine[:, axis]], dim=1)

    return multiply(about(2), multiply(about(1), about(0)))


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Multiply quaternions [N,4]: the rotation ``second``, then ``first``."""
    a, b = first[:, :3], second[:, :3]
    wa, wb = first[:, 3:], second[:, 3:]
    vector = wa * b + wb * a + torch.linalg.cross(a, b, dim=1)
    scalar = wa * wb - (a * b).sum(1, keepdim=True)
    return torch.cat([vector, scalar], dim=1)


def invert(quaternions: Tensor) -> Tensor:
    """Invert unit quaternions [N,4]."""
    return torch.cat([-quaternions[:, :3], quaternions[:, 3:]], dim=1)
