from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from care.config import DataConfig, TrialConfig
from care.data.dataset import Dataset, check_dataset, check_transfer, load_dataset
from care.data.decoding import decode
from care.data.prepare import prepare
from care.errors import CareError, ConfigError, Problem
from care.system.torchvision import datasets
from tests.conftest import TINY
from tests.helpers.listener import Listener
from tests.helpers.trees import tree, write_tree


def get(root: Path, **fields: object) -> tuple[Dataset, Listener]:
    listener, config = Listener(), tree(fields)
    prepare(config, root, listener)
    return load_dataset(config, root), listener


def test_a_tree_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    dataset, listener = get(tmp_path, side=9)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    files = sorted((folder / "train").rglob("*.png"))
    for file, image in zip(files, dataset.train.images, strict=True):
        whole = np.asarray(Image.open(file))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), whole[2:11])  # 12 × 9, the middle
    pixels = dataset.train.images.double() / 255
    torch.testing.assert_close(torch.tensor(dataset.mean).double(), pixels.mean((0, 2, 3)))
    std = pixels.std((0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(dataset.std).double(), std)
    assert listener.steps[-1][1:] == (2, 2)
    assert listener.lines == []


@pytest.mark.shared
def test_real_photographs(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").symlink_to(shared_data / "flowers17")
    dataset, _ = get(tmp_path, side=32)
    assert (len(dataset.train), len(dataset.test), len(dataset.classes)) == (1088, 272, 17)
    assert dataset.train.labels.bincount().tolist() == [64] * 17


def test_held_out_images_are_mixed_so_that_the_first_ones_are_of_all_classes(
    tmp_path: Path,
) -> None:
    folder = write_tree(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(1, 40):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "test" / name / f"{number:04d}.png")
    test, again = get(tmp_path)[0].test, get(tmp_path)[0].test
    assert sorted(test.labels.tolist()) == [0] * 40 + [1] * 40
    assert 10 <= int(test.labels[:40].sum()) <= 30
    assert torch.equal(test.images, again.images)
    assert test.labels.tolist() == again.labels.tolist()
    for label, name in enumerate(("cat", "dog")):
        shown = [np.asarray(Image.open(file)) for file in (folder / "test" / name).glob("*.png")]
        files = {pixels.tobytes() for pixels in shown if pixels.shape == (8, 8, 3)}
        images = test.images[test.labels == label].permute(0, 2, 3, 1).numpy()
        found = {image.tobytes() for image in images}
        assert len(files) == 39  # and one of another size, which was resized
        assert files < found


def test_images_of_another_mode_are_counted(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for number, mode in enumerate(("L", "RGBA", "RGBA")):
        Image.new(mode, (9, 9)).save(folder / "train" / "cat" / f"odd{number}.png")
    dataset, listener = get(tmp_path)
    assert len(dataset.train) == 9
    assert listener.lines == ["tree-train-8: converted 3 images to RGB: 1 L, 2 RGBA"]


def test_corrupt_files_are_named_and_counted(tmp_path: Path) -> None:
    folder = write_tree(tmp_path, count=30)
    for number in range(25):
        (folder / "train" / "dog" / f"{number:04d}.png").write_bytes(b"no image")
    with pytest.raises(CareError) as caught:
        get(tmp_path)
    message = str(caught.value)
    assert "25 of 60 image files cannot be read" in message
    assert message.count("  dog/00") == 20
    assert "  and 5 more" in message
    assert "data.skip_corrupt: true" in message
    with pytest.raises(CareError, match="not decoded yet"):
        load_dataset(tree(), tmp_path)


def test_a_link_to_nothing_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    link = write_tree(tmp_path) / "train" / "dog" / "link.png"
    link.symlink_to("nothing.png")
    with pytest.raises(CareError, match=r"1 of 7 image files cannot be read:\n  dog/link.png"):
        get(tmp_path)
    link.unlink()
    link.symlink_to("0001.png")
    assert len(get(tmp_path)[0].train) == 7


def test_a_mended_file_is_read_again(tmp_path: Path) -> None:
    file = write_tree(tmp_path) / "train" / "dog" / "0001.png"
    whole = file.read_bytes()
    file.write_bytes(b"no image")
    with pytest.raises(CareError, match="1 of 6 image files"):
        get(tmp_path)
    file.write_bytes(whole)
    assert len(get(tmp_path)[0].train) == 6


def test_corrupt_files_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    whole = get(tmp_path)[0]
    (folder / "train" / "cat" / "0001.png").write_bytes(b"no image")
    dataset, listener = get(tmp_path, skip_corrupt=True)
    kept = [0, 2, 3, 4, 5]
    assert torch.equal(dataset.train.images, whole.train.images[kept])
    assert torch.equal(dataset.train.labels, whole.train.labels[kept])
    assert listener.lines[0].startswith("tree-train-8: cannot be read: cat/0001.png")
    assert listener.lines[1].startswith("tree-train-8: left out 1 that cannot be read:\n  cat/0001")
    pixels = dataset.train.images.double() / 255
    torch.testing.assert_close(torch.tensor(dataset.mean).double(), pixels.mean((0, 2, 3)))


def test_a_cache_that_leaves_files_out_is_none_for_who_wants_all(tmp_path: Path) -> None:
    (write_tree(tmp_path) / "train" / "cat" / "0001.png").write_bytes(b"no image")
    get(tmp_path, skip_corrupt=True)
    with pytest.raises(CareError, match=r"1 of 6 image files cannot be read:\n  cat/0001.png"):
        load_dataset(tree(), tmp_path)
    with pytest.raises(CareError, match="1 of 6 image files"):
        prepare(tree(), tmp_path, Listener())


def test_corrupt_files_are_reported_when_they_are_met_and_nothing_else_is_decoded_twice(
    tmp_path: Path,
) -> None:
    folder = write_tree(tmp_path, count=400)
    (folder / "train" / "cat" / "0001.png").write_bytes(b"no image")
    (folder / "test" / "dog" / "0000.png").write_bytes(b"no image")
    listener = Listener()
    with pytest.raises(CareError) as caught:
        prepare(tree(), tmp_path, listener)
    assert [line.partition(": cannot be read: ")[2].split(":")[0] for line in listener.lines] == [
        "cat/0001.png",
        "dog/0000.png",
    ]
    assert "1 of 800 image files" in str(caught.value)
    assert "1 of 2 image files" in str(caught.value), "both parts are looked at"
    dataset, listener = get(tmp_path, skip_corrupt=True)
    done = [done for name, done, _ in listener.steps if "train" in name]
    assert done[0] == 800 - 256, "the part of the corrupt file is decoded again"
    assert (len(dataset.train), len(dataset.test)) == (799, 1)


def test_a_tree_without_one_readable_image(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for file in (folder / "train").rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(CareError, match="none of the 6 images can be read"):
        get(tmp_path, skip_corrupt=True)


def test_a_changed_tree_is_not_read_from_its_old_cache(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    get(tmp_path)
    shutil.copy(folder / "train/cat/0000.png", folder / "train/cat/0009.png")
    with pytest.raises(CareError, match="have changed since"):
        load_dataset(tree(), tmp_path)
    assert len(get(tmp_path)[0].train) == 7


def add_flat_test(folder: Path) -> None:
    """ImageNet's own test images have no classes."""
    shutil.copy(folder / "train/cat/0000.png", folder / "test" / "ILSVRC2012_test_00000001.png")


def add_kaggle_test(folder: Path) -> None:
    (folder / "test" / "images").mkdir()
    shutil.copy(folder / "train/cat/0000.png", folder / "test" / "images" / "test_00000001.png")


@pytest.mark.parametrize("fill", [lambda _: None, add_flat_test, add_kaggle_test])
def test_a_test_folder_without_classes_gives_way_to_val(
    tmp_path: Path, fill: Callable[[Path], None]
) -> None:
    folder = write_tree(tmp_path)
    (folder / "test").rename(folder / "val")
    (folder / "test").mkdir()
    fill(folder)
    dataset, listener = get(tmp_path)
    assert dataset.test.labels.tolist() in ([0, 1], [1, 0])
    assert "1 folder test/, as it has none of the classes" in listener.lines[0]


def test_where_both_have_classes_test_is_held_out(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (folder / "val" / "cat").mkdir(parents=True)
    shutil.copy(folder / "train/cat/0000.png", folder / "val/cat/0000.png")
    dataset, listener = get(tmp_path)
    assert (len(dataset.test), listener.lines) == (2, [])


def test_a_loop_of_links_is_refused_and_a_link_elsewhere_followed(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(folder / "train/cat/0000.png", tmp_path / "elsewhere")
    link = folder / "train" / "cat" / "more"
    link.symlink_to(tmp_path / "elsewhere")
    assert len(get(tmp_path)[0].train) == 7
    link.unlink()
    link.symlink_to("..")
    with pytest.raises(ConfigError, match=r"train/cat/more/.*a link to a folder above it"):
        get(tmp_path)


def test_a_class_that_is_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (write_tree(tmp_path) / "train" / "frog").symlink_to("a disk that is not mounted")
    with pytest.raises(ConfigError, match="train/frog: got 'a dangling link'"):
        get(tmp_path)


def test_a_folder_that_cannot_be_listed_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests run as root, who may list everything: the kernel's answer is put in its place."""
    folder = write_tree(tmp_path)
    (folder / "train" / "cat" / "private").mkdir()
    scandir = os.scandir

    def denied(path: Path) -> Any:
        if path.name == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("care.data.fingerprints.image_folder.os.scandir", denied)
    with pytest.raises(CareError, match=r"cat/private: cannot be listed \(Permission denied\)"):
        get(tmp_path)


def test_a_pipe_is_no_image_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(write_tree(tmp_path) / "train" / "cat" / "pipe.png")
    with pytest.raises(CareError, match=r"cat/pipe.png: a pipe, a socket or a device, no file"):
        get(tmp_path)


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for split in ("train", "test"):
        (folder / split / "cat").rename(folder / split / os.fsdecode(b"c\xe2t"))
    cat = folder / "train" / os.fsdecode(b"c\xe2t")
    shutil.copy(folder / "train/dog/0000.png", cat / os.fsdecode(b"caf\xe9.png"))
    dataset, _ = get(tmp_path)
    assert dataset.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert list(map(os.fsencode, dataset.classes)) == [b"c\xe2t", b"dog"]
    (folder / "train" / "dog" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no image")
    with pytest.raises(CareError, match="1 of 8 image files cannot be read"):
        get(tmp_path)


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (folder / "train" / "Thumbs.db").touch()
    (folder / "train" / "cat" / "Thumbs.db").touch()
    (folder / "train" / "cat" / "._0000.png").touch()
    (folder / "test" / ".DS_Store").touch()
    listener = get(tmp_path)[1]
    assert listener.lines == [
        "tree: skipped: 2 hidden, 1 in train/ itself, not in a class folder, "
        "1 no image by their suffix"
    ]


def test_files_and_labels_are_those_of_torchvision(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for name in ("cat/b/deep", "cat/b", "dog/a"):
        below = folder / "train" / name
        below.mkdir(exist_ok=True, parents=True)
        shutil.copy(folder / "train/cat/0000.png", below / "z.png")
        Image.new("RGB", (9, 9), "red").save(below / "a.JPG")
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    oracle = datasets.ImageFolder(folder / "train")
    dataset, _ = get(tmp_path, side=9)
    assert dataset.train.labels.tolist() == oracle.targets
    for image, (path, _) in zip(dataset.train.images, oracle.samples, strict=True):
        assert np.array_equal(image.numpy(), decode(Path(path), 9).pixels)


def test_what_is_hidden_is_neither_class_nor_image(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for hidden in (".checkpoints", "cat/.checkpoints"):
        (folder / "train" / hidden).mkdir()
        shutil.copy(folder / "train/cat/0000.png", folder / "train" / hidden / "0000.png")
    (folder / "train/cat/._0001.png").write_bytes(b"what a Mac leaves")
    dataset, _ = get(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.train) == 6


def test_a_class_list_chooses_folders(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    shutil.copytree(folder / "train" / "cat", folder / "train" / "wild cat")
    shutil.copytree(folder / "test" / "cat", folder / "test" / "wild cat")
    (tmp_path / "classes.txt").write_text("# mine\nwild cat\n\ndog  the best friend\n")
    dataset, _ = get(tmp_path, class_list="classes.txt")
    assert dataset.classes == ("dog", "wild cat")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_imagenet_100_is_a_tree_with_a_list(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    folder.rename(tmp_path / "imagenet")
    (tmp_path / "imagenet" / "test").rename(tmp_path / "imagenet" / "val")
    config = DataConfig(name="imagenet100", side=8)
    with pytest.raises(CareError, match=r"imagenet100.txt of the repository HobbitLong/CMC"):
        prepare(config, tmp_path, Listener())
    (tmp_path / "imagenet100.txt").write_text("dog\ncat\n")
    prepare(config, tmp_path, Listener())
    assert load_dataset(config, tmp_path).classes == ("cat", "dog")


def broken(root: Path, kind: str) -> dict[str, Any]:
    folder = write_tree(root)
    (root / "classes.txt").write_text("dog\nbird\n" if kind == "unlisted" else "dog\ndog\n")
    if kind == "empty class":
        (folder / "train" / "bird").mkdir()
    elif kind == "class of test only":
        shutil.copytree(folder / "test" / "cat", folder / "test" / "bird")
    elif kind == "no test":
        shutil.rmtree(folder / "test")
    elif kind == "no classes":
        shutil.rmtree(folder / "train")
        (folder / "train").mkdir()
    return {"class_list": "classes.txt"} if kind in ("unlisted", "twice") else {}


@pytest.mark.parametrize(
    ("kind", "field", "allowed"),
    [
        ("empty class", "train/bird", "one image or more"),
        ("class of test only", "test/", "only classes that train/ has too"),
        ("no test", "data.path", "a folder with train/ and test/ or val/"),
        ("no classes", "data.path", "a folder for each class"),
        ("twice", "data.class_list", "a class folder a line, each once"),
        ("unlisted", "data.class_list", "allowed: cat, dog"),
    ],
)
def test_a_broken_tree_is_refused(
    refused: Callable[..., Problem], tmp_path: Path, kind: str, field: str, allowed: str
) -> None:
    problem = refused(prepare, tree(broken(tmp_path, kind)), tmp_path, Listener())
    assert problem.field == field
    assert allowed in problem.allowed


def test_a_missing_tree_and_list_are_refused(
    refused: Callable[..., Problem], tmp_path: Path
) -> None:
    assert refused(prepare, tree(), tmp_path, Listener()).field == "data.path"
    write_tree(tmp_path)
    config = tree({"class_list": "none.txt"})
    assert refused(prepare, config, tmp_path, Listener()).field == "data.class_list"


def small_trial(**data: Any) -> TrialConfig:
    """A trial that a tree of six images is large enough for."""
    tree = {**TINY, "data": {"name": "images", "path": "tree", "side": 8, **data}}
    tree["training"] = {"epochs": 1, "batch_size": 2}
    tree["evaluation"] = {"knn_neighbors": 2}
    tree["objective"] = {"equivariance": {"splits": 1}}
    return TrialConfig.model_validate(tree)


@pytest.mark.parametrize(
    ("data", "field", "value"),
    [
        ({}, "data.name", "images"),
        ({"class_list": "classes.txt"}, "data.class_list", "classes.txt"),
        ({"class_list": "classes.txt", "train_images": 2}, "data.train_images", 2),
    ],
)
def test_a_single_class_is_refused(
    refused: Callable[..., Problem], tmp_path: Path, data: dict[str, Any], field: str, value: object
) -> None:
    folder = write_tree(tmp_path)
    (tmp_path / "classes.txt").write_text("dog\n")
    if not data:
        shutil.rmtree(folder / "train" / "cat")
        shutil.rmtree(folder / "test" / "cat")
    config = small_trial(**data)
    prepare(config.data, tmp_path, Listener())
    dataset = load_dataset(config.data, tmp_path)
    problem = refused(check_dataset, config, dataset)
    assert (problem.field, problem.value) == (field, value)
    assert "two classes or more, for a linear probe" in problem.allowed
    assert "are all of 'dog'" in problem.allowed
    problem = refused(check_transfer, config.data, dataset, "evaluation.transfer.0")
    assert problem.field == field.replace("data.", "evaluation.transfer.0.")


def test_two_classes_are_enough(tmp_path: Path) -> None:
    write_tree(tmp_path)
    dataset, _ = get(tmp_path)
    check_dataset(small_trial(), dataset)
    check_transfer(tree(), dataset, "evaluation.transfer.0")


def test_a_batch_larger_than_the_tree_is_refused_once_it_is_known(tmp_path: Path) -> None:
    write_tree(tmp_path)
    dataset, _ = get(tmp_path)
    config = TrialConfig.model_validate({**TINY, "data": {"name": "images", "path": "tree"}})
    with pytest.raises(ConfigError) as caught:
        check_dataset(config, dataset)
    assert [problem.field for problem in caught.value.problems] == ["training.batch_size"]
    part = tree({"train_images": 7})
    with pytest.raises(ConfigError, match="at most 6, the number of train images"):
        load_dataset(part, tmp_path)
