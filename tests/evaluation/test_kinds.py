from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as fn

from care.augmentation import ImageAugmenter
from care.augmentation.kinds import sample_kind
from care.config import AugmentationConfig
from care.evaluation.evaluate import evaluate
from care.evaluation.features import extract
from care.evaluation.results import Results
from care.evaluation.rotation import best_rotations
from care.registry import AUGMENTATION_KINDS, MEASURES_OF_KINDS
from care.system.rng import generator
from tests.evaluation.test_evaluate import trial
from tests.helpers.colored_images import color_network, colored_dataset, small_network

AUGMENTATION = AugmentationConfig()


def of_kinds(augmentation: AugmentationConfig = AUGMENTATION) -> Results:
    """The stand-in's encoder is the mean color, so it spans three dimensions of color."""
    return evaluate(color_network(), colored_dataset(), trial(augmentation, readouts=["kinds"]))


def moved(*kinds_and_rows: tuple[str, int]) -> torch.Tensor:
    """The stand-in's embeddings under one augmentation after the other, none without one."""
    dataset = colored_dataset()
    augmenter = dataset.augmenter(AUGMENTATION)
    assert isinstance(augmenter, ImageAugmenter)
    tables = [augmenter.identity(), augmenter.identity()]
    for place, (kind, row) in enumerate(kinds_and_rows):
        drawn = sample_kind(AUGMENTATION, kind, 8, augmenter.size, generator(0, f"kind-{kind}"))
        tables[place] = drawn.rows(slice(row, row + 1))
    images = augmenter.apply_both(tables[0], tables[1], dataset.test.images)
    return fn.normalize(extract(color_network(), images).encoder, dim=1)


def test_composition_of_color_is_that_of_its_pairs() -> None:
    clean = moved()
    errors, movements = [], []
    for row in (0, 2, 4, 6):
        first, second, both = (
            best_rotations(clean, view).proper
            for view in (
                moved(("color", row)),
                moved(("color", row + 1)),
                moved(("color", row), ("color", row + 1)),
            )
        )
        points = clean.double()
        composed = points @ (second @ first).T
        errors.append(float((points @ both.T - composed).square().sum()) / len(clean))
        movements += [
            float((points @ turn.T - points).square().sum()) / len(clean)
            for turn in (first, second)
        ]
    measures = of_kinds().measures
    on_data = sum(map(math.sqrt, errors)) / 4
    assert measures["encoder/composition_on_data_color"] == pytest.approx(on_data, rel=1e-3)
    over = sum(errors) / sum(movements)
    assert measures["encoder/composition_over_movement_color"] == pytest.approx(over, rel=1e-3)
    assert over > 0.01


def test_each_kind_of_the_trial_is_measured_and_another_is_noted() -> None:
    without = AugmentationConfig(grayscale=0, horizontal_flip=0)
    results = of_kinds(without)
    names = {name for name in results.measures if name.rpartition("_")[2] in AUGMENTATION_KINDS}
    assert names == {
        f"encoder/{measure}_{kind}"
        for measure in MEASURES_OF_KINDS
        for kind in ("crop", "color", "blur")
    }
    assert "kinds: grayscale, flip: not measured, no augmentation of the trial" in results.notes


def test_grayscale_is_measured_without_composition() -> None:
    """Its composition error relative to movement is 1/2 for every encoder: R R F - R F = R F - F."""
    names = {name for name in of_kinds().measures if name.endswith("_grayscale")}
    measures = {"movement", "wahba_over_movement", "equivariance_over_random"}
    assert names == {f"encoder/{measure}_grayscale" for measure in measures}


def test_a_kind_that_moves_nothing_has_no_ratio() -> None:
    """Mirroring leaves the mean color."""
    results = of_kinds()
    assert results.measures["encoder/movement_flip"] == pytest.approx(0, abs=1e-9)
    assert "encoder/wahba_over_movement_flip" not in results.measures
    assert "encoder/composition_over_movement_flip" not in results.measures
    assert any(note.startswith("encoder: flip: ") and "0/0" in note for note in results.notes)


def test_readouts_are_off_by_default() -> None:
    plain = evaluate(small_network(), colored_dataset(), trial()).measures
    asked = evaluate(small_network(), colored_dataset(), trial(readouts=["wahba"])).measures
    assert plain.keys() < asked.keys()
    assert {name: asked[name] for name in plain} == plain
    assert {
        "head/wahba_over_random",
        "head/equivariance_over_random",
    } <= asked.keys() - plain.keys()
