"""``care data``, and data that training needs, as a user meets them."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from care.config import DataConfig
from care.data.dataset import load_dataset
from care.data.prepare import prepare
from care.registry import DATA
from tests.conftest import TINY
from tests.helpers.listener import Listener
from tests.helpers.paths import ROOT
from tests.helpers.photographs import WRITERS
from tests.helpers.processes import care, start_care, wait_for
from tests.helpers.trees import tree, write_tree

GET_TREE = ("data", "get", "images", "path=tree", "side=8", "--root")


def refused(*arguments: str, cwd: Path) -> str:
    done = care(*arguments, cwd=cwd, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_list_says_what_is_there(tmp_path: Path) -> None:
    """Piped, so that no line is broken."""
    lines = care("data", "list", "--root", "here", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(DATA)
    assert re.fullmatch(r"digits +1437 +360 +16 +yes +handwritten digits .*", lines[1])
    assert re.match(r"cifar10 +50000 +10000 +32 +no ", lines[2])
    assert list(tmp_path.iterdir()) == []


def test_the_list_names_what_is_there_but_damaged(tmp_path: Path) -> None:
    (tmp_path / "proteins.npz").write_bytes(b"PK a cut archive")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "batches.meta").write_bytes(b"")
    (tmp_path / "stl10_binary").write_text("no folder")
    (tmp_path / "imagenet").mkdir()
    done = care("data", "list", "--root", ".", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : len(DATA) + 1]] == list(DATA)
    for name in ("cifar10", "stl10", "imagenet100", "proteins"):
        assert re.search(rf"^{name} .* see below ", done.stdout, re.MULTILINE), done.stdout
    assert "no .npz archive, or a cut one" in done.stdout
    assert "cifar10: cifar-10-batches-py: 'cifar10' is missing or damaged" in done.stdout
    assert "stl10: stl10_binary/train_X.bin: missing" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert re.search("^flowers102 .* no ", done.stdout, re.MULTILINE)


@pytest.mark.shared
def test_real_cifar10_is_there(shared_data: Path, tmp_path: Path) -> None:
    root = str(shared_data)
    assert re.search(r"cifar10 .* yes ", care("data", "list", "--root", root, cwd=tmp_path).stdout)
    output = care("data", "get", "cifar10", "--root", root, cwd=tmp_path).stdout
    sizes = "50000 training and 10000 test images of 32 × 32, 10 classes"
    assert output == f"cifar10 in {root}: {sizes}\n"


def test_a_tree_is_got_once(tmp_path: Path) -> None:
    write_tree(tmp_path)
    sizes = "images in .: 6 training and 2 test images of 8 × 8, 2 classes\n"
    first = care(*GET_TREE, ".", cwd=tmp_path).stdout
    assert first.endswith(sizes)
    assert "decoding tree-train-8: 6 of 6 images to do" in first
    assert care(*GET_TREE, ".", cwd=tmp_path).stdout == sizes


def test_corrupt_files_are_named_and_can_be_left_out(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (folder / "train/dog/0002.png").write_bytes(b"no image")
    message = refused(*GET_TREE, ".", cwd=tmp_path)
    assert "1 of 6 image files cannot be read:\n  dog/0002.png" in message
    assert "data.skip_corrupt: true" in message
    output = care(*GET_TREE, ".", "skip_corrupt=true", cwd=tmp_path).stdout
    assert "left out 1 that cannot be read:\n  dog/0002.png" in output
    assert "5 training and 2 test images" in output


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["cifr10"], ["name: got 'cifr10'", "did you mean 'cifar10'?"]),
        (["images"], ["data.path", "the folder of the images"]),
        (["images", "path=nowhere"], ["data.path", "nowhere", "a folder with train/ and test/"]),
        (["images", "pth=tree"], ["pth: got 'tree'", "did you mean 'path'?"]),
        (["images", "path=tree", "side=0"], ["side", "greater than 0"]),
        (["images", "path=tree", "train_images=7"], ["data.train_images", "at most 6"]),
        (["digits", "side=32"], ["data.side", "16, the side of 'digits'"]),
        (["imagenet100"], ["ImageNet-100 needs the folders", "imagenet100.txt", "licence"]),
        (["proteins"], ["proteins", ".pdb, .ent, .cif, .mmcif files, or an .npz file"]),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) else "",
)
def test_what_cannot_be_got_is_said(tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    write_tree(tmp_path)
    message = refused("data", "get", *arguments, "--root", ".", cwd=tmp_path)
    assert all(part in message for part in parts), message


def many_large_images(root: Path) -> Path:
    """A tree that takes seconds to decode: 1,200 links to one picture."""
    folder = write_tree(root)
    large = root / "large.png"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(pixels).save(large)
    for number in range(600):
        for name in ("cat", "dog"):
            (folder / "train" / name / f"link{number:04d}.png").symlink_to(large)
    return folder


@pytest.fixture
def one_core() -> Iterator[None]:
    """Commands decode one part after the other, on a machine of any size."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
def test_decoding_that_was_stopped_goes_on(tmp_path: Path) -> None:
    many_large_images(tmp_path / "stopped")
    run = start_care(*GET_TREE, "stopped", cwd=tmp_path)
    wait_for(lambda: any((tmp_path / "stopped").glob(".care-cache/*/part-*.json")))
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=60)[0]
    assert run.returncode == 130, output
    assert "stopped; repeat the command to resume" in output
    assert "Traceback" not in output
    again = care(*GET_TREE, "stopped", cwd=tmp_path).stdout
    todo = re.search(r"decoding tree-train-8: (\d+) of 1206 images to do", again)
    assert todo is not None, again
    assert int(todo[1]) < 1206
    stopped = load_dataset(tree(), tmp_path / "stopped").train.images
    shutil.rmtree(tmp_path / "stopped" / ".care-cache")
    prepare(tree(), tmp_path / "stopped", Listener())
    assert load_dataset(tree(), tmp_path / "stopped").train.images.equal(stopped)


def experiment(folder: Path, **data: object) -> str:
    """A trial that a tree of six images is large enough for; its file's name."""
    trial = {
        **TINY,
        "data": {"name": "images", "path": "tree", "side": 8, **data},
        "training": {"epochs": 1, "batch_size": 4},
        "objective": {"equivariance": {"weight": 0.1, "splits": 2}},
        "evaluation": {"knn_neighbors": 5, "monitor_images": 4, "rotation_augmentations": 2},
        "runtime": {"threads": 1, "data_root": "."},
    }
    (folder / "trial.yaml").write_text(yaml.safe_dump(trial))
    return "trial.yaml"


@pytest.mark.parametrize(
    ("data", "override", "parts"),
    [
        ({}, "training.batch_size=8", ["training.batch_size: got 8", "at most 6"]),
        ({}, "evaluation.knn_neighbors=7", ["evaluation.knn_neighbors: got 7", "at most 6"]),
        ({"class_list": "dogs.txt"}, "seed=1", ["data.class_list", "two classes or more", "'dog'"]),
        ({"path": "missing"}, "seed=1", ["data.path", "missing"]),
    ],
)
def test_training_is_refused_before_anything_is_written(
    tmp_path: Path, data: dict[str, object], override: str, parts: list[str]
) -> None:
    write_tree(tmp_path)
    (tmp_path / "dogs.txt").write_text("dog\n")
    message = refused("train", experiment(tmp_path, **data), override, cwd=tmp_path)
    assert all(part in message for part in parts), message
    assert not (tmp_path / "runs").exists()


def test_all_missing_transfer_sets_are_named_before_training(tmp_path: Path) -> None:
    """Without those that must be fetched by hand, nothing is downloaded."""
    write_tree(tmp_path)
    WRITERS["dtd"](tmp_path)
    transfer = "evaluation.transfer=[suite11, {name: images, path: other}]"
    message = refused("train", experiment(tmp_path), transfer, cwd=tmp_path)
    assert message.startswith("error: 11 data sets cannot be used:")
    for name in ("mit67: missing", "stanford_cars: missing", "data.path: got 'other'"):
        assert name in message
    assert "indoorCVPR_09.tar" in message
    assert "torchvision's StanfordCars" in message
    downloads = "cifar10, cifar100, food101, pets, flowers102, caltech101, aircraft, sun397"
    assert f"- {downloads}: missing, too; 'care data get NAME' downloads each" in message
    assert not (tmp_path / "runs").exists()


def test_a_set_that_is_missing_in_two_sizes_is_named_once(tmp_path: Path) -> None:
    file = str(ROOT / "experiments" / "cifar10.yaml")
    message = refused("train", file, "evaluation.transfer=[suite11]", cwd=tmp_path)
    assert message.startswith("error: 11 data sets cannot be used:")
    assert message.count("cifar10,") == 1


def test_a_transfer_to_a_set_in_its_official_layout(tmp_path: Path) -> None:
    write_tree(tmp_path)
    for name in ("dtd", "pets"):
        WRITERS[name](tmp_path)
    transfer = "evaluation.transfer=[dtd, pets]"
    output = care("train", experiment(tmp_path), transfer, cwd=tmp_path).stdout
    assert re.search(r"encoder/transfer_dtd +[01]", output), output
    assert re.search(r"encoder/transfer_pets +[01]", output), output


@pytest.mark.shared
def test_a_part_of_a_real_set_is_trained_on(shared_data: Path, tmp_path: Path) -> None:
    config = DataConfig(name="cifar10", train_images=64, test_images=32, side=16)
    name = experiment(tmp_path, **config.model_dump())
    output = care("train", name, f"runtime.data_root={shared_data}", cwd=tmp_path).stdout
    assert "epoch 1/1" in output
    assert "encoder/probe_accuracy" in output
