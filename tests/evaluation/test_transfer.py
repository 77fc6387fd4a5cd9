"""Transfer by logistic regression with a penalty chosen on a validation part, against sklearn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from care.config import TrialConfig
from care.config.metrics import final_measures
from care.data.dataset import Dataset, ImageSet
from care.evaluation.evaluate import evaluate
from care.evaluation.results import UndefinedError
from care.evaluation.resume import Paused, SavedProgress
from care.evaluation.transfer import (
    PENALTIES,
    choose_penalty,
    class_accuracy,
    validation_part,
)
from care.registry import SUITES
from tests.helpers.colored_images import color_network, colored_dataset


def samples(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three unequal classes that overlap, in eight dimensions of unequal scale."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    centers = np.random.default_rng(7).normal(size=(3, 8))
    features = (centers[labels] + 1.5 * rng.normal(size=(count, 8))) * np.logspace(0, 2, 8)
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("per_class", [False, True])
def test_the_penalty_is_the_one_that_sklearn_finds_best(per_class: bool) -> None:
    features, labels = samples(150, 0)
    held_out = torch.zeros(150, dtype=torch.bool)
    held_out[::3] = True
    choice = choose_penalty(features, labels, held_out, per_class)
    scaler = StandardScaler().fit(features[~held_out].double())
    seen, unseen = (scaler.transform(features[part].double()) for part in (~held_out, held_out))
    expected = []
    some = slice(8, 36, 4)  # beyond, sklearn's solver does not converge
    for penalty in PENALTIES[some]:
        probe = LogisticRegression(C=1 / (2 * penalty), tol=1e-8, max_iter=5000)
        predicted = probe.fit(seen, labels[~held_out]).predict(unseen)
        true = labels[held_out].numpy()
        score = (
            balanced_accuracy_score(true, predicted) if per_class else (predicted == true).mean()
        )
        expected.append(score)
    assert choice.accuracies[some] == pytest.approx(expected, abs=1e-12)
    assert choice.penalty == max(
        penalty
        for penalty, accuracy in zip(choice.penalties, choice.accuracies, strict=True)
        if accuracy == max(choice.accuracies)
    )


def test_mean_over_the_classes_that_occur() -> None:
    predicted, labels = torch.tensor([0, 0, 0, 2, 1]), torch.tensor([0, 0, 0, 0, 2])
    assert class_accuracy(predicted, labels, per_class=False) == pytest.approx(3 / 5)
    assert class_accuracy(predicted, labels, per_class=True) == pytest.approx((3 / 4 + 0) / 2)


def labelled(*labels: int, validation: list[int] | None = None) -> ImageSet:
    mask = None
    if validation is not None:
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[validation] = True
    images = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
    return ImageSet(images, torch.tensor(labels), {}, mask)


def test_a_fifth_of_each_class_validates() -> None:
    labels = [0] * 50 + [1] * 9 + [2] * 2 + [3]
    drawn = validation_part(labelled(*labels))
    counts = torch.bincount(torch.tensor(labels)[drawn], minlength=4)
    assert counts.tolist() == [10, 1, 1, 0]
    assert torch.equal(drawn, validation_part(labelled(*labels)))


def test_the_official_part_validates_where_it_can() -> None:
    official = validation_part(labelled(0, 1, 0, 1, validation=[2, 3]))
    assert official.tolist() == [False, False, True, True]
    part = validation_part(labelled(0, 1, 0, 1, 1, validation=[3, 4]))  # it is of one class only
    assert int(part[[0, 2]].sum()) == 1


def test_nothing_to_validate_on() -> None:
    with pytest.raises(UndefinedError, match="no class has two training images"):
        validation_part(labelled(0, 1, 2))


def trial(transfer: list[Any]) -> TrialConfig:
    settings = {"knn_neighbors": 5, "rotation_augmentations": 2, "transfer": transfer}
    return TrialConfig.model_validate({"evaluation": settings})


def suite(config: TrialConfig) -> list[Dataset]:
    return [
        dataclasses.replace(colored_dataset(train=24), name=data.name)
        for data in config.transfer_data
    ]


def test_a_suite_has_its_mean() -> None:
    config = trial(["suite11"])
    others = suite(config)
    wrong = others[3]  # its test labels are those of other images
    test = dataclasses.replace(wrong.test, labels=wrong.test.labels.roll(1))
    others[3] = dataclasses.replace(wrong, test=test)
    results = evaluate(color_network(), colored_dataset(), config, others)
    found = results.measures
    values = [found[f"encoder/transfer_{name}"] for name in SUITES["suite11"]]
    assert values[3] < 1
    assert values.count(1) == 10
    assert found["encoder/transfer_suite11"] == pytest.approx(sum(values) / 11)
    assert {name for name in found if "transfer" in name} <= set(final_measures())
    path = results.details["transfer/dtd"]
    assert path[:, 0].tolist() == list(PENALTIES[: len(path)])  # the least are left out
    assert path[:, 1].max() == 1


def test_a_set_that_cannot_be_measured_has_a_note_and_the_suite_no_mean() -> None:
    config = trial(["suite11"])
    others = suite(config)
    lonely = others[0].train.part(torch.tensor([0, 1, 2]))  # of one class each
    others[0] = dataclasses.replace(others[0], train=lonely)
    results = evaluate(color_network(), colored_dataset(), config, others)
    assert "encoder/transfer_suite11" not in results.measures
    assert "encoder/transfer_cifar10" not in results.measures
    assert any("transfer to cifar10 is not measured" in note for note in results.notes)


def test_an_interrupted_suite_continues_with_the_missing_set(tmp_path: Path) -> None:
    config = trial(["cifar10", "dtd", "pets"])
    whole = evaluate(color_network(), colored_dataset(), config, suite(config))
    opened: list[str] = []

    class Counted(list[Dataset]):
        def __getitem__(self, index: Any) -> Any:
            opened.append(config.transfer_data[index].name)
            return super().__getitem__(index)

    def progress(stop_at: int) -> SavedProgress:
        return SavedProgress(tmp_path, lambda: len(opened) >= stop_at, 1e9, lambda _: None)

    sets = Counted(suite(config))
    with pytest.raises(Paused):
        evaluate(color_network(), colored_dataset(), config, sets, progress(2))
    assert opened == ["cifar10", "dtd"]
    resumed = evaluate(color_network(), colored_dataset(), config, sets, progress(99))
    assert opened == ["cifar10", "dtd", "pets"]
    assert resumed.measures == whole.measures
