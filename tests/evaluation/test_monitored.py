"""Accuracies and ranks while a network trains: against the final measures and brute force."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from care.config import AugmentationConfig, DataConfig, EvaluationConfig, TrialConfig
from care.config.loading import validate
from care.config.metrics import epoch_metrics
from care.data.dataset import Dataset, check_dataset, load_dataset
from care.errors import CareError, Problem
from care.evaluation.evaluate import evaluate
from care.evaluation.knn import knn_predict
from care.evaluation.monitor import Monitor
from care.evaluation.monitored import choose_part
from care.models import Network, build_network
from care.registry import MONITORED, MonitorEntry
from tests.helpers.colored_images import color_network, colored_dataset, small_network

AUGMENTATION = AugmentationConfig()
PARTS = ["knn_accuracy", "probe_accuracy", "rank"]
KEYS = {
    "heldout/knn_accuracy",
    "heldout/probe_accuracy",
    "heldout/encoder_rank",
    "heldout/head_rank",
}


def evaluation(measures: list[str] = PARTS, knn: int = 5, **monitor: Any) -> EvaluationConfig:
    settings = {"measures": measures, **monitor}
    return EvaluationConfig.model_validate({"monitor": settings, "knn_neighbors": knn})


def monitored(network: Network, dataset: Dataset, settings: EvaluationConfig) -> dict[str, float]:
    results = Monitor(dataset, dataset.augmenter(AUGMENTATION), settings)(network)
    assert not results.notes
    return results.measures


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DataConfig(), Path())


@pytest.fixture(scope="module")
def network(digits: Dataset) -> Network:
    """Untrained, with BatchNorm's statistics of the digits, so that accuracies are middling."""
    model = validate(TrialConfig, {"model": {"encoder": "small"}}, "test").model
    made = build_network(model, seed=0).train()
    images = digits.train.images[:256].float() / 128 - 1
    for _ in range(20):
        made(images)
    return made.eval()


def features(network: Network, dataset: Dataset, images: Tensor) -> Tensor:
    augmenter = dataset.augmenter(AUGMENTATION)
    with torch.no_grad():
        embedding = network.embed(augmenter.apply(augmenter.identity(), images))
    return embedding.features.double()


def test_on_all_samples_they_are_the_final_measures(network: Network, digits: Dataset) -> None:
    tree = {
        "model": {"encoder": "small"},
        "evaluation": {"knn_neighbors": 20, "rotation_augmentations": 1},
    }
    final = evaluate(network, digits, validate(TrialConfig, tree, "test")).measures
    now = monitored(network, digits, evaluation(knn=20, test_images=len(digits.test)))
    assert set(now) == KEYS
    assert now["heldout/knn_accuracy"] == final["encoder/knn_accuracy"]
    within = 3 / len(digits.test)  # the probe's problem is solved less exactly
    assert now["heldout/probe_accuracy"] == pytest.approx(
        final["encoder/probe_accuracy"], abs=within
    )


def test_parts_are_fixed_balanced_and_measured_alone(network: Network, digits: Dataset) -> None:
    settings = evaluation(knn=144, train_images=300, test_images=100)
    train = choose_part(digits.train, 300)
    test = choose_part(digits.test, 100)
    assert torch.bincount(digits.train.labels[train]).tolist() == [30] * 10
    assert torch.bincount(digits.test.labels[test]).tolist() == [10] * 10
    seen = features(network, digits, digits.train.images[train])
    unseen = features(network, digits, digits.test.images[test])
    labels, true = digits.train.labels[train], digits.test.labels[test]
    measures = monitored(network, digits, settings)
    # k keeps its share of the training samples: 144 of 1,437 are 30 of 300.
    right = knn_predict(seen, labels, unseen, 30, settings.knn_temperature) == true
    assert measures["heldout/knn_accuracy"] == pytest.approx(float(right.double().mean()))
    scaler = StandardScaler().fit(seen)
    model = LogisticRegression(C=1 / (settings.probe_l2 * 300), max_iter=10_000, tol=1e-8)
    model.fit(scaler.transform(seen), labels)
    expected = model.score(scaler.transform(unseen), true)
    assert measures["heldout/probe_accuracy"] == pytest.approx(expected, abs=0.03)
    singular = np.linalg.svd(unseen.numpy(), compute_uv=False)
    shares = singular / singular.sum() + 1e-7
    rank = np.exp(-(shares * np.log(shares)).sum())
    assert measures["heldout/encoder_rank"] == pytest.approx(rank, rel=1e-4)
    assert 1 <= measures["heldout/head_rank"] <= 64


def test_samples_outside_of_the_parts_do_not_matter(network: Network, digits: Dataset) -> None:
    settings = evaluation(train_images=100, test_images=50)
    before = monitored(network, digits, settings)
    inside = choose_part(digits.test, 50)
    images = digits.test.images.clone()
    outside = torch.ones(len(images), dtype=torch.bool)
    outside[inside] = False
    images[outside] = 255 - images[outside]
    other = dataclasses.replace(digits, test=dataclasses.replace(digits.test, images=images))
    assert monitored(network, other, settings) == before


def test_samples_without_a_label_are_not_learnt_from() -> None:
    dataset, net = colored_dataset(), small_network().eval()
    labels = dataset.train.labels.clone()
    labels[::2] = -1
    known = dataset.train.part((labels >= 0).nonzero().flatten())
    some = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, labels=labels))
    only = dataclasses.replace(dataset, train=known)
    assert monitored(net, some, evaluation()) == monitored(net, only, evaluation())


def test_one_point_has_no_neighbors_and_rank_1() -> None:
    dataset = colored_dataset()
    gray = torch.full_like(dataset.train.images, 128)
    train = dataclasses.replace(dataset.train, images=gray)
    results = Monitor(
        dataclasses.replace(dataset, train=train),
        dataset.augmenter(AUGMENTATION),
        evaluation(["knn_accuracy", "rank"]),
    )(color_network())
    assert results.notes == ["heldout: kNN is not measured: all training features are one point"]
    assert results.measures["heldout/head_rank"] == pytest.approx(1, abs=1e-3)


def test_every_metric_is_one_that_a_sweep_may_compare_by() -> None:
    reported = {name for entry in MONITORED.values() for name in entry.names}
    assert reported <= set(epoch_metrics())
    net = small_network()
    measured = monitored(net, colored_dataset(), evaluation(list(MONITORED)))
    assert set(measured) == reported


def test_a_measure_must_report_names_of_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = MonitorEntry("care.evaluation.monitor_measures:measure_rank", ("heldout/rank",))
    monkeypatch.setitem(MONITORED._entries, "rank", entry)
    with pytest.raises(CareError, match="returned encoder_rank, head_rank; its entry"):
        monitored(small_network(), colored_dataset(), evaluation(["rank"]))


Refused = Callable[..., Problem]


@pytest.mark.parametrize(
    ("tree", "field", "allowed"),
    [
        ({"every": 4}, "evaluation.monitor.every", "at most 3, the epochs"),
        ({"every": 0}, "evaluation.monitor.every", "greater than 0"),
        ({"measures": []}, "evaluation.monitor.measures", "one or more"),
        ({"measures": ["rank", "rank"]}, "evaluation.monitor.measures", "each once"),
        ({"measures": ["knn"]}, "evaluation.monitor.measures.0", "knn_accuracy"),
        ({"train_images": 1438}, "evaluation.monitor.train_images", "at most 1437"),
        ({"test_images": 361}, "evaluation.monitor.test_images", "at most 360"),
    ],
)
def test_bad_settings_are_refused(
    tree: dict[str, Any], field: str, allowed: str, refused: Refused
) -> None:
    whole = {"training": {"epochs": 3}, "evaluation": {"monitor": tree}}
    problem = refused(validate, TrialConfig, whole, "test")
    assert problem.field == field
    assert allowed in problem.allowed


@pytest.mark.parametrize("name", ["knn_acuracy", "knn"])
def test_a_misspelt_measure_gets_the_nearest(name: str, refused: Refused) -> None:
    tree = {"evaluation": {"monitor": {"measures": [name]}}}
    assert "did you mean 'knn_accuracy'" in refused(validate, TrialConfig, tree, "").allowed


def test_points_have_no_classes(refused: Refused) -> None:
    points_trial = {"data": {"name": "proteins"}, "model": {"encoder": "deep_sets"}}
    tree = {**points_trial, "evaluation": {"monitor": {"measures": ["rank", "knn_accuracy"]}}}
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("evaluation.monitor.measures", "knn_accuracy")
    assert "no classes" in problem.allowed
    tree["evaluation"] = {"monitor": {"measures": ["rank", "uniformity"]}}
    validate(TrialConfig, tree, "test")


def config(**monitor: Any) -> TrialConfig:
    tree = {
        "training": {"batch_size": 16},
        "evaluation": {"knn_neighbors": 5, "monitor": {"measures": ["knn_accuracy"], **monitor}},
    }
    return validate(TrialConfig, tree, "test")


def test_loaded_data_must_have_classes_and_enough_samples(refused: Refused) -> None:
    dataset = colored_dataset()
    check_dataset(config(train_images=48, test_images=24), dataset)
    unknown = dataclasses.replace(dataset.test, labels=torch.full_like(dataset.test.labels, -1))
    cases = [
        (config(), dataclasses.replace(dataset, classes=()), "measures", "without classes"),
        (config(), dataclasses.replace(dataset, test=unknown), "measures", "without classes"),
        (config(train_images=49), dataset, "train_images", "at most 48"),
        (config(test_images=25), dataset, "test_images", "at most 24"),
        (config(train_images=2), dataset, "train_images", "at least 3, one of each class"),
    ]
    for trial, data, field, allowed in cases:
        problem = refused(check_dataset, trial, data)
        assert problem.field == f"evaluation.monitor.{field}"
        assert allowed in problem.allowed
