"""What features are judged by, against the straightforward way to write it; all on one core."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as fn

from benchmarks.measure import Found, compare
from care.evaluation.knn import knn_predict
from care.evaluation.linear_probe import Standardization, fit_classifier

_CLASSES, _FEATURES = 10, 256
_TRAIN, _TEST = 10_000, 500
_NEIGHBORS, _TEMPERATURE = 200, 0.5
_PROBED, _L2 = 4000, 1e-3
_ADAM_STEPS, _ADAM_RATE = 1000, 3e-2
# By how much Adam's loss may exceed the minimum: it does not come nearer in reasonable time.
_ADAM_SLACK = 1e-3


def _features(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Overlapping clouds, one a class, and their labels."""
    centers = torch.randn(_CLASSES, _FEATURES, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % _CLASSES
    noise = torch.randn(count, _FEATURES, generator=generator)
    return centers[labels] + 6 * noise, labels


def knn() -> list[Found]:
    """kNN with the authors' k and weights, 500 queries among 10,000 features."""
    (train, labels), (test, _) = _features(_TRAIN, 1), _features(_TEST, 2)

    def ours() -> Tensor:
        return knn_predict(train, labels, test, _NEIGHBORS, _TEMPERATURE)

    def theirs() -> Tensor:
        return _sorted_votes(train, labels, test)

    # Sums of weights in another order may decide a query whose two best classes tie.
    assert (ours() == theirs()).double().mean() > 0.99
    return [compare("knn", "a loop over queries that sorts all cosines", ours, theirs, pairs=5)]


def _sorted_votes(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    bank = fn.normalize(train, dim=1)
    predicted = []
    for query in fn.normalize(test, dim=1):
        cosines, order = (bank @ query).sort(descending=True)
        votes = torch.zeros(_CLASSES)
        weights = (cosines[:_NEIGHBORS] / _TEMPERATURE).exp()
        votes.index_add_(0, labels[order[:_NEIGHBORS]], weights)
        predicted.append(votes.argmax())
    return torch.stack(predicted)


def linear_probe() -> list[Found]:
    """The probe's convex problem, solved by others to its minimum or near it."""
    features, labels = _features(_PROBED, 1)
    probe = fit_classifier(features, labels, _L2)
    least = _loss(probe.weight, probe.bias, _standardized(features), labels)

    def ours() -> object:
        return fit_classifier(features, labels, _L2)

    return [
        compare(
            "linear-probe", versus, ours, _checked(solve, features, labels, least, slack), pairs=3
        )
        for versus, solve, slack in (
            ("scikit-learn's LogisticRegression", _by_sklearn, 1e-6),
            ("Adam on all samples, to 0.1 % of the minimum", _by_adam, _ADAM_SLACK),
        )
    ]


_Solver = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _checked(
    solve: _Solver, features: Tensor, labels: Tensor, least: float, slack: float
) -> Callable[[], None]:
    """Solve it, and see that the loss is the minimum but for ``slack``."""

    def action() -> None:
        inputs = _standardized(features)
        found = _loss(*solve(inputs, labels, least), inputs, labels)
        assert abs(found / least - 1) < slack, (found, least)

    return action


def _standardized(features: Tensor) -> Tensor:
    return Standardization.fit(features.double())(features)


def _loss(weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor) -> float:
    return float(_objective(weight.double(), bias.double(), inputs, labels))


def _objective(weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    return fn.cross_entropy(inputs @ weight.T + bias, labels) + _L2 / 2 * weight.square().sum()


def _by_sklearn(inputs: Tensor, labels: Tensor, least: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    found = LogisticRegression(C=1 / (_L2 * len(inputs)), tol=1e-6, max_iter=1000)
    with threadpool_limits(1):  # NumPy's threads are not torch's
        found.fit(inputs.numpy(), labels.numpy())
    return torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_)


def _by_adam(inputs: Tensor, labels: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """In float32, as one trains a layer, until it is as near to the minimum as it has to be."""
    layer = torch.nn.Linear(_FEATURES, _CLASSES)
    optimizer = torch.optim.Adam(layer.parameters(), lr=_ADAM_RATE)
    rows = inputs.float()
    for _ in range(_ADAM_STEPS):
        loss = _objective(layer.weight, layer.bias, rows, labels)
        if loss.item() < least * (1 + _ADAM_SLACK / 2):
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return layer.weight.detach(), layer.bias.detach()
