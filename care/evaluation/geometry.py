"""Measure how augmentations move embeddings of held-out samples: rotation, composition, cosines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from care.augmentation import Augmenter, Table
from care.evaluation.cosine import EDGES, cosine_histogram, mean_cosine
from care.evaluation.features import (
    Features,
    PlainFeatures,
    extract,
    extract_augmented,
    has_directions,
)
from care.evaluation.measure import Trained
from care.evaluation.results import Results
from care.evaluation.space_measures import NO_DIRECTION, SpaceMeasures
from care.models import Network
from care.system.rng import generator


def measure_geometry(trained: Trained) -> Results:
    """Measure how the trial's augmentations move its test samples; see :func:`compare_views`."""
    return compare_views(
        trained.network,
        trained.dataset.test.images,
        trained.dataset.augmenter(trained.config.augmentation),
        trained.config.evaluation.rotation_augmentations,
        trained.plain,
        normalized="wahba" in trained.config.evaluation.readouts,
    )


def compare_views(
    network: Network,
    samples: Tensor,
    augmenter: Augmenter[Any],
    augmentations: int,
    plain: PlainFeatures | None = None,
    *,
    normalized: bool = False,
) -> Results:
    """Measure Wahba residuals over SO(d) and O(d), γ_f, composition, and cosines of positives.

    Augmentations depend on their distribution alone, not on trial or seed. Features of the encoder
    are scaled to the unit sphere first.

    Args:
        network: Unchanged.
        samples: Held-out samples [N,...].
        augmenter: Draws and applies augmentations.
        augmentations: Number of random augmentations, each shared by all samples.
        plain: Cached features of the network.
        normalized: Also measure what is relative to a model of chance, see
            :mod:`care.evaluation.normalized_wahba`.
    """
    clean = (plain or PlainFeatures(network, augmenter))(samples)
    spaces = [
        SpaceMeasures(name, space, normalized=normalized)
        for name, space in zip(Features._fields, clean, strict=True)
    ]
    tables = [
        augmenter.sample(1, generator(0, "rotation", index)) for index in range(augmentations)
    ]
    add_views(spaces, network, samples, augmenter, tables)
    named = augmenter.named()
    for table in named.values():
        features = extract_augmented(network, augmenter, table, samples)
        for space, values in zip(spaces, features, strict=True):
            space.named.add(values)
    return _combine(spaces, tables, list(named), _measure_positives(network, samples, augmenter))


def add_views(
    spaces: Sequence[SpaceMeasures],
    network: Network,
    samples: Tensor,
    augmenter: Augmenter[Any],
    tables: Sequence[Table],
) -> None:
    """Add augmentations to the measures of all spaces, and compose consecutive pairs.

    Args:
        spaces: Measures of each of the network's spaces.
        network: Unchanged.
        samples: The samples [N,...] of the measures.
        augmenter: Applies the tables.
        tables: One row each; a single one is composed with itself.
    """
    for index, table in enumerate(tables):
        features = extract_augmented(network, augmenter, table, samples)
        for space, values in zip(spaces, features, strict=True):
            space.add(values)
        if index % 2 or len(tables) == 1:
            first = tables[max(0, index - 1)]
            both = extract(network, samples, partial(augmenter.apply_both, first, table))
            for space, values in zip(spaces, both, strict=True):
                space.compose(values)


def _measure_positives(network: Network, samples: Tensor, augmenter: Augmenter[Any]) -> Results:
    """Measure cosines between two independently augmented views of each sample (Figs 11 to 16)."""
    views = []
    for index in (1, 2):
        table = augmenter.sample(len(samples), generator(0, f"positive-{index}"))
        views.append(extract_augmented(network, augmenter, table, samples))
    results = Results()
    for name, one, other in zip(Features._fields, *views, strict=True):
        if not (has_directions(one) and has_directions(other)):
            results.notes.append(f"{name}: {NO_DIRECTION}")
            continue
        results.details[f"{name}/cosine_positive"] = cosine_histogram(one, other)
        results.measures[f"{name}/positive_cosine"] = mean_cosine(one, other)
    return results


def _combine(
    spaces: list[SpaceMeasures], tables: list[Table], named: list[str], positives: Results
) -> Results:
    described = [text for table in tables for text in table.describe()]
    results = Results(
        details={
            "rotation/names": np.array(described),
            "named/names": np.array(named),
            "cosine/edges": EDGES,
        }
    )
    for part in (*(space.results() for space in spaces), positives):
        results.add(part)
    results.notes = list(dict.fromkeys(results.notes))
    return results
