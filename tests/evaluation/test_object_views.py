"""Measures of views of objects, against scipy and loops over single views as in SIE's code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional as fn

from care.config import TrialConfig
from care.config.metrics import final_measures
from care.data.dataset import load_dataset
from care.data.prepare import prepare
from care.evaluation.evaluate import evaluate
from care.evaluation.object_views import (
    Pairs,
    fit_predictor,
    pair_views,
    pooled_r2,
    predict,
    rank_views,
    rotation_error,
)
from care.evaluation.quaternions import from_euler, invert, multiply
from care.evaluation.results import UndefinedError
from care.models import build_network
from tests.helpers.listener import Listener
from tests.helpers.objects import write_objects


def angles(count: int, seed: int, limit: float = np.pi) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-limit, limit, (count, 3))


def test_quaternions_are_those_of_scipy_with_their_sign() -> None:
    first, second = angles(200, 0), angles(200, 1)
    ours = [from_euler(torch.from_numpy(each)) for each in (first, second)]
    theirs = [Rotation.from_euler("xyz", each) for each in (first, second)]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.numpy() == pytest.approx(other.as_quat(), abs=1e-12)
    relative = multiply(invert(ours[0]), ours[1]).numpy()
    assert relative == pytest.approx((theirs[0].inv() * theirs[1]).as_quat(), abs=1e-12)


def test_each_view_is_paired_with_one_other_view_of_its_object() -> None:
    objects = torch.tensor([3.0, 1, 3, 2, 1, 3, 3, 1])
    pairs = pair_views(objects)
    assert sorted(pairs.first.tolist()) == sorted(pairs.second.tolist()) == [0, 1, 2, 4, 5, 6, 7]
    assert bool((pairs.first != pairs.second).all())
    assert torch.equal(objects[pairs.first], objects[pairs.second])


def test_r2_is_pooled_over_columns() -> None:
    rng = np.random.default_rng(0)
    targets, predicted = rng.normal([1, 5], [1, 3], (50, 2)), rng.normal(size=(50, 2))
    expected = 1 - ((targets - predicted) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    found = pooled_r2(torch.from_numpy(predicted), torch.from_numpy(targets), "color")
    assert found == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UndefinedError, match="constant"):
        pooled_r2(torch.zeros(3, 2), torch.ones(3, 2), "color")


def objects_of(count: int, views: int) -> Pairs:
    index = torch.arange(count * views)
    return Pairs(index // views * views, index)


def test_ranks_and_pre_are_those_of_a_loop() -> None:
    torch.manual_seed(0)
    queries = objects_of(6, 5)
    features = fn.normalize(torch.randn(30, 4, dtype=torch.float64), dim=1)
    predicted = fn.normalize(torch.randn(30, 4, dtype=torch.float64), dim=1)
    rotations = Rotation.from_euler("xyz", angles(30, 2)).as_quat()
    ranks, errors = [], []
    for index in range(30):
        start = index // 5 * 5
        order = np.argsort(-(features[start : start + 5] @ predicted[index]).numpy())
        ranks.append(1 + int(np.flatnonzero(order == index - start)[0]))
        nearest = int((features @ predicted[index]).argmax())
        errors.append(1 - float(rotations[nearest] @ rotations[index]) ** 2)
    assert rank_views(predicted, features, queries).tolist() == ranks
    found = rotation_error(
        predicted, features, torch.from_numpy(rotations), torch.from_numpy(rotations)
    )
    assert found == pytest.approx(np.mean(errors), abs=1e-12)


def test_equal_views_share_their_mean_rank() -> None:
    same = torch.ones(10, 1, dtype=torch.float64)
    assert rank_views(same, same, objects_of(2, 5)).tolist() == [3.0] * 10


def test_features_that_rotate_are_predicted_without_a_trained_predictor() -> None:
    """q' = q · (q⁻¹ q') is linear in the relative rotation and in q."""
    rotations = from_euler(torch.from_numpy(angles(400, 3, np.pi / 2)))
    pairs = pair_views(torch.arange(400) // 20)
    turns = multiply(invert(rotations[pairs.first]), rotations[pairs.second])
    predictor = fit_predictor(rotations[pairs.first], turns, rotations[pairs.second], 1e-9)
    queries = objects_of(20, 20)
    unseen = from_euler(torch.from_numpy(angles(400, 4, np.pi / 2)))
    wanted = multiply(invert(unseen[queries.first]), unseen[queries.second])
    predicted = fn.normalize(predict(predictor, unseen[queries.first], wanted), dim=1)
    assert rank_views(predicted, unseen, queries).tolist() == [1.0] * 400
    assert rotation_error(predicted, unseen, unseen, unseen) == pytest.approx(0, abs=1e-12)


def trial(**data: object) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "data": {"name": "3diebench", "side": 16, "train_images": 200, **data},
            "model": {"encoder": "small"},
            "training": {"batch_size": 32},
            "evaluation": {"knn_neighbors": 5, "rotation_augmentations": 2},
        }
    )


def test_a_trial_on_the_miniature_is_measured(tmp_path: Path) -> None:
    """Views are colored by their rotation, which an untrained encoder passes on."""
    write_objects(tmp_path, side=16)
    config = trial()
    prepare(config.data, tmp_path, Listener())
    dataset = load_dataset(config.data, tmp_path)
    network = build_network(config.model, 0)
    results = evaluate(network, dataset, config)
    found = {name: value for name, value in results.measures.items() if "object_" in name}
    assert set(found) == {name for name in final_measures() if "object_" in name}
    assert found["encoder/object_pose_r2"] > 0.9
    assert found["encoder/object_rotation_r2_mlp"] > 0.5
    assert found["encoder/object_color_r2_mlp"] < 0.2  # the images do not show the light
    assert found["encoder/object_mrr"] > 0.1  # a random order of 50 views has 0.09
    assert 0 <= found["encoder/object_pre"] <= 1
    assert evaluate(network, dataset, config).measures == results.measures


def test_too_few_pairs_have_a_note(tmp_path: Path) -> None:
    write_objects(tmp_path, side=16)
    config = trial()
    prepare(config.data, tmp_path, Listener())
    dataset = load_dataset(config.data, tmp_path)

    alone = dict(dataset.test.factors, object=torch.arange(len(dataset.test)).float())
    lonely = replace(dataset, test=replace(dataset.test, factors=alone))
    found = evaluate(build_network(config.model, 0), lonely, config)
    assert not [name for name in found.measures if "object_" in name]
    assert any("fewer than 10 pairs" in note for note in found.notes)
