from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.linear_probe import (
    ProbeInputs,
    Standardization,
    fit_classifier,
    fit_regression,
    hue_r2,
    r2,
)

CLASSES = 4


def probe_accuracy(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, l2: float
) -> float:
    logits = fit_classifier(train, labels, l2)(test)
    return float((logits.argmax(1) == test_labels).double().mean())


def blobs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Overlapping classes in features of very different scale and offset."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    centers = np.random.default_rng(99).normal(size=(CLASSES, 6))
    features = (centers[labels] + rng.normal(size=(count, 6))) * 10.0 ** np.arange(-3, 3) + 5
    return torch.from_numpy(features), torch.from_numpy(labels)


@pytest.mark.parametrize("l2", [1e-1, 1e-2, 1e-4])
def test_classifier_agrees_with_sklearn(l2: float) -> None:
    (train, labels), (test, test_labels) = blobs(200, 0), blobs(100, 1)
    scaler = StandardScaler().fit(train)
    reference = LogisticRegression(C=1 / (l2 * len(train)), tol=1e-10, max_iter=10_000)
    reference.fit(scaler.transform(train), labels)
    probabilities = fit_classifier(train, labels, l2)(test).softmax(1)
    expected = reference.predict_proba(scaler.transform(test))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    accuracy = reference.score(scaler.transform(test), test_labels)
    assert probe_accuracy(train, labels, test, test_labels, l2) == pytest.approx(accuracy)
    assert 0.5 < accuracy < 1


def largest_gradient(features: Tensor, labels: Tensor, l2: float) -> float:
    """Of mean cross-entropy + l2/2 ‖W‖² at the probe, by autograd in float64."""
    probe = fit_classifier(features, labels, l2)
    inputs = Standardization.fit(features.double())(features)
    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    loss = fn.cross_entropy(inputs @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
    return max(float(part.abs().max()) for part in torch.autograd.grad(loss, (weight, bias)))


def correlated(count: int, dim: int, classes: int) -> tuple[Tensor, Tensor]:
    """float32 features whose variances fall over six orders of magnitude, as encoders' do."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=generator)
    scale = torch.logspace(0, -3, dim)
    hidden = torch.randn(count, dim, generator=generator) * scale
    hidden += 0.3 * (torch.randn(classes, dim, generator=generator) * scale)[labels]
    return hidden @ torch.randn(dim, dim, generator=generator) + 1, labels


@pytest.mark.parametrize("l2", [1e-1, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize(
    ("count", "dim", "classes"), [(400, 20, 2), (600, 60, 7), (50, 90, 3), (300, 10, 40)]
)
def test_the_gradient_at_the_optimum_vanishes(
    count: int, dim: int, classes: int, l2: float
) -> None:
    assert largest_gradient(*correlated(count, dim, classes), l2) < 1.1e-8


def test_overlapping_classes_have_an_optimum_without_penalty() -> None:
    assert largest_gradient(*correlated(2000, 8, 3), 0.0) < 1.1e-8


def test_a_class_without_samples_is_never_predicted() -> None:
    train, labels = blobs(200, 0)
    probabilities = fit_classifier(train, labels + (labels >= 2).long(), 1e-3)(train).softmax(1)
    expected = fit_classifier(train, labels, 1e-3)(train).softmax(1)
    assert float(probabilities[:, 2].max()) < 1e-6
    np.testing.assert_allclose(probabilities[:, [0, 1, 3, 4]], expected, atol=1e-5)


def test_equal_inputs_give_equal_bits() -> None:
    train, labels = correlated(300, 30, 5)
    one, other = (fit_classifier(train.clone(), labels, 1e-4) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)


def test_probes_that_share_their_inputs_are_those_that_do_not() -> None:
    train, labels = blobs(100, 0)
    shared, targets = ProbeInputs(train), train[:, :2] ** 2
    pairs = [
        (fit_classifier(shared, labels, 1e-3), fit_classifier(train, labels, 1e-3)),
        (fit_regression(shared, targets, 1e-3), fit_regression(train, targets, 1e-3)),
    ]
    for one, other in pairs:
        assert torch.equal(one(train), other(train))


def test_separable_classes_without_penalty_end() -> None:
    features = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    probe = fit_classifier(features, labels, l2=0.0)
    assert probe(features).isfinite().all()
    assert probe(features).argmax(1).tolist() == labels.tolist()


@pytest.mark.parametrize("l2", [1e-1, 1e-4, 0.0])
def test_regression_agrees_with_sklearn(l2: float) -> None:
    train, test = blobs(150, 0)[0], blobs(80, 1)[0]
    mixing = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = (train / train.std(0)) @ mixing + 3
    scaler = StandardScaler().fit(train)
    reference = Ridge(alpha=l2 * len(train)).fit(scaler.transform(train), targets)
    outputs = fit_regression(train, targets, l2)(test)
    np.testing.assert_allclose(outputs, reference.predict(scaler.transform(test)), atol=1e-8)


def test_hue_r2_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    hue, test_hue = torch.from_numpy(rng.random(120)), torch.from_numpy(rng.random(60))

    def circle(turns: Tensor) -> np.ndarray:
        angles = 2 * np.pi * turns.numpy()
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    mixing = rng.normal(size=(2, 5))
    train = circle(hue) @ mixing + rng.normal(size=(120, 5))
    test = circle(test_hue) @ mixing + rng.normal(size=(60, 5))
    scaler = StandardScaler().fit(train)
    reference = Ridge(alpha=0.01 * 120).fit(scaler.transform(train), circle(hue))
    expected = r2_score(circle(test_hue), reference.predict(scaler.transform(test)))
    measured = hue_r2(torch.from_numpy(train), hue, torch.from_numpy(test), test_hue, 0.01)
    assert measured == pytest.approx(expected, abs=1e-10)
    assert 0.2 < measured < 0.95


def test_hue_has_no_jump_from_one_to_zero() -> None:
    """Points of the circle itself give the hue exactly, on both sides of 0."""
    hue = torch.linspace(0, 1, 101)[:-1]
    angle = 2 * math.pi * hue
    features = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert hue_r2(features, hue, features, hue, 1e-8) == pytest.approx(1, abs=1e-6)


def test_r2_of_the_mean_is_zero_and_can_be_negative() -> None:
    targets = torch.tensor([[0.0, 1.0], [2.0, 5.0]], dtype=torch.float64)
    assert r2(targets.mean(0).expand(2, 2), targets) == 0
    assert r2(targets.flip(0), targets) == -3


def test_constant_features_carry_nothing_and_break_nothing() -> None:
    """Dead units, also with the rounding of float32, and other values at test time."""
    (train, labels), test = blobs(200, 0), blobs(100, 1)[0]
    noise = 1e-8 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0)).double()
    padded = torch.cat([train, torch.zeros(200, 1), 0.1 + noise], dim=1)
    padded_test = torch.cat([test, torch.ones(100, 1), torch.full((100, 1), 7.0)], dim=1)
    plain = fit_classifier(train, labels, 1e-3)(test)
    torch.testing.assert_close(fit_classifier(padded, labels, 1e-3)(padded_test), plain)
    targets = train[:, :2]
    expected = fit_regression(train, targets, 0.0)(test)
    torch.testing.assert_close(fit_regression(padded, targets, 0.0)(padded_test), expected)


def test_standardized_training_features_have_mean_0_and_variance_1() -> None:
    train = blobs(200, 0)[0]
    standardized = Standardization.fit(train)(train)
    torch.testing.assert_close(standardized.mean(0), torch.zeros(6, dtype=torch.float64))
    expected = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(standardized.var(0, correction=0), expected)


def test_probe_trains_inside_no_grad_and_leaves_the_features() -> None:
    train, labels = blobs(50, 0)
    before = train.clone()
    with torch.no_grad():
        inside = probe_accuracy(train, labels, train, labels, 1e-3)
    assert inside == probe_accuracy(train, labels, train, labels, 1e-3)
    assert inside > 1.5 / CLASSES
    assert torch.equal(train, before)
