"""Measure how augmentations move embeddings of held-out samples: rotation, composition, cosines."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as fn

from care.augmentation import Augmenter, Table
from care.evaluation.composition import Composition, composition_error, spans
from care.evaluation.cosine import EDGES, cosine_histogram, mean_cosine
from care.evaluation.features import (
    Features,
    PlainFeatures,
    extract,
    extract_augmented,
    has_directions,
    is_one_point,
)
from care.evaluation.measure import Trained
from care.evaluation.results import Results, UndefinedError
from care.evaluation.rotation import RotationMeasures, best_rotations
from care.models import Network
from care.system.rng import generator

# γ_f compares all pairs: 1,000 images give 499,500 per augmentation.
GAMMA_IMAGES = 1000
NO_DIRECTION = (
    "features of length 0, or too long for float32, have no direction on the sphere: rotation, "
    "composition and cosines are not measured"
)
_ONE_POINT = (
    "all {} held-out embeddings are one point, so how augmentations rotate them is not measured: "
    "collapse"
)


class _Space:
    """Accumulates the measures of one feature space, one augmentation after the other."""

    def __init__(self, name: str, clean: Tensor) -> None:
        self.name = name
        self.clean = fn.normalize(clean, dim=1)
        self.without_direction = not has_directions(clean)
        self.shared = RotationMeasures(clean, GAMMA_IMAGES)
        self.named = RotationMeasures(clean, GAMMA_IMAGES)
        self.cosines = np.zeros(len(EDGES) - 1, dtype=np.int64)
        self.rotations: list[Tensor] = []
        self.compositions: list[Composition] = []

    def add(self, features: Tensor) -> None:
        """Add the features [N,F] under the next random augmentation."""
        self.without_direction |= not has_directions(features)
        self.rotations.append(self.shared.add(features))
        self.cosines += cosine_histogram(self.clean, features)

    def compose(self, both: Tensor) -> None:
        """Add the features under the first and then the last augmentation since the last call."""
        composed = best_rotations(self.clean, fn.normalize(both, dim=1)).proper
        pair = self.rotations[0], self.rotations[-1]
        self.compositions.append(composition_error(self.clean, *pair, composed))
        self.rotations = []

    def results(self) -> Results:
        """Return all defined measures with their details, and notes on the undefined ones."""
        if self.without_direction:
            return Results(notes=[f"{self.name}: {NO_DIRECTION}"])
        results = Results(details={f"{self.name}/cosine_shared": self.cosines})
        if is_one_point(self.clean):
            results.notes.append(f"{self.name}: {_ONE_POINT.format(len(self.clean))}")
            return results
        results.measures |= {f"{self.name}/{name}": v for name, v in self.shared.wahba().items()}
        results.measure(self.name, self.shared.gamma)
        results.measure(self.name, self._composition)
        details = {
            "wahba": np.array(self.shared.residuals),
            "wahba_o": np.array(self.shared.residuals_o),
            "named_wahba": np.array(self.named.residuals),
            "named_wahba_o": np.array(self.named.residuals_o),
            "named_gamma": np.array(self.named.gammas()),
        }
        results.details |= {f"{self.name}/{name}": values for name, values in details.items()}
        return results

    def _composition(self) -> dict[str, float]:
        if not spans(self.clean):
            raise UndefinedError(_not_identifiable(*self.clean.shape))
        return {
            "composition": _mean([error.matrices for error in self.compositions]),
            "composition_on_data": _mean([error.on_data for error in self.compositions]),
        }


def measure_geometry(trained: Trained) -> Results:
    """Measure how the trial's augmentations move its test samples; see :func:`compare_views`."""
    return compare_views(
        trained.network,
        trained.dataset.test.images,
        trained.dataset.augmenter(trained.config.augmentation),
        trained.config.evaluation.rotation_augmentations,
        trained.plain,
    )


def compare_views(
    network: Network,
    samples: Tensor,
    augmenter: Augmenter[Any],
    augmentations: int,
    plain: PlainFeatures | None = None,
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
    """
    clean = (plain or PlainFeatures(network, augmenter))(samples)
    spaces = [_Space(name, space) for name, space in zip(Features._fields, clean, strict=True)]
    tables = [
        augmenter.sample(1, generator(0, "rotation", index)) for index in range(augmentations)
    ]
    for index, table in enumerate(tables):
        features = extract_augmented(network, augmenter, table, samples)
        for space, values in zip(spaces, features, strict=True):
            space.add(values)
        if index % 2 or augmentations == 1:
            # Consecutive pairs are composed; a single augmentation with itself.
            first = tables[max(0, index - 1)]
            both = extract(network, samples, partial(augmenter.apply_both, first, table))
            for space, values in zip(spaces, both, strict=True):
                space.compose(values)
    named = augmenter.named()
    for table in named.values():
        features = extract_augmented(network, augmenter, table, samples)
        for space, values in zip(spaces, features, strict=True):
            space.named.add(values)
    return _combine(spaces, tables, list(named), _measure_positives(network, samples, augmenter))


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
    spaces: list[_Space], tables: list[Table], named: list[str], positives: Results
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


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _not_identifiable(count: int, dim: int) -> str:
    return (
        f"the {count} held-out embeddings do not span all {dim} dimensions, so the best "
        "rotation is not unique: its residual is valid, composition is not measured"
    )
