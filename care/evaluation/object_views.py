"""Measure what features know of 3DIEBench's objects: relative rotation, colors, and other views.

The measures are those of Garrido et al. (SIE, ICML 2023, section 5) as their code computes them
(repository facebookresearch/SIE):

- R² of the rotation from one view to another, a quaternion, and of the differences of floor and
  light hue, from the features of both views. R² is pooled over samples and columns.
- Mean reciprocal rank and hits: a predictor moves the first view of an object by a relative
  rotation; the right one of the object's views is ranked by cosine.
- PRE: of all test views the nearest one to the prediction has another rotation than asked for, by
  1 - (q·q')².

Theirs is a trained predictor, a matrix that is linear in the quaternion q. For any encoder that
matrix is fitted here to frozen features: ridge regression of f(x') on q ⊗ f(x). So these values
measure features, not a predictor, and exist for encoders without one. Further differences: pairs
are fixed, each view with one other of its object; probes are ridge regression, and a perceptron of
256 units for theirs of 1,024 (:mod:`care.evaluation.mlp_probe`); equal similarities share their
mean rank.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.data.dataset import ImageSet
from care.evaluation.features import Features, double, has_directions
from care.evaluation.linear_probe import LinearProbe, ProbeInputs, fit_regression
from care.evaluation.measure import Trained
from care.evaluation.mlp_probe import MlpProbe
from care.evaluation.quaternions import from_euler, invert, multiply
from care.evaluation.results import Results, UndefinedError
from care.system.rng import generator

MOST_PAIRS = 50_000
"""Largest number of pairs of training views to which probes and predictor are fitted."""
_HITS = (1, 5)
_QUERIES = 256  # whose similarities to all test views are in memory together
_FEWEST = 10  # pairs for a perceptron


class Pairs(NamedTuple):
    """Ordered pairs of views of one object.

    Attributes:
        first: Indices of the first views, int64 [P].
        second: Indices of the second views, int64 [P].
    """

    first: Tensor
    second: Tensor


def measure_object_views(trained: Trained) -> Results:
    """Measure rotation, colors, ranks of views and PRE in both spaces; see the module.

    Returns:
        Empty results for a data set without views of objects.
    """
    train, test = trained.dataset.train, trained.dataset.test
    results = Results()
    if "rotation_x" not in train.factors:
        return results
    pairs = [pair_views(split.factors["object"]) for split in (train, test)]
    l2 = trained.config.evaluation.probe_l2
    if min(len(each.first) for each in pairs) < _FEWEST:
        return Results(notes=[f"objects: fewer than {_FEWEST} pairs of views of one object"])
    features = [trained.plain(split.images) for split in (train, test)]
    for space, name in enumerate(Features._fields):
        seen, unseen = (double(each[space]) for each in features)
        views = (_Views(train, seen, pairs[0]), _Views(test, unseen, pairs[1]))
        trained.progress.check()
        results.measure(name, partial(_score_latents, *views, l2))
        results.measure(name, partial(_score_views, *views, l2))
    return results


def pair_views(objects: Tensor) -> Pairs:
    """Pair each view with one other view of its object, at random once for all trials.

    Args:
        objects: Object of each view, [N].

    Returns:
        At most :data:`MOST_PAIRS` pairs; none of an object with a single view.
    """
    objects = objects.cpu()
    order = torch.from_numpy(generator(0, "object-pairs").permutation(len(objects)))
    order = order[objects[order].argsort(stable=True)]  # random within each object
    sorted_objects = objects[order]
    _, counts = torch.unique_consecutive(sorted_objects, return_counts=True)
    ends = counts.cumsum(0)
    following = torch.arange(1, len(order) + 1)
    following[ends - 1] = ends - counts  # of the last view the first one
    first, second = order, order[following]
    several = first != second
    first, second = first[several], second[several]
    chosen = torch.from_numpy(generator(0, "object-pairs-part").permutation(len(first)))
    chosen = chosen[:MOST_PAIRS].sort().values
    return Pairs(first[chosen], second[chosen])


class _Views:
    """Features of the views of a split, and the latents of its pairs.

    Attributes:
        features: float64 [N,F].
        pairs: Pairs of views.
        rotations: Quaternion of each view, float64 [N,4].
    """

    def __init__(self, split: ImageSet, features: Tensor, pairs: Pairs) -> None:
        device = features.device
        self.features = features
        self.pairs = Pairs(*(index.to(device) for index in pairs))
        self._factors = {name: double(value).to(device) for name, value in split.factors.items()}
        angles = [self._factors[f"rotation_{axis}"] for axis in "xyz"]
        self.rotations = from_euler(torch.stack(angles, dim=1))

    @property
    def both(self) -> Tensor:
        """Features of both views of each pair, [P,2F]."""
        return torch.cat([self.features[self.pairs.first], self.features[self.pairs.second]], dim=1)

    def turns(self, pairs: Pairs) -> Tensor:
        """Relative rotation of each pair as a quaternion, [P,4]."""
        return multiply(invert(self.rotations[pairs.first]), self.rotations[pairs.second])

    def targets(self) -> dict[str, Tensor]:
        """Latents of each pair, by the name of their measure."""
        colors = [
            self._factors[name][self.pairs.second] - self._factors[name][self.pairs.first]
            for name in ("floor_hue", "light_hue")
        ]
        return {
            "object_rotation_r2": self.turns(self.pairs),
            "object_color_r2": torch.stack(colors, dim=1),
        }

    def first_views(self) -> Pairs:
        """Pair the first view of each object with each of its views, in the order of all views."""
        objects, numbers = self._factors["object"], self._factors["view"]
        order = numbers.argsort(stable=True)
        order = order[objects[order].argsort(stable=True)]
        _, counts = torch.unique_consecutive(objects[order], return_counts=True)
        starts = order[counts.cumsum(0) - counts]
        return Pairs(starts.repeat_interleave(counts), order)


def _score_latents(train: _Views, test: _Views, l2: float) -> dict[str, float]:
    """Measure R² of relative rotation and colors, and of single views' rotation."""
    measures: dict[str, float] = {}
    inputs, seen, unseen = ProbeInputs(train.both), train.both, test.both
    truth = test.targets()
    for name, targets in train.targets().items():
        linear = fit_regression(inputs, targets, l2)(unseen)
        measures[name] = pooled_r2(linear, truth[name], name)
        measures[f"{name}_mlp"] = pooled_r2(MlpProbe(seen, targets)(unseen), truth[name], name)
    alone = fit_regression(train.features, train.rotations, l2)(test.features)
    measures["object_pose_r2"] = pooled_r2(alone, test.rotations, "object_pose_r2")
    return measures


def pooled_r2(predicted: Tensor, targets: Tensor, of: str) -> float:
    """Compute R² = 1 - SSE / SST over all samples and columns together, with one mean for all.

    Raises:
        UndefinedError: The targets are constant.
    """
    targets = targets.to(predicted.device)
    spread = (targets - targets.mean()).square().sum()
    if not bool(spread > 0):
        raise UndefinedError(f"{of} is not measured: its target is constant over the test views")
    return float(1 - (targets - predicted).square().sum() / spread)


def _score_views(train: _Views, test: _Views, l2: float) -> dict[str, float]:
    """Measure ranks of predicted views, and the error of the nearest view's rotation."""
    if not (has_directions(train.features.float()) and has_directions(test.features.float())):
        raise UndefinedError("views are not ranked: features of length 0 have no cosine")
    seen, unseen = (fn.normalize(each.features, dim=1) for each in (train, test))
    predictor = fit_predictor(
        seen[train.pairs.first], train.turns(train.pairs), seen[train.pairs.second], l2
    )
    queries = test.first_views()
    predicted = fn.normalize(predict(predictor, unseen[queries.first], test.turns(queries)), dim=1)
    ranks = rank_views(predicted, unseen, queries)
    hits = {f"object_hit{k}": float((ranks <= k).double().mean()) for k in _HITS}
    error = rotation_error(predicted, unseen, test.rotations, test.rotations[queries.second])
    return {"object_mrr": float((1 / ranks).mean()), **hits, "object_pre": error}


def fit_predictor(before: Tensor, turns: Tensor, after: Tensor, l2: float) -> LinearProbe:
    """Fit f(x') = A(q) f(x) + b with A linear in the quaternion q, by ridge regression.

    Args:
        before: Features of the first views, [P,F].
        turns: Relative rotations, [P,4].
        after: Features of the second views, [P,F].
        l2: Penalty per sample.
    """
    return fit_regression(_outer(turns, before), after, l2)


def predict(predictor: LinearProbe, before: Tensor, turns: Tensor) -> Tensor:
    """Predict features [P,F] of rotated views; see :func:`fit_predictor`."""
    parts = zip(torch.split(before, MOST_PAIRS), torch.split(turns, MOST_PAIRS), strict=True)
    return torch.cat([predictor(_outer(turn, part)) for part, turn in parts])


def _outer(turns: Tensor, features: Tensor) -> Tensor:
    return (turns.unsqueeze(2) * features.unsqueeze(1)).flatten(1)


def rank_views(predicted: Tensor, features: Tensor, queries: Pairs) -> Tensor:
    """Rank the right view of each prediction among all views of its object, float64 [P], from 1.

    Args:
        predicted: Predictions of unit length, [P,F], sorted by object as ``queries``.
        features: Features of the views, of unit length, [N,F].
        queries: First view of the object, and the right view, of each prediction.
    """
    _, counts = torch.unique_consecutive(queries.first, return_counts=True)
    ranks = []
    for own in torch.split(torch.arange(len(predicted), device=predicted.device), counts.tolist()):
        cosines = predicted[own] @ features[queries.second[own]].T
        right = cosines.diagonal().unsqueeze(1)
        better = (cosines > right).sum(1)
        equal = (cosines == right).sum(1) - 1
        ranks.append(1 + better + equal / 2)
    return torch.cat(ranks).double()


def rotation_error(predicted: Tensor, features: Tensor, rotations: Tensor, right: Tensor) -> float:
    """Measure PRE: mean of 1 - (q·q')² between the nearest view's rotation q and the right one q'.

    Args:
        predicted: Predictions of unit length, [P,F].
        features: Features of all views, of unit length, [N,F].
        rotations: Quaternion of each view, [N,4].
        right: Quaternion that each prediction should have, [P,4].
    """
    errors = []
    for part, wanted in zip(
        torch.split(predicted, _QUERIES), torch.split(right, _QUERIES), strict=True
    ):
        nearest = (part @ features.T).argmax(1)
        errors.append(1 - (rotations[nearest] * wanted).sum(1).square())
    return float(torch.cat(errors).mean())
