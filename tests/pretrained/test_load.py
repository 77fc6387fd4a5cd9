"""``care.load``: a trained encoder from a trial, with the features of its evaluation."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import care
from care.config import TrialConfig
from care.data.dataset import Dataset, load_dataset
from care.data.prepare import prepare
from care.errors import CareError, Problem
from care.evaluation import knn_accuracy
from care.evaluation.features import Features, PlainFeatures
from care.models import build_network
from care.pretrained.pretrained import Pretrained
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from tests.helpers.listener import Listener
from tests.helpers.trained import configure, save_untrained, train
from tests.helpers.trees import SMALL, write_tree


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def trial(store: Path) -> TrialFolder:
    """A trial on digits, trained to its end."""
    return train(configure(training={"epochs": 2, "batch_size": 256}), store)


@pytest.fixture(scope="module")
def model(trial: TrialFolder) -> Pretrained:
    return care.load(trial.path)


@pytest.fixture(scope="module")
def digits(model: Pretrained) -> Dataset:
    return load_dataset(model.config.data, Path("data"))


def features_of_the_evaluation(folder: TrialFolder, config: TrialConfig, data: Dataset) -> Features:
    """Features as the final evaluation computes them, from the bytes of the checkpoint."""
    newest = max(folder.path.glob("checkpoint-*.pt"))
    network = build_network(config.model, config.seed)
    network.load_state_dict(torch.load(newest, weights_only=True)["network"])
    return PlainFeatures(network, data.augmenter(config.augmentation))(data.test.images)


def test_features_are_those_of_the_evaluation_to_the_bit(
    trial: TrialFolder, model: Pretrained, digits: Dataset
) -> None:
    expected = features_of_the_evaluation(trial, model.config, digits)
    assert len(expected.encoder) > 256, "more than one batch"
    assert torch.equal(model.encode(digits.test.images), expected.encoder)
    assert torch.equal(model.project(digits.test.images), expected.head)
    assert torch.equal(model(digits.test.images), expected.encoder)
    training = copy.deepcopy(model).train()
    assert torch.equal(training.encode(digits.test.images), expected.encoder)


def test_they_give_the_measures_on_record(
    trial: TrialFolder, model: Pretrained, digits: Dataset
) -> None:
    recorded = json.loads((trial.path / "evaluation.json").read_text())
    train_features, test_features = (
        model.encode(split.images) for split in (digits.train, digits.test)
    )
    settings = model.config.evaluation
    accuracy = knn_accuracy(
        train_features,
        digits.train.labels,
        test_features,
        digits.test.labels,
        settings.knn_neighbors,
        settings.knn_temperature,
    )
    assert accuracy == recorded["encoder/knn_accuracy"]


def test_it_is_a_module_in_eval_mode_that_leaves_torch_as_it_was(trial: TrialFolder) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    precision = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    model = care.load(trial.path)
    images = torch.zeros(3, 16, 16, dtype=torch.uint8)
    assert not model.encode(images).requires_grad
    assert not any(module.training for module in model.modules())
    assert (model.encode(images).shape, model.project(images).shape) == ((1, 96), (1, 16))
    assert (model.feature_dim, model.embedding_dim) == (96, 16)
    assert (model.origin.trial_id, model.origin.epoch) == (trial.trial_id, 2)
    assert model.origin.threads == 1
    assert model.config == configure(training={"epochs": 2, "batch_size": 256})
    assert trial.trial_id in repr(model)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.cudnn.conv.fp32_precision == precision  # type: ignore[attr-defined]


def test_it_can_be_fine_tuned(model: Pretrained, digits: Dataset) -> None:
    tuned, images = copy.deepcopy(model), digits.test.images[:8]
    prepared = tuned.preprocess(images)
    assert torch.equal(tuned.network.features(prepared), model.encode(images))
    tuned.network.features(prepared).sum().backward()  # type: ignore[no-untyped-call]
    assert any(bool(p.grad.any()) for p in tuned.parameters() if p.grad is not None)


def test_every_way_to_name_a_trial(
    trial: TrialFolder, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    identity = trial.trial_id
    named = [care.load(identity[:4], store=store), care.load(identity.upper(), store=str(store))]
    monkeypatch.setenv("CARE_STORE", str(store))
    named += [care.load(identity), care.load(str(trial.path))]
    monkeypatch.delenv("CARE_STORE")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(store, "runs")
    named.append(care.load(identity[:4]))
    shutil.copytree(trial.path, "elsewhere")
    named.append(care.load("elsewhere"))
    assert {model.origin.trial_id for model in named} == {identity}


def test_weights_that_gc_leaves_are_loaded(
    trial: TrialFolder, model: Pretrained, digits: Dataset, tmp_path: Path
) -> None:
    path = copy_of(trial, tmp_path)
    assert checkpoint.keep_only_weights(path, 2, trial.trial_id, pytest.fail)
    assert not list(path.glob("checkpoint-*"))
    images = digits.test.images
    assert torch.equal(care.load(path).encode(images), model.encode(images))


def test_images_of_files_are_decoded_as_the_data_are(tmp_path: Path) -> None:
    tree, listener = write_tree(tmp_path), Listener()
    config = configure(
        **SMALL,
        data={"name": "images", "path": "tree", "side": 8},
        training={"epochs": 1, "batch_size": 4},
        runtime={"threads": 1, "data_root": str(tmp_path)},
    )
    prepare(config.data, tmp_path, listener)
    folder = train(config, tmp_path / "runs")
    dataset = load_dataset(config.data, tmp_path)
    expected = features_of_the_evaluation(folder, config, dataset)
    shutil.rmtree(tmp_path / "tree")
    write_tree(tmp_path)
    pictures = [Image.open(file) for file in sorted((tree / "test").rglob("*.png"))]
    shutil.move(tree, tmp_path / "gone")
    model = care.load(folder.path)  # the data are gone
    assert torch.equal(model.encode(pictures), expected.encoder)
    assert torch.equal(model.encode(pictures[0]), model.encode(pictures[:1]))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_pictures_of_any_mode_and_size(model: Pretrained, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 23, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    assert model.encode([picture, picture.resize((16, 16))]).shape == (2, 96)
    assert torch.equal(model.encode(picture), model.encode(picture.convert("RGB")))


def test_square_tensors_are_resized_as_the_data_are(tmp_path: Path) -> None:
    config = configure(data={"name": "cifar10", "side": 16})
    model = care.load(save_untrained(config, tmp_path).path)
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=rng)
    from torchvision.transforms.v2 import functional

    small = functional.resize(images, [16, 16], antialias=True)
    assert torch.equal(model.encode(images), model.encode(small))
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    assert torch.equal(model.encode(pictures), model.encode(small))


def test_point_clouds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    proteins: dict[str, Any] = {f"p{n:02d}": rng.normal(0, 9, (9, 3)) for n in range(20)}
    np.savez(tmp_path / "proteins.npz", **proteins)
    config = configure(
        **{name: part for name, part in SMALL.items() if name != "model"},
        data={"name": "proteins"},
        model={"encoder": "deep_sets", "head": {"hidden": 16, "output": 8}},
        training={"epochs": 1, "batch_size": 8},
        runtime={"threads": 1, "data_root": str(tmp_path)},
    )
    folder = train(config, tmp_path / "runs")
    dataset = load_dataset(config.data, tmp_path)
    expected = features_of_the_evaluation(folder, config, dataset)
    (tmp_path / "proteins.npz").unlink()
    model, clouds = care.load(folder.path), dataset.test.images
    assert torch.equal(model.encode(clouds), expected.encoder)
    assert torch.equal(model.project(clouds[0]), model.project(clouds[:1]))
    for wrong in (clouds.double(), clouds[..., :3], clouds * 2, torch.zeros(2, 9, 4), clouds / 0):
        with pytest.raises(CareError, match=r"a float32 tensor \[N,P,4\]"):
            model.encode(wrong)


def uint8(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "value", "allowed"),
    [
        (torch.zeros(2, 3, 16, 16), "a float32 tensor [2, 3, 16, 16]", "uint8 tensor [N,3,H,W]"),
        (uint8(2, 16, 16, 3), "a uint8 tensor [2, 16, 16, 3]", "uint8 tensor [N,3,H,W]"),
        (uint8(2, 1, 16, 16), "a uint8 tensor [2, 1, 16, 16]", "repeat the channel three times"),
        (uint8(16, 16), "a uint8 tensor [16, 16]", "uint8 tensor [N,3,H,W]"),
        (uint8(0, 3, 16, 16), "a uint8 tensor [0, 3, 16, 16]", "one image or more"),
        (uint8(2, 3, 16, 20), "a uint8 tensor [2, 3, 16, 20]", "images of 16 × 16 pixels"),
        (np.zeros((2, 3, 16, 16), np.uint8), "a uint8 numpy array [2, 3, 16, 16]", "uint8 tensor"),
        ("digit.png", "a str", "a PIL image"),
        ([], "no image", "a PIL image"),
        ([Image.new("RGB", (9, 9)), None], "a NoneType", "a PIL image"),
        (Image.new("F", (9, 9)), "an image of mode F", "8 or 16 bits a pixel"),
    ],
)
def test_other_inputs_are_refused(
    model: Pretrained,
    refused: Callable[..., Problem],
    images: Any,
    value: str,
    allowed: str,
) -> None:
    problem = refused(model.encode, images)
    assert problem.value == value
    assert allowed in problem.allowed


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def copy_of(trial: TrialFolder, tmp_path: Path) -> Path:
    copied: Path = shutil.copytree(trial.path, tmp_path / "runs" / "trials" / trial.trial_id)
    return copied


def test_a_trial_of_an_earlier_version_takes_its_preprocessing_from_the_data(
    trial: TrialFolder, model: Pretrained, digits: Dataset, tmp_path: Path
) -> None:
    path = copy_of(trial, tmp_path)
    edit(path / "provenance.json", lambda content: content.pop("preprocessing"))
    images = digits.test.images
    assert torch.equal(care.load(path).encode(images), model.encode(images))
    edit(path / "provenance.json", lambda content: content["data"].update(data="0" * 32))
    with pytest.raises(CareError, match="trained on other data: digits"):
        care.load(path)


def test_without_the_data_such_a_trial_is_refused_with_what_gets_them(tmp_path: Path) -> None:
    config = configure(
        data={"name": "cifar10"}, runtime={"threads": 1, "data_root": str(tmp_path / "absent")}
    )
    path = save_untrained(config, tmp_path, side=32).path
    edit(path / "provenance.json", lambda content: content.pop("preprocessing"))
    with pytest.raises(CareError, match=r"no mean and std.*'care data get cifar10' gets them"):
        care.load(path)


def test_a_stale_trial_says_so(trial: TrialFolder, tmp_path: Path) -> None:
    path = copy_of(trial, tmp_path)
    edit(path / "provenance.json", lambda content: content.update(code_version="ast1-other"))
    with pytest.warns(UserWarning, match="stale, trained with other code") as caught:
        care.load(path)
    assert [Path(one.filename).name for one in caught] == ["test_load.py"]


def test_an_unfinished_trial_says_so_and_a_finished_one_is_never_an_earlier_epoch(
    tmp_path: Path,
) -> None:
    folder = train(configure(), tmp_path, epochs=1)
    with pytest.warns(UserWarning, match="the network after 1 of 3 epochs"):
        assert care.load(folder.path).origin.epoch == 1
    folder = train(configure(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert care.load(folder.path).origin.epoch == 3
    max(folder.path.glob("checkpoint-*.pt")).unlink()
    with pytest.raises(CareError, match="the last checkpoint is lost"):
        care.load(folder.path)
    for file in folder.path.glob("checkpoint-*.pt"):
        file.write_bytes(file.read_bytes()[:-1])
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(CareError, match="has no weights"),
    ):
        care.load(folder.path)


def test_unknown_sources_are_refused(
    trial: TrialFolder, store: Path, refused: Callable[..., Problem], tmp_path: Path
) -> None:
    other = trial.trial_id[:-1] + ("0" if trial.trial_id[-1] != "0" else "1")
    problem = refused(lambda: care.load(other, store=store))
    assert problem.nearest == trial.trial_id
    many = tmp_path / "runs" / "trials"
    for name in ("ab" + "0" * 14, "ab" + "1" * 14):
        (many / name).mkdir(parents=True)
    assert "more digits" in refused(lambda: care.load("ab", store=tmp_path / "runs")).allowed
    problem = refused(lambda: care.load("ab", store=tmp_path / "elsewhere"))
    assert (problem.field, problem.value) == ("store", str(tmp_path / "elsewhere"))
    for source, part in [
        (tmp_path, "this folder has neither"),
        (tmp_path / "absent", "there is no such path"),
        ("models:/digits", "models:/NAME@ALIAS"),
    ]:
        problem = refused(care.load, source)
        assert problem.value == str(source)
        assert part in problem.allowed
    assert "cpu" in refused(lambda: care.load(trial.path, device="gpu")).allowed


def test_a_configuration_of_another_trial_is_refused(trial: TrialFolder, tmp_path: Path) -> None:
    path = copy_of(trial, tmp_path)
    edit(path / "trial.json", lambda content: content["config"].update(seed=9))
    with pytest.raises(CareError, match="holds the configuration of another trial"):
        care.load(path)


def test_importing_care_loads_no_torch() -> None:
    code = "import care, sys; print(sorted({'torch', 'numpy'} & set(sys.modules)), dir(care))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("[] "), done.stderr
    assert "'load'" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        care.laod  # noqa: B018
