"""What embeddings of rotated proteins tell of their pose (Figs 3, 4; docs/paper.md §7).

The paper gives neither regressor nor number for these figures; both measures are ours [A].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from care.augmentation.rotation import RotationAugmenter, about_axis
from care.evaluation.features import Features, double, extract
from care.evaluation.linear_probe import fit_regression
from care.evaluation.measure import Trained
from care.evaluation.results import Outcome, UndefinedError
from care.models import Network
from care.system.rng import generator

_ROTATIONS = 20
_STEPS = 100
_SHOWN = 3
# Relative variance below which a path of float32 embeddings is rounding only.
_STILL = 1e-12


def axis_errors(train: Tensor, test: Tensor, network: Network, l2: float) -> Features:
    """The mean angle between the predicted and the true first principal axis, in degrees.

    Each protein is seen under 20 random rotations. The axis is read as its projector v vᵀ by ridge
    regression from frozen features of the training proteins; the prediction is the first
    eigenvector. A random axis is 57.3° (1 rad) off on average.

    Args:
        train: Training clouds [N,P,4].
        test: Held-out clouds [M,P,4].
        network: Embeds them; left as it was.
        l2: As in :func:`care.evaluation.linear_probe.fit_regression`.

    Returns:
        Angles in [0, 90], float64 [M·20], for the head's input and its output.
    """
    rotated = [_rotated(clouds, purpose) for clouds, purpose in ((train, "train"), (test, "test"))]
    axes = [principal_axes(clouds).flatten(1) for clouds in rotated]
    features = [extract(network, clouds) for clouds in rotated]
    angles = []
    for seen, unseen in zip(*features, strict=True):
        predicted = fit_regression(seen, axes[0], l2)(unseen)
        angles.append(_angles(predicted.reshape(-1, 3, 3), axes[1].reshape(-1, 3, 3)))
    return Features(*angles)


def principal_axes(clouds: Tensor) -> Tensor:
    """The direction in which each cloud extends most, as its projector v vᵀ, float64 [N,3,3].

    An axis has no sign; its projector says the same and has none to get wrong.

    Args:
        clouds: x, y, z and a mark, 1 for a point and 0 for padding, [N,P,4].
    """
    points, there = double(clouds[..., :3]), double(clouds[..., 3:])
    center = (points * there).sum(1, keepdim=True) / there.sum(1, keepdim=True)
    spread = (points - center) * there
    axis: Tensor = torch.linalg.eigh(spread.mT @ spread).eigenvectors[..., -1]
    return axis[:, :, None] * axis[:, None, :]


def trajectories(clouds: Tensor, network: Network) -> Tensor:
    """Embeddings under 100 evenly spaced rotations about each axis (Fig 3), float64 [N,3,100,d].

    Args:
        clouds: [N,P,4].
        network: Embeds them; left as it was.
    """
    augmenter = RotationAugmenter()
    found = []
    for axis in range(3):
        table = about_axis(axis, _STEPS)
        turned = [augmenter.apply(table, cloud.expand(_STEPS, -1, -1)) for cloud in clouds]
        embeddings = extract(network, torch.cat(turned)).head
        found.append(double(embeddings).reshape(len(clouds), _STEPS, -1))
    return torch.stack(found, dim=1)


def circularity(paths: Tensor) -> Tensor:
    """Measure how nearly each closed path is a circle at even speed, in [0, 1]; 1 is a circle.

    The measure is the share of a path's variance in its strongest harmonic (Fig 3, the number is
    ours [A]). A rotation of the protein that rotates embeddings moves them through a circle, once
    or several times, which is a single harmonic.

    Args:
        paths: Points at evenly spaced angles, [...,S,d]. A path that is one point counts as 0.

    Returns:
        float64 [...].

    Example:
        >>> angles = torch.arange(8) * torch.pi / 4
        >>> circle = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> round(circularity(circle).item(), 6)
        1.0
    """
    power = torch.fft.rfft(double(paths), dim=-2).abs().square().sum(-1)
    spectrum = power[..., 1:]
    if paths.shape[-2] % 2 == 0:
        spectrum[..., -1] /= 2  # the highest frequency of an even number of points has no twin
    total = spectrum.sum(-1)
    share = spectrum.amax(-1) / total
    return torch.where(total > _STILL * power[..., 0], share, 0.0)


def plane(paths: Tensor) -> Tensor:
    """Each path in the plane of its two largest principal components, [...,S,2], for pictures.

    The sign of each component is such that the path's first point is on its positive side.
    """
    centered = double(paths) - double(paths).mean(-2, keepdim=True)
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    flat: Tensor = centered @ directions[..., :2, :].mT
    signs = torch.where(flat[..., :1, :] < 0, -1.0, 1.0)
    return flat * signs


def measure_pose(trained: Trained) -> Outcome:
    """Measure :func:`pose_outcome` of the trial's point clouds."""
    clouds = trained.dataset.train.images, trained.dataset.test.images
    return pose_outcome(*clouds, trained.network, trained.config.evaluation.probe_l2)


def pose_outcome(train: Tensor, test: Tensor, network: Network, l2: float) -> Outcome:
    """How well the pose is read, and the paths that embeddings take.

    Returns:
        ``encoder/axis_error`` and ``head/axis_error`` in degrees and ``head/circularity``; and of
        the first three held-out proteins ``head/trajectories``, their paths in their planes,
        [3,3,100,2] by protein, axis, step.
    """
    errors = axis_errors(train, test, network, l2)
    paths = trajectories(test, network)
    measures = {
        "encoder/axis_error": float(errors.encoder.mean()),
        "head/axis_error": float(errors.head.mean()),
    }
    found = Outcome(measures, {"head/trajectories": plane(paths[:_SHOWN]).cpu().numpy()})
    found.measure("head", lambda: _circularity(paths))
    return found


def _circularity(paths: Tensor) -> dict[str, float]:
    circles = circularity(paths)
    if not bool((circles > 0).any()):
        raise UndefinedError("circularity is not measured: no rotation moves an embedding (0/0)")
    return {"circularity": float(circles.mean())}


def _rotated(clouds: Tensor, purpose: str) -> Tensor:
    """Each cloud under 20 rotations of its own, [N·20,P,4]."""
    augmenter = RotationAugmenter()
    repeated = clouds.repeat_interleave(_ROTATIONS, dim=0)
    table = augmenter.sample(len(repeated), generator(0, f"pose-{purpose}"))
    return augmenter.apply(table, repeated)


def _angles(predicted: Tensor, true: Tensor) -> Tensor:
    """Degrees between first eigenvectors of symmetric [N,3,3] and the axes of projectors."""
    symmetric = (predicted + predicted.mT) / 2
    axis = torch.linalg.eigh(symmetric).eigenvectors[..., -1]
    squared: Tensor = torch.einsum("ni,nij,nj->n", axis, true.to(axis.device), axis)
    return squared.clamp(0, 1).sqrt().acos() * (180 / math.pi)
