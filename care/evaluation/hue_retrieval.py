"""Whether the neighbors of an image follow a change of its color (Figs 9, 21).

The paper shows pictures of it; the number is ours [A].
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
from care.augmentation.single import turned_hue
from care.evaluation.features import (
    Features,
    PlainFeatures,
    double,
    extract_augmented,
    has_directions,
    is_one_point,
)
from care.evaluation.measure import Trained
from care.evaluation.results import Outcome
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
    """Hue and strength of the color of each image, as a complex number [N].

    The mean over its pixels of chroma · e^{2πi hue} of the HSV hexagon: the angle is the image's
    hue, the length, in [0, 1], how much its pixels agree on one. Turning the hue of an image turns
    this number by the same angle.

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
    """The five Euclidean neighbors of each query in the gallery, nearest first, int64 [Q,5].

    Args:
        queries: Embeddings [Q,d] of the gallery's first Q images, changed or not. An image is no
            neighbor of its own.
        gallery: Embeddings [n,d] of the unchanged images, n > 5.
    """
    distances = torch.cdist(double(queries), double(gallery), compute_mode="use_mm_for_euclid_dist")
    own = torch.arange(len(queries), device=distances.device)
    distances[own, own] = torch.inf
    return distances.topk(NEIGHBORS, dim=1, largest=False).indices


def color_following(colors: Tensor, before: Tensor, after: Mapping[float, Tensor]) -> float:
    """How far the hue of the neighbors follows the hue of the query.

    For a query and a turn δ of its hue, z and z' are the sums of the neighbors' colors before and
    after; where the neighbors follow, z' = z e^{2πiδ}. With F the mean of cos(arg z' - arg z - 2πδ)
    over queries and turns, weighted by |z||z'|, and F₀ its value for neighbors that do not change,
    this is (F - F₀) / (1 - F₀): 0 where they stay, 1 where they follow, 1/10 where their hue has
    nothing to do with the query's, as TURNS are even.

    Args:
        colors: Of the gallery, complex [n]; see :func:`colorfulness`.
        before: Neighbors of the unchanged queries, int64 [Q,k].
        after: For each turn those of the changed queries, int64 [Q,k].

    Returns:
        At most 1; NaN where no neighbor has a color.
    """
    z = colors[before].sum(1)
    follow = still = weight = 0.0
    for turn, neighbors in after.items():
        moved = colors[neighbors].sum(1)
        strength = float((z.abs() * moved.abs()).sum())
        back = torch.polar(torch.ones(()), torch.tensor(-2 * math.pi * turn)).to(z.device)
        follow += float((moved * z.conj() * back).real.sum())
        still += strength * math.cos(2 * math.pi * turn)
        weight += strength
    return (follow - still) / (weight - still) if weight > 0 else math.nan


def shown_queries(colors: Tensor) -> Tensor:
    """Up to four queries for the picture: the most colorful one of each quarter of the hues."""
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
    """Pictures of queries and their neighbors, uint8 [Q,2,6,3,h,w] (Figs 9, 21).

    Row 0 of a query is the image and its neighbors, row 1 the changed image and its neighbors.

    Args:
        images: The gallery, uint8 [n,3,H,W].
        changed: The changed queries, float32 [Q,3,H,W] in [0, 1].
        queries: Their places in the gallery, int64 [Q].
        before: Neighbors of the unchanged ones, int64 [Q,5].
        after: Neighbors of the changed ones, int64 [Q,5].
    """
    place = images.device
    first = torch.cat([queries[:, None].to(place), before.to(place)], dim=1)
    rows = images[torch.stack([first, torch.cat([first[:, :1], after.to(place)], dim=1)], dim=1)]
    rows[:, 1, 0] = (changed * 255).round().to(torch.uint8).to(place)
    height, width = images.shape[-2:]
    if max(height, width) > _LARGEST_THUMBNAIL:
        scale = _LARGEST_THUMBNAIL / max(height, width)
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        rows = functional.resize(rows, size, antialias=True)
    grid: NDArray[np.uint8] = rows.cpu().numpy()
    return grid


def measure_color_following(trained: Trained) -> Outcome:
    """Measure :func:`color_outcome` of the test images."""
    augmenter = trained.dataset.augmenter(trained.config.augmentation)
    assert isinstance(augmenter, ImageAugmenter)
    return color_outcome(trained.network, trained.dataset.test.images, augmenter, trained.plain)


def color_outcome(
    network: Network, images: Tensor, augmenter: ImageAugmenter, plain: PlainFeatures | None = None
) -> Outcome:
    """``color_following`` of both spaces and the pictures of it.

    Args:
        network: Left as it was.
        images: Held out, uint8 [N,3,H,W], more than five; the first 1,000 are the queries.
        augmenter: Normalizes them.
        plain: Of the network.
    """
    if len(images) <= NEIGHBORS:
        return Outcome(notes=[f"color: {len(images)} images have no five neighbors each"])
    colors = colorfulness(images)
    if not bool(colors.abs().max() > 0):
        return Outcome(notes=["color: the images have none to follow"])
    queries = images[:_QUERIES]
    gallery = _unit((plain or PlainFeatures(network, augmenter))(images))
    turned = {
        turn: _unit(
            extract_augmented(network, augmenter, turned_hue(augmenter.size, turn), queries)
        )
        for turn in TURNS
    }
    shown = shown_queries(colors[: len(queries)])
    whole = Outcome(details={"retrieval/shift": np.full(len(shown), SHOWN_TURN)})
    pixels = augment(turned_hue(augmenter.size, SHOWN_TURN), images[shown])
    for space, name in enumerate(Features._fields):
        before = nearest_neighbors(gallery[space][: len(queries)], gallery[space])
        after = {
            turn: nearest_neighbors(features[space], gallery[space])
            for turn, features in turned.items()
        }
        places = colors.to(before.device)
        followed = color_following(places, before, after)
        if is_one_point(gallery[space]) or not has_directions(gallery[space]):
            whole.notes.append(
                f"{name}: color following is not measured: no image has nearest neighbors, as "
                "the features are one point or have no direction"
            )
        elif math.isnan(followed):
            whole.notes.append(f"color: the neighbors in {name} have none to follow")
        else:
            whole.measures[f"{name}/color_following"] = followed
        found = before[shown], after[SHOWN_TURN][shown]
        whole.details[f"{name}/retrieval"] = retrieval_grid(images, pixels, shown, *found)
    return whole


def _unit(features: Features) -> Features:
    return Features(*(fn.normalize(space, dim=1) for space in features))
