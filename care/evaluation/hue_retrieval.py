"""Measure whether the nearest neighbors of an image follow a change of its hue (Figs 9, 21).

The paper shows pictures; the measure is ours [A].
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from care.augmentation import ImageAugmenter
from care.augmentation.apply import augment
from care.augmentation.single import shift_hue
from care.evaluation.features import (
    Features,
    PlainFeatures,
    double,
    extract_augmented,
    has_directions,
    is_one_point,
)
from care.evaluation.measure import Trained
from care.evaluation.results import Results
from care.models import Network
from care.system.torchvision import functional

NEIGHBORS = 5
TURNS = tuple(step / 10 for step in range(1, 10))
"""Turns of the hue, evenly spaced over the circle."""
SHOWN_TURN = 0.3
_QUERIES = 1000
_SHOWN_QUERIES = 4
_LARGEST_THUMBNAIL = 64


def colorfulness(images: Tensor) -> Tensor:
    """Compute hue and strength of the color of each image as a complex number [N].

    It is the mean over pixels of chroma · e^{2πi hue} of the HSV hexagon. Its angle is the image's
    hue; its length, in [0, 1], measures how far the pixels agree. A hue shift of the image rotates
    it by an equal angle.

    Args:
        images: uint8 [N,3,H,W].
    """
    return torch.cat([_mean_color(part) for part in torch.split(images, 256)])


def _mean_color(images: Tensor) -> Tensor:
    pixels = images.float() / 255
    red, green, blue = pixels.unbind(1)
    value = pixels.amax(1)
    chroma = value - pixels.amin(1)
    safe = chroma.clamp_min(torch.finfo(torch.float32).tiny)
    sixths = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return torch.polar(chroma, sixths * (math.pi / 3)).mean((1, 2))


def nearest_neighbors(queries: Tensor, gallery: Tensor) -> Tensor:
    """Find five Euclidean neighbors of each query in the gallery, nearest first, int64 [Q,5].

    Args:
        queries: Embeddings [Q,d] of the gallery's first Q images, shifted or not. An image is not
            its own neighbor.
        gallery: Embeddings [n,d] of the original images, n > 5.
    """
    distances = torch.cdist(double(queries), double(gallery), compute_mode="use_mm_for_euclid_dist")
    own = torch.arange(len(queries), device=distances.device)
    distances[own, own] = torch.inf
    return distances.topk(NEIGHBORS, dim=1, largest=False).indices


def color_following(colors: Tensor, before: Tensor, after: Mapping[float, Tensor]) -> float:
    """Measure how far the hue of the neighbors follows the hue of the query.

    For a query and a shift δ of its hue, z and z' are the sums of the neighbors' colors before and
    after. Neighbors that follow have z' = z e^{2πiδ}. Let F be the mean of
    cos(arg z' - arg z - 2πδ) over queries and shifts, weighted by |z||z'|, and F₀ its value for
    neighbors that do not change. The result is (F - F₀) / (1 - F₀): 1 if neighbors follow, 0 if
    they do not change. It is 1/10 if their hue is independent of the query's, as TURNS are even.

    Args:
        colors: Colors of the gallery, complex [n]; see :func:`colorfulness`.
        before: Neighbors of the original queries, int64 [Q,k].
        after: Neighbors of the shifted queries, by shift, int64 [Q,k].

    Returns:
        At most 1; NaN if no neighbor has a color.
    """
    z = colors[before].sum(1)
    following = unchanged = weight = 0.0
    for turn, neighbors in after.items():
        moved = colors[neighbors].sum(1)
        strength = float((z.abs() * moved.abs()).sum())
        back = torch.polar(torch.ones(()), torch.tensor(-2 * math.pi * turn)).to(z.device)
        following += float((moved * z.conj() * back).real.sum())
        unchanged += strength * math.cos(2 * math.pi * turn)
        weight += strength
    return (following - unchanged) / (weight - unchanged) if weight > 0 else math.nan


def choose_shown_queries(colors: Tensor) -> Tensor:
    """Choose up to four queries for the figure: the most colorful of each quarter of the hues."""
    hue = torch.angle(colors) % (2 * math.pi)
    chosen = []
    for quarter in range(_SHOWN_QUERIES):
        low = quarter * math.pi / 2
        inside = ((hue >= low) & (hue < low + math.pi / 2)).nonzero().flatten()
        if len(inside):
            chosen.append(int(inside[colors[inside].abs().argmax()]))
    return torch.tensor(chosen, dtype=torch.int64)


def retrieval_grid(
    images: Tensor, changed: Tensor, queries: Tensor, before: Tensor, after: Tensor
) -> NDArray[np.uint8]:
    """Assemble pictures of queries and their neighbors, uint8 [Q,2,6,3,h,w] (Figs 9, 21).

    Row 0 of a query shows the image and its neighbors, row 1 the shifted image and its neighbors.

    Args:
        images: The gallery, uint8 [n,3,H,W].
        changed: The shifted queries, float32 [Q,3,H,W] in [0, 1].
        queries: Their indices in the gallery, int64 [Q].
        before: Neighbors of the original queries, int64 [Q,5].
        after: Neighbors of the shifted queries, int64 [Q,5].
    """
    device = images.device
    first = torch.cat([queries[:, None].to(device), before.to(device)], dim=1)
    rows = images[torch.stack([first, torch.cat([first[:, :1], after.to(device)], dim=1)], dim=1)]
    rows[:, 1, 0] = (changed * 255).round().to(torch.uint8).to(device)
    height, width = images.shape[-2:]
    if max(height, width) > _LARGEST_THUMBNAIL:
        scale = _LARGEST_THUMBNAIL / max(height, width)
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        rows = functional.resize(rows, size, antialias=True)
    grid: NDArray[np.uint8] = rows.cpu().numpy()
    return grid


def measure_color_following(trained: Trained) -> Results:
    """Measure color following of the trial's test images; see :func:`compare_neighbors`."""
    augmenter = trained.dataset.augmenter(trained.config.augmentation)
    assert isinstance(augmenter, ImageAugmenter)
    return compare_neighbors(trained.network, trained.dataset.test.images, augmenter, trained.plain)


def compare_neighbors(
    network: Network, images: Tensor, augmenter: ImageAugmenter, plain: PlainFeatures | None = None
) -> Results:
    """Measure ``color_following`` in both spaces, with pictures as details.

    Args:
        network: Unchanged.
        images: Held-out images, uint8 [N,3,H,W]; the first 1,000 are the queries.
        augmenter: Normalizes the images.
        plain: Cached features of the network.
    """
    if len(images) <= NEIGHBORS:
        return Results(notes=[f"color: {len(images)} images have no five neighbors each"])
    colors = colorfulness(images)
    if not bool(colors.abs().max() > 0):
        return Results(notes=["color: the images have no color"])
    queries = images[:_QUERIES]
    gallery = _unit((plain or PlainFeatures(network, augmenter))(images))
    turned = {
        turn: _unit(extract_augmented(network, augmenter, shift_hue(augmenter.size, turn), queries))
        for turn in TURNS
    }
    shown = choose_shown_queries(colors[: len(queries)])
    results = Results(details={"retrieval/shift": np.full(len(shown), SHOWN_TURN)})
    pixels = augment(shift_hue(augmenter.size, SHOWN_TURN), images[shown])
    for space, name in enumerate(Features._fields):
        before = nearest_neighbors(gallery[space][: len(queries)], gallery[space])
        after = {
            turn: nearest_neighbors(features[space], gallery[space])
            for turn, features in turned.items()
        }
        followed = color_following(colors.to(before.device), before, after)
        if is_one_point(gallery[space]) or not has_directions(gallery[space]):
            results.notes.append(
                f"{name}: color following is not measured: no image has nearest neighbors, as "
                "the features are one point or have no direction"
            )
        elif math.isnan(followed):
            results.notes.append(f"color: the neighbors in {name} have no color")
        else:
            results.measures[f"{name}/color_following"] = followed
        neighbors = before[shown], after[SHOWN_TURN][shown]
        results.details[f"{name}/retrieval"] = retrieval_grid(images, pixels, shown, *neighbors)
    return results


def _unit(features: Features) -> Features:
    return Features(*(fn.normalize(space, dim=1) for space in features))
