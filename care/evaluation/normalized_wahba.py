"""Normalize the Wahba residual and L_equi, so that models can be compared (docs/paper.md §2).

The printed residual is small for any encoder that augmentations hardly move. γ_f is small for any
encoder that they move far. Each ratio here is relative to chance: 0 for a rotation, 1 for chance.
Embeddings are expected on the unit sphere, and are centered. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.features import double
from care.evaluation.results import UndefinedError
from care.evaluation.rotation import best_rotations

SPAN = 0.9
"""Share of the variance in the leading directions."""
FOLDS = 5
"""Parts of the images; each is predicted from the others."""
# Mean squared distance below which float32 cannot distinguish two points of the sphere.
_STILL = 1e-12


class HeldOut(NamedTuple):
    """Squared errors of held-out augmented embeddings, mean over images.

    Attributes:
        rotated: Error of the best rotation and translation of the other images.
        moved: Error of their translation alone.
        rotated_span: Part of ``rotated`` in the leading directions.
        moved_span: Part of ``moved`` in the leading directions.
    """

    rotated: float
    moved: float
    rotated_span: float
    moved_span: float


def held_out(embeddings: Tensor, augmented: Tensor, span: int) -> HeldOut:
    """Predict f(a(x)) of each fifth of the images from the rotation of the other four fifths.

    Args:
        embeddings: f(x_i) as rows, [n,d].
        augmented: f(a(x_i)) as rows, under one augmentation a for all images, [n,d].
        span: Number of leading directions, the principal axes of ``augmented``.

    Raises:
        UndefinedError: Four fifths of the images are no more than d, so they leave R undetermined.
    """
    count, dim = embeddings.shape
    if count - math.ceil(count / FOLDS) <= dim:
        raise UndefinedError(
            f"Wahba residual on held-out images is not measured: {count} images are too few to fit "
            f"a rotation of {dim} dimensions on {FOLDS - 1} of {FOLDS} parts"
        )
    clean, moved = double(embeddings), double(augmented)
    axes = _leading_axes(moved - moved.mean(0), span)
    fold = torch.arange(count, device=clean.device) % FOLDS
    sums = torch.zeros(4, dtype=torch.float64, device=clean.device)
    for part in range(FOLDS):
        x, y = clean[fold != part], moved[fold != part]
        before, after = x.mean(0), y.mean(0)
        rotation = best_rotations(x - before, y - after).proper
        x, y = clean[fold == part] - before, moved[fold == part] - after
        errors = (x @ rotation.T - y, x - y)
        sums += torch.stack(
            [e.square().sum() for e in (*errors, *(e @ axes for e in errors))]
        ).cpu()
    return HeldOut(*(sums / count).tolist())


def wahba_over_movement(embeddings: Tensor, augmented: Tensor) -> float:
    """Compute the share of an augmentation's movement that no rotation explains, held out.

    The best rotation and translation of four fifths of the images predict f(a(x)) of the last one.
    The squared error is divided by that of the translation alone.

    Args:
        embeddings: f(x_i) as rows, [n,d] on the unit sphere, more than 5/4 d.
        augmented: f(a(x_i)) as rows, under one augmentation a for all images, [n,d].

    Returns:
        0 where a acts as a rotation; 1 where rotations predict no better than a translation, or
        more where they fit noise.

    Raises:
        UndefinedError: There are too few images, or the augmentation moves none of them.

    Example:
        >>> f = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double()
        >>> quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
        >>> round(wahba_over_movement(f, f @ quarter_turn.T), 6)
        0.0
    """
    errors = held_out(embeddings, augmented, embeddings.shape[1])
    return _ratio(errors.rotated, errors.moved)


def equivariance_over_random(embeddings: Tensor, augmented: Tensor, pairing: Tensor) -> float:
    """Divide L_equi by its value for equally long movements in directions of other images.

    Args:
        embeddings: f(x_i) as rows, [n,d] on the unit sphere.
        augmented: f(a(x_i)) as rows, under one augmentation a for all images, [n,d].
        pairing: The other image of each, a random permutation, int64 [n].

    Returns:
        0 where a acts as a rotation; about 1 where movements are independent of the image.

    Raises:
        UndefinedError: The augmentation moves no image.

    Example:
        >>> f = torch.eye(4)
        >>> equivariance_over_random(f, f.roll(1, dims=1), torch.tensor([1, 2, 3, 0]))
        0.0
    """
    clean, moved = double(embeddings), double(augmented)
    random = exchange_directions(clean, moved, pairing)
    return _ratio(
        squared_gram_difference(clean, moved), squared_gram_difference(clean, random), _STILL**2
    )


class _Terms(NamedTuple):
    """Squared lengths for one augmentation, mean over images, and L_equi, mean over pairs."""

    movement: float
    centered: float
    span: float
    random: float
    equivariance: float
    random_equivariance: float


class NormalizedWahba:
    """Accumulates normalized measures of one feature space, one augmentation after the other.

    Ratios are of sums over augmentations, so that one that hardly moves embeddings counts little.
    """

    def __init__(self, clean: Tensor, pair_images: int) -> None:
        """Start with the images without augmentation.

        Args:
            clean: f(x_i) as rows, [n,d] on the unit sphere.
            pair_images: Number of images, the first ones, whose pairs are compared.
        """
        self._clean = double(clean)
        self._pairs = slice(pair_images)
        self._mean = self._clean.mean(0)
        self._span = _count_leading(self._clean - self._mean)
        self._terms: list[_Terms] = []
        self._held_out: list[HeldOut] = []
        self._too_few = ""

    def add(self, augmented: Tensor, pairing: Tensor) -> None:
        """Add the embeddings under the next augmentation.

        Args:
            augmented: f(a(x_i)) as rows, [n,d] on the unit sphere.
            pairing: A random permutation of the images, int64 [n].
        """
        augmented, pairing = double(augmented), pairing.to(augmented.device)
        x, y = self._clean - self._mean, augmented - augmented.mean(0)
        errors = x @ best_rotations(x, y).proper.T - y
        shuffled = y[pairing]
        self._terms.append(
            _Terms(
                _mean_square(augmented - self._clean),
                _mean_square(errors),
                _mean_square(errors @ _leading_axes(y, self._span)),
                _mean_square(x @ best_rotations(x, shuffled).proper.T - shuffled),
                self._equivariance(augmented),
                self._equivariance(exchange_directions(self._clean, augmented, pairing)),
            )
        )
        try:
            self._held_out.append(held_out(self._clean, augmented, self._span))
        except UndefinedError as reason:
            self._too_few = str(reason)

    def _equivariance(self, augmented: Tensor) -> float:
        return squared_gram_difference(self._clean[self._pairs], augmented[self._pairs])

    def measures(self) -> tuple[Callable[[], dict[str, float]], ...]:
        """List the measures; each call may raise :class:`UndefinedError`."""
        return (
            self.size,
            self.residuals,
            self.over_random,
            self.over_movement,
            self.equivariance_over_random,
        )

    def details(self) -> dict[str, NDArray[np.float64]]:
        """Return the measures of each augmentation, in the order of :meth:`add`, each [A].

        Returns:
            ``movement``; ``wahba_centered`` and ``wahba_random``, divided by √n; with enough
            images ``wahba_over_movement``, NaN where nothing moves.
        """
        columns = {
            "movement": np.array([terms.movement for terms in self._terms]),
            "wahba_centered": np.sqrt([terms.centered for terms in self._terms]),
            "wahba_random": np.sqrt([terms.random for terms in self._terms]),
        }
        if not self._too_few:
            errors = ((error.rotated, error.moved) for error in self._held_out)
            over = [rotated / moved if moved > _STILL else math.nan for rotated, moved in errors]
            columns["wahba_over_movement"] = np.array(over)
        return columns

    def size(self) -> dict[str, float]:
        """Compute the quantities on which Wahba residual and γ_f depend beside the rotation.

        Returns:
            ``movement``, the mean of ‖f(a(x)) - f(x)‖², in [0, 4]; ``mean_norm``, ‖E f(x)‖, in
            [0, 1]; ``span_dim``, the number of principal axes with 90 % of the variance.
        """
        return {
            "movement": self._mean_of("movement"),
            "mean_norm": float(self._mean.norm()),
            "span_dim": float(self._span),
        }

    def residuals(self) -> dict[str, float]:
        """Compute mean residuals divided by √n, each in [0, 2].

        Returns:
            ``wahba_centered``, after the means are subtracted; ``wahba_span``, its part in the
            leading directions; ``wahba_random``, centered, of randomly paired images.
        """
        roots = {
            name: [math.sqrt(getattr(terms, name)) for terms in self._terms]
            for name in ("centered", "span", "random")
        }
        return {f"wahba_{name}": sum(values) / len(values) for name, values in roots.items()}

    def over_random(self) -> dict[str, float]:
        """Compute ``wahba_over_random``: squared residual, relative to that of a random pairing.

        Raises:
            UndefinedError: A random pairing has no residual.
        """
        return {"wahba_over_random": _ratio(self._mean_of("centered"), self._mean_of("random"))}

    def over_movement(self) -> dict[str, float]:
        """Compute ``wahba_over_movement`` and, in the leading directions, ``…_span``.

        Raises:
            UndefinedError: There are too few images, or no augmentation moves any.
        """
        if self._too_few:
            raise UndefinedError(self._too_few)
        rotated, moved, rotated_span, moved_span = map(sum, zip(*self._held_out, strict=True))
        return {
            "wahba_over_movement": _ratio(rotated, moved),
            "wahba_over_movement_span": _ratio(rotated_span, moved_span),
        }

    def equivariance_over_random(self) -> dict[str, float]:
        """Compute ``equivariance_over_random``: L_equi, relative to random directions of movement.

        Raises:
            UndefinedError: No augmentation moves any image.
        """
        mean = self._mean_of
        return {
            "equivariance_over_random": _ratio(
                mean("equivariance"), mean("random_equivariance"), _STILL**2
            )
        }

    def _mean_of(self, name: str) -> float:
        return sum(float(getattr(terms, name)) for terms in self._terms) / len(self._terms)


def squared_gram_difference(embeddings: Tensor, augmented: Tensor) -> float:
    """Compute L_equi as defined: E_{x≠x'} [f(a(x'))·f(a(x)) - f(x')·f(x)]², in [0, 4].

    Args:
        embeddings: f(x_i) as rows, float64 [n,d] on the unit sphere, n >= 2.
        augmented: f(a(x_i)) as rows, float64 [n,d] on the unit sphere.
    """
    difference = augmented @ augmented.T - embeddings @ embeddings.T
    count = len(embeddings)
    squares = difference.square().sum() - difference.diagonal().square().sum()
    return float(squares) / (count * (count - 1))


def exchange_directions(clean: Tensor, augmented: Tensor, pairing: Tensor) -> Tensor:
    """Move each embedding by its own angle in the direction in which another image moves.

    The result has the movement of the augmentation, and no relation of direction and image.

    Args:
        clean: f(x_i) as rows, float64 [n,d] on the unit sphere.
        augmented: f(a(x_i)) as rows, float64 [n,d] on the unit sphere.
        pairing: The other image of each, int64 [n].

    Returns:
        Points on the unit sphere, [n,d].
    """
    cosine = (clean * augmented).sum(1, keepdim=True).clamp(-1, 1)
    other = (augmented - clean)[pairing]
    tangent = fn.normalize(other - (other * clean).sum(1, keepdim=True) * clean, dim=1)
    return fn.normalize(cosine * clean + (1 - cosine.square()).sqrt() * tangent, dim=1)


def _leading_axes(centered: Tensor, count: int) -> Tensor:
    """Return the principal axes of most variance of centered rows [n,d], as columns [d,count]."""
    axes: Tensor = torch.linalg.eigh(centered.T @ centered).eigenvectors
    return axes[:, -count:]


def _count_leading(centered: Tensor) -> int:
    """Count the principal axes that together hold the share SPAN of the variance."""
    held = torch.linalg.eigvalsh(centered.T @ centered).flip(0).clamp_min(0).cumsum(0)
    return int((held < SPAN * held[-1]).sum()) + 1


def _mean_square(rows: Tensor) -> float:
    """Compute the mean squared length of rows [n,d]."""
    return float(rows.square().sum()) / len(rows)


def _ratio(error: float, reference: float, smallest: float = _STILL) -> float:
    if reference <= smallest:
        raise UndefinedError(
            "Wahba residual and L_equi relative to movement are not measured: augmentations do "
            "not move the embeddings (0/0)"
        )
    return error / reference
