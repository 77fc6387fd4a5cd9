"""Real CIFAR-10 against torchvision's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from care.config import DataConfig
from care.data.dataset import load_dataset
from care.data.prepare import prepare
from care.errors import CareError
from care.system.torchvision import datasets
from tests.helpers.listener import Listener

pytestmark = pytest.mark.shared


def test_pixels_and_labels_are_torchvisions(shared_data: Path) -> None:
    dataset = load_dataset(DataConfig(name="cifar10"), shared_data)
    for part, train in ((dataset.train, True), (dataset.test, False)):
        oracle = datasets.CIFAR10(shared_data, train=train)
        assert part.images.dtype == torch.uint8
        assert np.array_equal(part.images.permute(0, 2, 3, 1).numpy(), oracle.data)
        assert part.labels.tolist() == oracle.targets
    assert dataset.classes[:2] == ("airplane", "automobile")


def test_a_part_is_the_wholes_images_resized(shared_data: Path) -> None:
    whole = load_dataset(DataConfig(name="cifar10"), shared_data)
    config = DataConfig(name="cifar10", side=16, train_images=50, test_images=20)
    part = load_dataset(config, shared_data)
    assert part.train.images.shape == (50, 3, 16, 16)
    assert part.train.labels.bincount().tolist() == [5] * 10
    assert part.test.labels.bincount().tolist() == [2] * 10
    plain = load_dataset(config.model_copy(update={"side": None}), shared_data).train
    places = (whole.train.images[None] == plain.images[:3, None]).flatten(2).all(2).int().argmax(1)
    assert torch.equal(whole.train.images[places], plain.images[:3])
    for image, small in zip(plain.images, part.train.images, strict=True):
        # PIL's own antialiased bilinear rounds between its two passes.
        pil = Image.fromarray(image.permute(1, 2, 0).numpy())
        oracle = np.asarray(pil.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(oracle - small.permute(1, 2, 0).numpy()).max() <= 1


def test_what_is_there_needs_no_download(shared_data: Path) -> None:
    prepare(DataConfig(name="cifar10"), shared_data, Listener())


def test_a_damaged_file_is_not_read(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for file in (shared_data / "cifar-10-batches-py").iterdir():
        (folder / file.name).symlink_to(file)
    damaged = bytearray((folder / "test_batch").read_bytes())
    damaged[5000] ^= 1
    (folder / "test_batch").unlink()
    (folder / "test_batch").write_bytes(damaged)
    with pytest.raises(CareError, match="'cifar10' is missing or damaged; 'care data get"):
        load_dataset(DataConfig(name="cifar10"), tmp_path)
