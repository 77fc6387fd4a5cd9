from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from care.augmentation import ImageAugmenter, apply, identity, sample
from care.config import AugmentationConfig, TrialConfig
from care.config.metrics import final_measures, is_final_measure
from care.data.dataset import Dataset, ImageSet
from care.data.proteins import PointDataset
from care.evaluation.composition import composition_error
from care.evaluation.cosine import EDGES
from care.evaluation.evaluate import evaluate
from care.evaluation.results import Results
from care.evaluation.rotation import best_rotations, gamma, wahba
from care.models import Network, build_network
from care.system.rng import generator
from care.trials.failure import DivergedError
from tests.helpers.colored_images import (
    SIDE,
    UNCHANGED,
    color_network,
    colored_dataset,
    small_network,
)

AUGMENTATION = AugmentationConfig()
EVERY_SPACE = {
    "knn_accuracy",
    "probe_accuracy",
    "color_r2",
    "color_following",
    "wahba",
    "wahba_per_sqrt_n",
    "wahba_o_per_sqrt_n",
    "gamma",
    "gamma_median",
    "positive_cosine",
}


def trial(augmentation: AugmentationConfig = AUGMENTATION, **evaluation: Any) -> TrialConfig:
    settings = {"knn_neighbors": 5, "rotation_augmentations": 4, **evaluation}
    return TrialConfig.model_validate(
        {"augmentation": augmentation.model_dump(), "evaluation": settings}
    )


def measured(
    network: Network, dataset: Dataset, config: TrialConfig | None = None
) -> dict[str, float]:
    return evaluate(network, dataset, config or trial()).measures


def test_readout_finds_what_each_space_holds() -> None:
    """The stand-in's encoder holds the color, which is the class and the hue; its head nothing."""
    found = measured(color_network(), colored_dataset())
    assert found["encoder/knn_accuracy"] == 1
    assert found["encoder/probe_accuracy"] == 1
    assert found["encoder/hue_r2"] > 0.99
    assert found["encoder/color_r2"] > 0.99
    assert found["head/probe_accuracy"] == pytest.approx(1 / 3)
    assert found["head/hue_r2"] == pytest.approx(0, abs=0.01)
    assert found["head/color_r2"] == pytest.approx(0, abs=0.01)


def embedded(dataset: Dataset, *indices: int | None) -> list[torch.Tensor]:
    """What the stand-in's encoder makes of the test images under random augmentations."""
    points = []
    for index in indices:
        table = identity(1, (SIDE, SIDE))
        if index is not None:
            table = sample(AUGMENTATION, 1, (SIDE, SIDE), generator(0, "rotation", index))
        images = apply(table, dataset.test.images, dataset.mean, dataset.std)
        points.append(fn.normalize(images.mean((2, 3)), dim=1))
    return points


@pytest.mark.parametrize(("protocols", "passes"), [(["paper"], 1), (["paper", "authors"], 2)])
def test_plain_test_images_pass_a_network_once(protocols: list[str], passes: int) -> None:
    """All measures share the features; the encoder whose BatchNorm has drifted is another."""
    network, dataset = small_network(), colored_dataset()
    augmenter = dataset.augmenter(AUGMENTATION)
    plain = augmenter.apply(augmenter.identity(), dataset.test.images)
    seen: list[bool] = []
    forward = type(network.encoder).forward

    def noted(self: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        seen.append(torch.equal(images, plain))
        return forward(self, images)  # type: ignore[no-any-return]

    probe = {"protocols": protocols, "epochs": 1, "initializations": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network.encoder), "forward", noted)
        evaluate(network, dataset, trial(trained_probe=probe))
    assert seen.count(True) == passes


def test_rotation_measures_are_those_of_normalized_features() -> None:
    dataset = colored_dataset()
    results = evaluate(color_network(), dataset, trial())
    clean, *moved = embedded(dataset, None, 0, 1, 2, 3)
    root = math.sqrt(len(clean))
    residuals = [wahba(clean, augmented) for augmented in moved]
    measures = results.measures
    assert measures["encoder/wahba"] == pytest.approx(sum(residuals) / 4, rel=1e-4)
    assert measures["encoder/wahba_per_sqrt_n"] == pytest.approx(
        sum(residuals) / 4 / root, rel=1e-4
    )
    assert results.details["encoder/wahba"] == pytest.approx(np.array(residuals) / root, rel=1e-4)
    relative = gamma(clean, torch.stack(moved))
    assert measures["encoder/gamma"] == pytest.approx(relative.mean, rel=1e-3)
    assert measures["encoder/gamma_median"] == pytest.approx(relative.median, rel=1e-3)
    assert residuals[0] > 0.1


def test_composition_is_that_of_pairs_of_random_augmentations() -> None:
    dataset = colored_dataset()
    augmenter = dataset.augmenter(AUGMENTATION)
    assert isinstance(augmenter, ImageAugmenter)
    clean, *moved = embedded(dataset, None, 0, 1, 2, 3)
    errors = []
    for place in (0, 2):
        first, second = (augmenter.sample(1, generator(0, "rotation", place + i)) for i in (0, 1))
        both = augmenter.apply_both(first, second, dataset.test.images).mean((2, 3))
        one, other = (best_rotations(clean, points).proper for points in moved[place : place + 2])
        composed = best_rotations(clean, fn.normalize(both, dim=1)).proper
        errors.append(composition_error(clean, one, other, composed))
    found = measured(color_network(), dataset)
    assert found["encoder/composition"] == pytest.approx(
        sum(error.matrices for error in errors) / 2, rel=1e-3
    )
    assert found["encoder/composition_on_data"] == pytest.approx(
        sum(error.on_data for error in errors) / 2, rel=1e-3
    )


def test_a_lone_augmentation_is_composed_with_itself() -> None:
    assert "encoder/composition" in measured(
        color_network(), colored_dataset(), trial(rotation_augmentations=1)
    )


def test_augmentations_that_move_nothing_leave_no_residual_and_no_gamma() -> None:
    still = evaluate(color_network(), colored_dataset(), trial(UNCHANGED))
    assert still.measures["encoder/wahba"] == pytest.approx(0, abs=1e-4)
    assert not {"encoder/gamma", "encoder/gamma_median"} & set(still.measures)
    assert "do not move 1,104 of 1,104 pairs (0/0)" in "\n".join(still.notes)


def test_one_point_has_cosines_and_probes_and_nothing_that_would_be_0_by_0() -> None:
    """All of the stand-in's head is one point of the circle."""
    results = evaluate(color_network(), colored_dataset(), trial())
    assert {name for name in results.measures if name.startswith("head/")} == {
        "head/positive_cosine",
        "head/probe_accuracy",
        "head/hue_r2",
        "head/color_r2",
    }
    for reason in ("all 24 held-out embeddings are one point", "kNN", "color following"):
        assert sum(note.startswith("head: ") and reason in note for note in results.notes) == 1


def test_what_does_not_vary_has_no_r2_and_the_reason_is_noted() -> None:
    dataset = colored_dataset()
    one_hue = dataclasses.replace(dataset.test, factors={"hue": torch.full((24,), 0.25)})
    grey = dataclasses.replace(one_hue, images=one_hue.images[:, :1].expand(-1, 3, -1, -1).clone())
    results = evaluate(small_network(), dataclasses.replace(dataset, test=grey), trial())
    for space, name in itertools.product(("encoder", "head"), ("hue", "color")):
        assert f"{space}/{name}_r2" not in results.measures
    for what in ("hue", "mean color"):
        reason = f"R² of the {what} is not measured: the {what} is constant over the test samples"
        assert [note for note in results.notes if reason in note] == [
            f"encoder: {reason}",
            f"head: {reason}",
        ]


def test_channels_that_never_change_are_noted_and_only_shifted() -> None:
    dataset = dataclasses.replace(colored_dataset(), mean=(0.5, 0.25, 0.0), std=(0.0, 0.25, 0.0))
    results = evaluate(small_network(), dataset, trial())
    assert results.notes[0] == (
        "data: the channels red, blue of the training images never change, "
        "so a standard deviation of 1 is used"
    )
    augmenter = dataset.augmenter(AUGMENTATION)
    plain = augmenter.apply(augmenter.identity(), dataset.test.images)
    pixels = dataset.test.images.double() / 255
    expected = [pixels[:, 0] - 0.5, (pixels[:, 1] - 0.25) / 0.25, pixels[:, 2]]
    torch.testing.assert_close(plain.double(), torch.stack(expected, 1), atol=1e-6, rtol=0)


def test_features_of_length_0_leave_out_what_needs_a_direction() -> None:
    """Red images have the feature 0, which no sphere holds; the head's bias keeps it finite."""
    network = color_network()
    network.encoder.register_forward_hook(lambda _, __, out: out * (out[:, :1] < 0))
    results = evaluate(network, colored_dataset(), trial())
    assert {name for name in results.measures if name.startswith("encoder/")} == {
        "encoder/probe_accuracy",
        "encoder/hue_r2",
        "encoder/color_r2",
    }
    assert sum("encoder: features of length 0" in note for note in results.notes) == 1


def test_a_probe_that_diverged_has_no_accuracy() -> None:
    probe = {
        "protocols": ["paper"],
        "epochs": 2,
        "optimizer": {"name": "sgd", "learning_rate": 1e38},
    }
    results = evaluate(small_network(), colored_dataset(), trial(trained_probe=probe))
    assert not [name for name in results.measures if "paper_probe" in name]
    assert "3 of 3 initializations diverged" in results.notes[-2] + results.notes[-1]


def test_embeddings_that_are_not_finite_end_the_evaluation() -> None:
    network = color_network()
    network.encoder.register_forward_hook(lambda _, __, out: out / 0)
    with pytest.raises(DivergedError, match="24 of 24 embeddings are not finite"):
        evaluate(network, colored_dataset(), trial())


def test_a_space_that_embeddings_do_not_span_is_noted() -> None:
    few = evaluate(small_network(), colored_dataset(test=8), trial())
    assert "encoder: the 8 held-out embeddings do not span all 96 dimensions" in few.notes[0]


def test_each_trial_has_the_measures_that_its_data_admit() -> None:
    dataset = colored_dataset()

    def without_factors(images: ImageSet) -> ImageSet:
        return dataclasses.replace(images, factors={})

    unknown = dataclasses.replace(
        dataset, train=without_factors(dataset.train), test=without_factors(dataset.test)
    )
    spaces = ("encoder", "head")
    expected = {f"{space}/{name}" for space in spaces for name in EVERY_SPACE}
    expected |= {"head/composition", "head/composition_on_data"}
    assert set(measured(small_network(), unknown)) == expected
    hue = {"encoder/hue_r2", "head/hue_r2"}
    assert set(measured(small_network(), dataset)) == expected | hue
    assert expected | hue <= set(final_measures())


def test_trained_probes_and_transfer_where_they_are_asked_for() -> None:
    dataset = colored_dataset()
    other = dataclasses.replace(
        colored_dataset(train=30), name="flowers102", classes=tuple("abcdef"), mean=(0.0,) * 3
    )
    probe: dict[str, Any] = {"protocols": ["paper", "authors"], "epochs": 2}
    config = trial(trained_probe=probe, transfer=[{"name": "flowers102"}])

    def new(classes: list[Dataset]) -> dict[str, float]:
        plain = measured(color_network(), dataset)
        found = evaluate(color_network(), dataset, config, classes).measures
        assert plain.items() <= found.items()
        return {name: value for name, value in found.items() if name not in plain}

    scores = new([other])
    kinds = ("accuracy", "spread")
    names = [
        f"encoder/{protocol}_probe_{kind}" for protocol in probe["protocols"] for kind in kinds
    ]
    assert set(scores) == {*names, "encoder/transfer_flowers102"}
    assert scores["encoder/transfer_flowers102"] == 1
    assert set(scores) <= set(final_measures())


def test_transfer_to_two_trees_of_images() -> None:
    dataset = colored_dataset()
    trees = [{"name": "images", "path": path, "side": 16} for path in ("a", "b/c")]
    config = trial(transfer=trees)
    others = [
        dataclasses.replace(colored_dataset(train=30), classes=tuple("abcdef")),
        dataclasses.replace(colored_dataset(train=24), classes=tuple("abcdef")),
    ]
    found = evaluate(color_network(), dataset, config, others).measures
    names = ["encoder/transfer_images_a", "encoder/transfer_images_b_c"]
    assert [name for name in found if "transfer" in name] == names
    assert all(map(is_final_measure, names))


def test_top_five_needs_more_than_five_classes() -> None:
    many = dataclasses.replace(colored_dataset(), classes=tuple("abcdef"))
    found = measured(color_network(), many)
    assert found["encoder/probe_top5"] == 1
    assert "encoder/probe_top5" not in measured(color_network(), colored_dataset())


def points() -> PointDataset:
    parts = []
    for count, seed in ((40, 0), (24, 1)):
        clouds = torch.ones(count, 12, 4)
        clouds[..., :3] = torch.from_numpy(
            generator(seed, "clouds").standard_normal((count, 12, 3)) * (3, 2, 1)
        )
        parts.append(ImageSet(clouds, torch.full((count,), -1), {}))
    return PointDataset("proteins", parts[0], parts[1], (), (0.0,) * 3, (1.0,) * 3)


def proteins_trial() -> TrialConfig:
    tree = {
        "data": {"name": "proteins"},
        "model": {"encoder": "deep_sets", "head": {"hidden": 16, "output": 4}},
        "evaluation": {"rotation_augmentations": 4},
    }
    return TrialConfig.model_validate(tree)


def test_point_clouds_have_the_readouts_of_rotations() -> None:
    config = proteins_trial()
    readouts = {"readouts": ("wahba", "ranking")}
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update=readouts)})
    found = evaluate(build_network(config.model, 0), points(), config).measures
    names = {"wahba_over_movement", "equivariance_over_random", "ranking_mrr", "ranking_hit5"}
    assert {f"head/{name}" for name in names} <= found.keys()
    assert 0 < found["head/ranking_mrr"] <= 1


def test_point_clouds_have_pose_instead_of_classes_and_colors() -> None:
    config = proteins_trial()
    network = build_network(config.model, 0)
    results = evaluate(network, points(), config)
    gone = {"knn_accuracy", "probe_accuracy", "color_r2", "color_following"}
    rest = {f"{space}/{name}" for space in ("encoder", "head") for name in EVERY_SPACE - gone}
    pose = {"encoder/axis_error", "head/axis_error", "head/circularity"}
    composed = {"head/composition", "head/composition_on_data"}
    assert set(results.measures) == rest | pose | composed
    assert set(results.measures) <= set(final_measures())
    assert results.details["head/trajectories"].shape == (3, 3, 100, 2)
    assert results.details["named/names"][0] == "90° about x"


def check_details(results: Results, samples: int) -> None:
    details = results.details
    named = len(details["named/names"])
    for space in ("encoder", "head"):
        assert details[f"{space}/cosine_positive"].sum() == samples
        assert details[f"{space}/cosine_shared"].sum() == 4 * samples
        for name in ("wahba", "wahba_o"):
            assert details[f"{space}/{name}"].shape == (4,)
            assert details[f"{space}/named_{name}"].shape == (named,)
        assert (details[f"{space}/wahba_o"] <= details[f"{space}/wahba"] + 1e-9).all()
        centers = (EDGES[1:] + EDGES[:-1]) / 2
        counts = details[f"{space}/cosine_positive"]
        mean = float((counts * centers).sum() / samples)
        assert results.measures[f"{space}/positive_cosine"] == pytest.approx(mean, abs=0.013)


def test_details_are_what_figures_need() -> None:
    dataset = colored_dataset()
    results = evaluate(small_network(), dataset, trial())
    assert len(results.details["rotation/names"]) == 4
    check_details(results, len(dataset.test))
    config = proteins_trial()
    check_details(evaluate(build_network(config.model, 0), points(), config), 24)


def test_measures_are_finite_bit_equal_and_leave_the_network_as_it_was() -> None:
    network = small_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = trial(trained_probe={"protocols": ["paper", "authors"], "epochs": 2})
    first = evaluate(network, colored_dataset(), config)
    torch.manual_seed(1)
    second = evaluate(network, colored_dataset(), config)
    assert second.measures == first.measures
    assert all(math.isfinite(value) for value in first.measures.values())
    assert all(type(value) is float for value in first.measures.values())
    assert set(second.details) == set(first.details)
    for name, values in first.details.items():
        assert np.array_equal(second.details[name], values), name
    assert all(module.training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
