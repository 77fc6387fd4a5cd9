from __future__ import annotations

import pytest
import torch
from scipy.stats import special_ortho_group
from torch import Tensor
from torch.nn import functional as fn

from care.config import AugmentationConfig
from care.evaluation.evaluate import evaluate
from care.evaluation.ranking import AUGMENTATIONS, rank_views
from care.evaluation.results import Results
from tests.evaluation.test_evaluate import AUGMENTATION, trial
from tests.helpers.colored_images import UNCHANGED, color_network, colored_dataset

CHANCE = sum(1 / k for k in range(1, AUGMENTATIONS + 1)) / AUGMENTATIONS


def points(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def rotation(dim: int, seed: int) -> Tensor:
    return torch.from_numpy(special_ortho_group.rvs(dim, random_state=seed))


def test_ranks_are_those_of_the_sorted_cosines() -> None:
    predicted, views = points(7, 230, 3), points(7, 230, 3, seed=1)
    reciprocal, hits = [], {1: 0, 5: 0}
    for k in range(7):
        for i in range(230):
            cosines = [float(torch.cosine_similarity(predicted[k, i], v[i], dim=0)) for v in views]
            rank = sorted(cosines, reverse=True).index(cosines[k]) + 1
            reciprocal.append(1 / rank)
            for most in hits:
                hits[most] += rank <= most
    ranking = rank_views(predicted, views)
    total = len(reciprocal)
    assert ranking.mrr == pytest.approx(sum(reciprocal) / total)
    assert (ranking.hit1, ranking.hit5) == pytest.approx((hits[1] / total, hits[5] / total))


def test_a_prediction_that_ignores_the_augmentation_is_exactly_at_chance() -> None:
    """Each of the K views then has each rank once, whatever the encoder."""
    views = points(AUGMENTATIONS, 9, 4)
    ranking = rank_views(views[:1].expand(AUGMENTATIONS, -1, -1), views)
    assert ranking == pytest.approx((CHANCE, 1 / AUGMENTATIONS, 5 / AUGMENTATIONS))


def test_equal_candidates_share_their_ranks() -> None:
    ranking = rank_views(torch.ones(5, 1, 2), torch.ones(5, 1, 2))
    assert ranking == pytest.approx((1 / 3, 0, 1))


def measured(augmentation: AugmentationConfig = AUGMENTATION, train: int = 200) -> Results:
    """Measures of the stand-in, whose encoder is the mean color."""
    config = trial(augmentation, readouts=["ranking"], knn_neighbors=2)
    return evaluate(color_network(), colored_dataset(train, 40), config)


def test_rotations_of_training_images_rank_views_of_others() -> None:
    """The mean color moves with the jitter, which is common to all images."""
    found = measured().measures
    assert found["encoder/ranking_mrr"] > 2 * CHANCE
    assert found["encoder/ranking_hit1"] <= found["encoder/ranking_hit5"] <= 1
    assert found["encoder/ranking_mrr"] > found["encoder/ranking_mrr_mean_movement"]
    assert found == measured().measures


def test_exact_rotations_rank_every_view_first() -> None:
    clean = fn.normalize(points(30, 8), dim=1)
    turns = [rotation(8, seed) for seed in range(10)]
    views = torch.stack([clean @ turn.T for turn in turns])
    assert rank_views(views, views + 1e-3 * points(10, 30, 8)).mrr == 1


def test_too_few_images_and_one_point_have_no_ranking() -> None:
    results = measured(train=3)
    assert not [name for name in results.measures if "ranking" in name]
    reason = "3 training images are too few to fit a rotation of 3 dimensions"
    assert f"encoder: MRR is not measured: {reason}" in results.notes
    assert "head: MRR is not measured: all training embeddings are one point" in results.notes


def test_views_that_are_all_equal_have_no_order() -> None:
    found = measured(UNCHANGED).measures
    assert found["encoder/ranking_hit1"] < 0.1
