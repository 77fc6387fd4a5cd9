"""``care evaluate --encoder``: any encoder, measured on an experiment's data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from care.data.dataset import Dataset, load_dataset
from care.errors import CareError, Problem
from care.evaluation.features import PlainFeatures
from care.models import Network
from care.pretrained.export import export
from care.pretrained.measure import measure_encoder
from care.pretrained.public_encoder import Adapted, OpenedEncoder, open_encoder
from care.system.torchvision import functional, models
from care.trials.preprocessing import describe_preprocessing
from tests.helpers.network import no_network
from tests.helpers.trained import configure, save_untrained, train

CONFIG = configure(training={"epochs": 1, "batch_size": 256})
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)


@pytest.fixture(autouse=True)
def keep_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(CONFIG.data, Path("data"))


def features(opened: OpenedEncoder, data: Dataset) -> Tensor:
    """Of ten test images, as the evaluation of an adapted encoder computes them."""
    augmenter = data.augmenter(CONFIG.augmentation)
    given = describe_preprocessing(augmenter)
    assert given is not None
    encoder = Adapted(opened.network.encoder, opened.record.preprocessing, given)
    network = Network(encoder, opened.network.head).eval()
    return PlainFeatures(network, augmenter)(data.test.images[:10]).encoder


def test_an_export_has_its_trials_measures_to_the_bit(tmp_path: Path) -> None:
    folder = train(CONFIG, tmp_path)
    export(folder, tmp_path / "encoder")
    for name in (str(tmp_path / "encoder"), folder.trial_id[:5]):
        opened = open_encoder(name, tmp_path)
        assert measure_encoder(opened, CONFIG).measures == folder.read_evaluation()


def test_an_encoder_sees_images_as_it_was_trained(digits: Dataset) -> None:
    """Against torchvision's own model, on images that are prepared by hand."""
    opened = open_encoder("torchvision:resnet18:random", side=48)
    assert opened.record.preprocessing.size == (48, 48)
    assert not opened.record.has_head
    reference = models.resnet18()
    reference.fc = nn.Identity()
    state = opened.network.encoder.state_dict()
    reference.load_state_dict({name.removeprefix("network."): w for name, w in state.items()})
    images = functional.resize(digits.test.images[:10] / 255, [48, 48], antialias=True)
    with torch.no_grad():
        expected = reference.eval()((images - IMAGENET[0]) / IMAGENET[1])
    torch.testing.assert_close(features(opened, digits), expected, rtol=1e-3, atol=1e-3)
    assert open_encoder("torchvision:resnet18:random").record.sha256 == opened.record.sha256
    assert open_encoder("torchvision:resnet18:random").record.preprocessing.size == (224, 224)


def test_weights_come_from_a_file(digits: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = models.resnet18().state_dict()
    torch.save(state, tmp_path / "plain.pth")
    prefixed = {f"module.{name}": value for name, value in state.items()}
    torch.save({"state_dict": prefixed, "epoch": 3}, tmp_path / "parallel.pth")
    save_file(state, tmp_path / "plain.safetensors")
    opened = [
        open_encoder(f"torchvision:resnet18:{tmp_path / name}", side=32)
        for name in ("plain.pth", "parallel.pth", "plain.safetensors")
    ]
    assert len({one.record.sha256 for one in opened}) == 1
    assert torch.equal(features(opened[0], digits), features(opened[1], digits))
    assert opened[0].record.sha256 != open_encoder("torchvision:resnet18:random").record.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, r"lacks weights of this encoder: bn1\.weight"),
        ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "cannot be loaded into this encoder.*size"),
        ([1, 2], "holds no state dict"),
        (None, "cannot be loaded|is no file of weights"),
    ],
)
def test_files_that_do_not_fit_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content is None:
        path.write_bytes(b"no weights")
    else:
        torch.save(content, path)
    with pytest.raises(CareError, match=message):
        open_encoder(f"torchvision:resnet18:{path}")


def test_another_preprocessing_is_adapted_to(tmp_path: Path) -> None:
    trained = configure(data={"name": "cifar10"})
    folder = save_untrained(trained, tmp_path, side=32)
    measures = measure_encoder(open_encoder(str(folder.path)), CONFIG).measures
    assert measures["head/gamma"] > 0
    assert 0.1 < measures["encoder/probe_accuracy"] <= 1


def test_without_a_head_only_the_encoder_is_measured(tmp_path: Path) -> None:
    opened = open_encoder(str(save_untrained(CONFIG, tmp_path).path))
    record = opened.record.model_copy(update={"has_head": False})
    network = Network(opened.network.encoder, nn.Identity())
    headless = OpenedEncoder("plain", network, record)
    with_head, without = (measure_encoder(one, CONFIG).measures for one in (opened, headless))
    own = {name: value for name, value in with_head.items() if name.startswith("encoder/")}
    assert without == own


def test_unknown_names_are_refused_with_the_nearest(
    refused: Callable[..., Problem], tmp_path: Path
) -> None:
    assert refused(open_encoder, "torchvision:resnet5").nearest == "resnet50"
    problem = refused(open_encoder, "torchvision:resnet18:IMAGENET1K_V9")
    assert problem.nearest == "IMAGENET1K_V1"
    assert "random" in problem.allowed
    assert "timm:NAME" in refused(open_encoder, "torchvison:resnet18").allowed
    assert "linear classifier" in refused(open_encoder, "torchvision:squeezenet1_0:random").allowed
    weights = tmp_path / "moco.pth"
    weights.touch()
    allowed = f"torchvision:resnet50:{weights}"
    assert allowed in refused(open_encoder, str(weights)).allowed
    assert refused(lambda: open_encoder("torchvision:resnet18:random@32", side=48)).value == 48
    path = str(save_untrained(CONFIG, tmp_path).path)
    assert refused(lambda: open_encoder(path, side=32)).field == "--side"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_network(monkeypatch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CareError, match=r"cannot be downloaded.*give the file: .*:resnet18:FILE"):
        open_encoder("torchvision:resnet18")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(CareError, match="timm is not installed; 'pip install timm'"):
        open_encoder("timm:resnet50")
