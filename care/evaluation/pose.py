"""Measure how embeddings of rotated proteins encode their pose (Figs 3, 4; docs/paper.md §7).

The paper gives neither a regressor nor a number for these figures; both measures are ours [A].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from care.augmentation.rotation import RotationAugmenter, about_axis
from care.evaluation.features import Features, double, extract
from care.evaluation.linear_probe import fit_regression
from care.evaluation.measure import Trained
from care.evaluation.results import Results, UndefinedError
from care.models import Network
from care.system.rng import generator

_ROTATIONS = 20
_STEPS = 100
_SHOWN = 3
# Relative variance below which a path of float32 embeddings is only rounding.
_STILL = 1e-12


def axis_errors(train: Tensor, test: Tensor, network: Network, l2: float) -> Features:
    """Measure the angles between predicted and true first principal axes, in degrees.

    Each protein is used under 20 random rotations. Ridge regression from frozen features predicts
    the axis' projector v vᵀ; the predicted axis is its first eigenvector. A random axis has an
    error of 57.3° (1 rad) on average.

    Args:
        train: Training clouds [N,P,4].
        test: Held-out clouds [M,P,4].
        network: Embeds the clouds; unchanged.
        l2: Penalty, see :func:`care.evaluation.linear_probe.fit_regression`.

    Returns:
        Angles in [0, 90], float64 [M·20], for the features of encoder and head.
    """
    rotated = [_rotate(clouds, purpose) for clouds, purpose in ((train, "train"), (test, "test"))]
    axes = [principal_axes(clouds).flatten(1) for clouds in rotated]
    features = [extract(network, clouds) for clouds in rotated]
    angles = []
    for seen, unseen in zip(*features, strict=True):
        predicted = fit_regression(seen, axes[0], l2)(unseen)
        angles.append(_angles(predicted.reshape(-1, 3, 3), axes[1].reshape(-1, 3, 3)))
    return Features(*angles)


def principal_axes(clouds: Tensor) -> Tensor:
    """Compute the first principal axis of each cloud, as its projector v vᵀ, float64 [N,3,3].

    The sign of v is arbitrary; the projector does not depend on it.

    Args:
        clouds: x, y, z and a mask, 1 for a point and 0 for padding, [N,P,4].
    """
    points, mask = double(clouds[..., :3]), double(clouds[..., 3:])
    center = (points * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    spread = (points - center) * mask
    axis: Tensor = torch.linalg.eigh(spread.mT @ spread).eigenvectors[..., -1]
    return axis[:, :, None] * axis[:, None, :]


def trajectories(clouds: Tensor, network: Network) -> Tensor:
    """Embed clouds under 100 evenly spaced rotations about each axis, float64 [N,3,100,d] (Fig 3).

    Args:
        clouds: [N,P,4].
        network: Embeds the clouds; unchanged.
    """
    augmenter = RotationAugmenter()
    paths = []
    for axis in range(3):
        table = about_axis(axis, _STEPS)
        rotated = [augmenter.apply(table, cloud.expand(_STEPS, -1, -1)) for cloud in clouds]
        embeddings = extract(network, torch.cat(rotated)).head
        paths.append(double(embeddings).reshape(len(clouds), _STEPS, -1))
    return torch.stack(paths, dim=1)


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
        spectrum[..., -1] /= 2  # for even S, rfft has no conjugate of the highest frequency
    total = spectrum.sum(-1)
    share = spectrum.amax(-1) / total
    return torch.where(total > _STILL * power[..., 0], share, 0.0)


def project_to_plane(paths: Tensor) -> Tensor:
    """Project each path to the plane of its two largest principal components, [...,S,2].

    The sign of each component makes the path's first point positive.
    """
    centered = double(paths) - double(paths).mean(-2, keepdim=True)
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    flat: Tensor = centered @ directions[..., :2, :].mT
    signs = torch.where(flat[..., :1, :] < 0, -1.0, 1.0)
    return flat * signs


def measure_pose(trained: Trained) -> Results:
    """Measure how embeddings encode the pose of the trial's proteins; see :func:`predict_pose`."""
    clouds = trained.dataset.train.images, trained.dataset.test.images
    return predict_pose(*clouds, trained.network, trained.config.evaluation.probe_l2)


def predict_pose(train: Tensor, test: Tensor, network: Network, l2: float) -> Results:
    """Predict principal axes from frozen features, and follow embeddings of rotated proteins.

    Args:
        train: Training clouds [N,P,4].
        test: Held-out clouds [M,P,4].
        network: Embeds the clouds; unchanged.
        l2: Penalty, see :func:`care.evaluation.linear_probe.fit_regression`.

    Returns:
        ``encoder/axis_error`` and ``head/axis_error`` in degrees, and ``head/circularity``. The
        details have ``head/trajectories``, the projected paths of the first three held-out
        proteins, [3,3,100,2] by protein, axis, step.
    """
    errors = axis_errors(train, test, network, l2)
    paths = trajectories(test, network)
    measures = {
        "encoder/axis_error": float(errors.encoder.mean()),
        "head/axis_error": float(errors.head.mean()),
    }
    shown = project_to_plane(paths[:_SHOWN]).cpu().numpy()
    results = Results(measures, {"head/trajectories": shown})
    results.measure("head", lambda: _mean_circularity(paths))
    return results


def _mean_circularity(paths: Tensor) -> dict[str, float]:
    circles = circularity(paths)
    if not bool((circles > 0).any()):
        raise UndefinedError("circularity is not measured: no rotation moves an embedding (0/0)")
    return {"circularity": float(circles.mean())}


def _rotate(clouds: Tensor, purpose: str) -> Tensor:
    """Rotate each cloud by 20 random rotations, [N·20,P,4]."""
    augmenter = RotationAugmenter()
    repeated = clouds.repeat_interleave(_ROTATIONS, dim=0)
    table = augmenter.sample(len(repeated), generator(0, f"pose-{purpose}"))
    return augmenter.apply(table, repeated)


def _angles(predicted: Tensor, true: Tensor) -> Tensor:
    """Compute the angles, in degrees, between first eigenvectors of matrices and true axes.

    Args:
        predicted: Predicted projectors, not necessarily symmetric, [N,3,3].
        true: Projectors of the true axes, [N,3,3].
    """
    symmetric = (predicted + predicted.mT) / 2
    axis = torch.linalg.eigh(symmetric).eigenvectors[..., -1]
    squared: Tensor = torch.einsum("ni,nij,nj->n", axis, true.to(axis.device), axis)
    return squared.clamp(0, 1).sqrt().acos() * (180 / math.pi)
