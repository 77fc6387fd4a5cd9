from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from care.data.dataset import Dataset
from care.evaluation import few_labels
from care.evaluation.evaluate import evaluate
from care.evaluation.few_labels import DRAWS, choose_labels, classify_episode
from care.evaluation.results import Results
from tests.evaluation.test_evaluate import trial
from tests.helpers.colored_images import color_network, colored_dataset, small_network

L2 = 1e-3


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_labels, "EPISODES", 20)


def measured(dataset: Dataset) -> Results:
    return evaluate(small_network(), dataset, trial(readouts=["few_labels"], probe_l2=L2))


def with_more_classes(dataset: Dataset, classes: int) -> Dataset:
    """Classes that the images do not show, each with equally many images."""

    def relabelled(count: int) -> torch.Tensor:
        return torch.arange(count) % classes

    return replace(
        dataset,
        train=replace(dataset.train, labels=relabelled(len(dataset.train))),
        test=replace(dataset.test, labels=relabelled(len(dataset.test))),
        classes=tuple(map(str, range(classes))),
    )


def test_each_class_gets_its_share_and_at_least_one() -> None:
    labels = torch.tensor([0] * 500 + [1] * 250 + [2] * 7)
    chosen = choose_labels(labels, 0.01, 0)
    assert torch.bincount(labels[chosen]).tolist() == [5, 2, 1]
    assert len(set(chosen.tolist())) == len(chosen)
    assert not torch.equal(chosen, choose_labels(labels, 0.01, 1))
    assert torch.equal(choose_labels(labels, 1.0, 0), torch.arange(757))


def test_the_probe_of_a_share_is_that_of_scikit_learn() -> None:
    dataset = colored_dataset(300, 90)
    found = measured(dataset).measures
    network, augmenter = small_network().eval(), dataset.augmenter(trial().augmentation)
    with torch.no_grad():
        seen, unseen = (
            network.features(augmenter.apply(augmenter.identity(), split.images)).double().numpy()
            for split in (dataset.train, dataset.test)
        )
    accuracies = []
    for draw in range(DRAWS):
        index = choose_labels(dataset.train.labels, 0.1, draw).numpy()
        scaler = StandardScaler().fit(seen[index])
        logistic = LogisticRegression(C=1 / (L2 * len(index)), tol=1e-8, max_iter=2000)
        logistic.fit(scaler.transform(seen[index]), dataset.train.labels.numpy()[index])
        accuracies.append(logistic.score(scaler.transform(unseen), dataset.test.labels.numpy()))
    assert found["encoder/probe_accuracy_10pct"] == pytest.approx(np.mean(accuracies), abs=0.02)
    assert found["encoder/probe_accuracy_1pct"] <= 1


def test_an_episode_is_classified_as_by_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(5, 21, 4, generator=rng) + 2 * torch.eye(5)[:, None, :4]
    shots = points[:, :5].reshape(-1, 4).numpy()
    centroid = NearestCentroid().fit(shots, np.repeat(np.arange(5), 5))
    expected = centroid.score(points[:, 5:].reshape(-1, 4).numpy(), np.repeat(np.arange(5), 16))
    assert float(classify_episode(points, 5)) == pytest.approx(expected)
    assert 0.25 < expected < 0.95


def test_episodes_of_classes_that_images_do_not_show_are_at_chance() -> None:
    found = measured(with_more_classes(colored_dataset(120, 154), 7)).measures
    for shots in (1, 5):
        assert found[f"encoder/few_shot_{shots}"] == pytest.approx(1 / 5, abs=0.1)


def test_too_few_classes_for_an_episode_are_noted() -> None:
    results = measured(colored_dataset(120, 60))
    assert not [name for name in results.measures if "few_shot" in name]
    assert any(
        note == "encoder: 5-way 1-shot accuracy is not measured: 3 classes have 17 test images or "
        "more; 5 are needed"
        for note in results.notes
    )


def test_few_labels_suffice_for_classes_that_features_show() -> None:
    found = evaluate(color_network(), colored_dataset(90, 60), trial(readouts=["few_labels"]))
    assert found.measures["encoder/probe_accuracy_10pct"] > 0.95


@pytest.mark.parametrize(("classes", "what"), [((), "no classes"), (("red",), "one class")])
def test_what_has_no_classes_to_tell_apart_is_noted(classes: tuple[str, ...], what: str) -> None:
    dataset = replace(with_more_classes(colored_dataset(), 1), classes=classes)
    results = measured(dataset)
    assert f"few labels: not measured: 'colored' has {what}" in results.notes
    assert not [name for name in results.measures if "pct" in name]
