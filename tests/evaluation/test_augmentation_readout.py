from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from care.augmentation import AugmentationTable, sample
from care.config import AugmentationConfig
from care.evaluation.augmentation_readout import Views, score_augmentation, target_of
from care.evaluation.evaluate import evaluate
from care.registry import AUGMENTATION_TARGETS
from care.system.rng import generator
from tests.evaluation.test_evaluate import trial
from tests.helpers.colored_images import (
    UNCHANGED,
    color_network,
    colored_dataset,
)

SIZE = (16, 12)
L2 = 1e-3


def drawn(count: int, seed: int, config: AugmentationConfig | None = None) -> AugmentationTable:
    return sample(config or AugmentationConfig(), count, SIZE, generator(seed, "test"))


def mixed(table: AugmentationTable, noise: float, seed: int) -> Tensor:
    """Features that are a linear map of all parameters, with noise, as float32."""
    values = torch.cat([target_of(name, table) for name in AUGMENTATION_TARGETS], dim=1)
    rng = np.random.default_rng(0)
    features = values.numpy() @ rng.normal(size=(values.shape[1], 16))
    features += noise * np.random.default_rng(seed).normal(size=features.shape)
    return torch.from_numpy(features).float()


def scores(noise: float) -> tuple[dict[str, float], Views, Views]:
    train, test = drawn(400, 0), drawn(200, 1)
    seen, unseen = Views(mixed(train, noise, 1), train), Views(mixed(test, noise, 2), test)
    return score_augmentation("head", seen, unseen, L2).measures, seen, unseen


def test_linear_scores_are_those_of_scikit_learn() -> None:
    measures, train, test = scores(noise=0.5)
    scaler = StandardScaler().fit(train.features.double().numpy())
    x, y = (scaler.transform(views.features.double().numpy()) for views in (train, test))
    for name in ("crop", "jitter", "hue", "blur"):
        ridge = Ridge(alpha=L2 * len(x)).fit(x, target_of(name, train.table).numpy())
        expected = r2_score(target_of(name, test.table).numpy(), ridge.predict(y))
        assert measures[f"head/augmentation_{name}_r2"] == pytest.approx(expected, abs=1e-6)
        assert 0.05 < expected < 0.95
    logistic = LogisticRegression(C=1 / (L2 * len(x)), tol=1e-8, max_iter=1000)
    logistic.fit(x, train.table.flip.numpy())
    expected = logistic.score(y, test.table.flip.numpy())
    assert measures["head/augmentation_flip_accuracy"] == pytest.approx(expected)


def test_parameters_that_are_linear_in_features_are_read_completely() -> None:
    measures, _, _ = scores(noise=0)
    for name, value in measures.items():
        assert value > (0.8 if name.endswith("_mlp") else 0.99), name


def test_the_perceptron_reads_what_is_not_linear() -> None:
    """The features hold the size and the sign of the hue shift apart."""
    views = []
    for seed in (0, 1):
        table = drawn(1500, seed)
        hue = target_of("hue", table)
        noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(1500, 1)))
        features = torch.cat([hue.abs(), (hue > 0).double(), noise], dim=1).float()
        views.append(Views(features, table))
    measures = score_augmentation("head", views[0], views[1], L2).measures
    assert measures["head/augmentation_hue_r2"] < 0.9
    assert measures["head/augmentation_hue_r2_mlp"] > 0.98
    assert abs(measures["head/augmentation_crop_r2_mlp"]) < 0.05


def test_the_mean_color_knows_the_jitter_and_not_the_mirror() -> None:
    """The stand-in's encoder is the mean color; mirroring does not change it."""
    dataset = colored_dataset(400, 200)
    found = evaluate(color_network(), dataset, trial(readouts=["augmentation"])).measures
    assert found["encoder/augmentation_jitter_r2_mlp"] > 0.2
    assert found["encoder/augmentation_flip_accuracy"] == pytest.approx(0.5, abs=0.1)
    assert found["encoder/augmentation_crop_r2"] == pytest.approx(0, abs=0.1)
    assert found == evaluate(color_network(), dataset, trial(readouts=["augmentation"])).measures


def test_a_parameter_that_never_varies_has_no_score() -> None:
    results = evaluate(
        color_network(), colored_dataset(), trial(UNCHANGED, readouts=["augmentation"])
    )
    assert not [name for name in results.measures if "augmentation_" in name]
    for name in AUGMENTATION_TARGETS:
        note = f"encoder: {name} is not read from features: the augmentations never vary it"
        assert note in results.notes


def test_columns_that_never_vary_do_not_count() -> None:
    """Without a hue shift, R² of the jitter is the mean over the other three factors."""
    config = AugmentationConfig.model_validate({"color_jitter": {"hue": 0.0}})
    train, test = drawn(300, 0, config), drawn(300, 1, config)
    seen, unseen = Views(mixed(train, 0, 1), train), Views(mixed(test, 0, 2), test)
    results = score_augmentation("head", seen, unseen, L2)
    assert results.measures["head/augmentation_jitter_r2"] == pytest.approx(1, abs=0.01)
    assert "head/augmentation_hue_r2" not in results.measures


def test_fewer_pairs_than_features_are_not_scored() -> None:
    table = drawn(16, 0)
    views = Views(mixed(table, 0, 1), table)
    results = score_augmentation("head", views, views, L2)
    assert results.measures == {}
    assert results.notes == [
        "head: augmentation parameters are not measured: 16 images are no more than the 16 "
        "features of a pair"
    ]
