"""3DIEBench from a miniature in its official layout."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from care.config import DataConfig
from care.data.dataset import Dataset, load_dataset
from care.data.decoding import decode
from care.data.fingerprints.fingerprint import fingerprints
from care.data.fingerprints.sources import NotHereError
from care.data.object_views import LATENTS
from care.data.prepare import prepare
from care.errors import CareError, ConfigError
from tests.helpers.listener import Listener
from tests.helpers.objects import TRAIN, VAL, VIEWS, write_objects, write_ood

CONFIG = DataConfig(name="3diebench", side=8)
OOD = DataConfig(name="3diebench_ood", side=8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_objects(tmp_path)
    return tmp_path


def opened(root: Path, config: DataConfig = CONFIG) -> Dataset:
    prepare(config, root, Listener())
    return load_dataset(config, root)


def test_views_labels_and_latents_belong_together(root: Path) -> None:
    dataset = opened(root)
    assert dataset.classes == ("02691156", "03001627")
    for split, objects in ((dataset.train, TRAIN), (dataset.test, VAL)):
        assert len(split) == VIEWS * len(objects)
        for index in range(0, len(split), 17):
            name = objects[int(split.factors["object"][index])].strip("/")
            number = int(split.factors["view"][index])
            folder = root / "3DIEBench" / name
            pixels = decode(folder / f"image_{number}.jpg", 8).pixels
            assert np.array_equal(split.images[index].numpy(), pixels)
            latents = np.load(folder / f"latent_{number}.npy")
            assert [float(split.factors[key][index]) for key in LATENTS] == pytest.approx(
                latents, rel=1e-6
            )
            assert dataset.classes[int(split.labels[index])] == name.partition("/")[0]


def test_a_part_is_of_whole_objects_of_all_classes(root: Path) -> None:
    half = opened(root, CONFIG.model_copy(update={"train_images": 2 * VIEWS})).train
    assert torch.bincount(half.labels).tolist() == [VIEWS, VIEWS]
    assert len(torch.unique(half.factors["object"])) == 2
    more = opened(root, CONFIG.model_copy(update={"train_images": 3 * VIEWS})).train
    assert set(half.factors["object"].tolist()) < set(more.factors["object"].tolist())


@pytest.mark.parametrize("images", [60, 49, 250])
def test_a_part_of_an_object_is_refused(root: Path, images: int) -> None:
    config = CONFIG.model_copy(update={"train_images": images})
    with pytest.raises(ConfigError, match=r"train_images: got \d+; allowed: a multiple of 50"):
        prepare(config, root, Listener())


def test_only_the_files_of_the_part_are_needed(root: Path) -> None:
    config = CONFIG.model_copy(update={"train_images": 2 * VIEWS})
    dataset = opened(root, config)
    before = fingerprints(config, root)
    used = {TRAIN[int(index)] for index in dataset.train.factors["object"]}
    for name in set(TRAIN) - used:
        for file in (root / "3DIEBench" / name.strip("/")).iterdir():
            file.unlink()
    assert fingerprints(config, root) == before
    with pytest.raises(CareError, match="200 of 400 images and latents are missing"):
        load_dataset(CONFIG, root)


def test_missing_views_are_counted_and_named(root: Path) -> None:
    folder = root / "3DIEBench" / VAL[0].strip("/")
    (folder / "image_7.jpg").unlink()
    (folder / "latent_9.npy").unlink()
    with pytest.raises(CareError, match=r"2 of 200 .* missing, e.g. 03001627/bb3/image_7.jpg; "):
        prepare(CONFIG, root, Listener())


def test_a_missing_folder_or_list_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match=r"fbaipublicfiles.*github.com/facebookresearch/SIE"):
        prepare(CONFIG, tmp_path, Listener())
    write_objects(tmp_path)
    (tmp_path / "3DIEBench" / "val_labels.npy").unlink()
    with pytest.raises(NotHereError, match=r"val_labels.npy: missing"):
        fingerprints(CONFIG, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("val_labels.npy", np.array([1])),
        ("val_labels.npy", np.array([0, 1])),
        ("train_images.npy", np.array(["no/object/path"] * 4)),
        ("train_images.npy", np.array([1.0, 2.0, 3.0, 4.0])),
    ],
)
def test_damaged_lists_are_refused(root: Path, name: str, value: object) -> None:
    np.save(root / "3DIEBench" / name, value)  # type: ignore[arg-type]
    with pytest.raises(CareError, match=r"not names|class \d is"):
        prepare(CONFIG, root, Listener())


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_damaged_latents_are_named(root: Path, content: bytes | None) -> None:
    path = root / "3DIEBench" / "02691156" / "aa1" / "latent_3.npy"
    if content is None:
        np.save(path, np.full(7, np.nan))
    else:
        path.write_bytes(content)
    with pytest.raises(CareError, match=r"latent_3.npy: .*(damaged|finite)"):
        prepare(CONFIG, root, Listener())


def test_changed_latents_are_noticed(root: Path) -> None:
    before, first = fingerprints(CONFIG, root), opened(root)
    path = root / "3DIEBench" / TRAIN[0].strip("/") / "latent_0.npy"
    time.sleep(0.03)  # one tick of the file system's clock
    np.save(path, np.zeros(7))
    assert fingerprints(CONFIG, root) != before
    second = opened(root)
    assert float(first.train.factors["rotation_x"][0]) != 0
    assert float(second.train.factors["rotation_x"][0]) == 0


def test_out_of_range_views_of_the_held_out_objects(root: Path) -> None:
    with pytest.raises(NotHereError, match="Hafez/3DIEBench-OOD"):
        prepare(OOD, root, Listener())
    write_ood(root)
    dataset = opened(root, OOD)
    assert len(dataset.train) == VIEWS * len(TRAIN)
    test = dataset.test
    assert sorted(zip(test.factors["object"].tolist(), test.factors["view"].tolist(), strict=True)) == [
        (0, 2), (0, 3), (0, 5), (1, 0), (1, 1),
    ]  # fmt: skip
    assert bool((test.factors["rotation_x"].abs() > torch.pi / 2).all())
    opened(root)
    caches = sorted(path.name for path in (root / ".care-cache").iterdir() if path.is_dir())
    assert len(caches) == 3  # one for the training part of both
    assert bool((dataset.train.factors["rotation_x"].abs() < torch.pi / 2).all())
