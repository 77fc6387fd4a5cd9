"""A fingerprint of data stands for their content, wherever, whenever and however they were put."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from care.config import DataConfig
from care.data.dataset import load_dataset
from care.data.decoding import decode
from care.data.fingerprints import hashes
from care.data.fingerprints.fingerprint import fingerprints
from care.data.fingerprints.sources import NotHereError
from care.data.prepare import prepare
from care.errors import CareError
from tests.helpers.listener import Listener
from tests.helpers.trees import tree, write_tree

Contents = dict[str, bytes]
names = st.sampled_from([f"{split}/{name}/{n}.png" for split in ("train", "test")
                         for name in ("cat", "dog") for n in range(3)])  # fmt: skip
contents = st.dictionaries(names, st.binary(max_size=6)).map(
    lambda some: {"train/cat/a.png": b"a", "train/dog/a.png": b"b", "test/cat/a.png": b"", **some}
)


def write(root: Path, files: Contents) -> None:
    for name, content in files.items():
        path = root / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def now(root: Path, config: DataConfig | None = None) -> dict[str, str]:
    return fingerprints(config or tree(), root)


@settings(max_examples=25, deadline=None)
@given(contents, st.randoms(use_true_random=False))
def test_order_times_and_place_do_not_matter(files: Contents, random: object) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        write(Path(first), files)
        shuffled = list(files.items())
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        write(Path(second), dict(shuffled))
        for path in Path(second).rglob("*.png"):
            os.utime(path, (1, 1))
        assert now(Path(first)) == now(Path(second))


@settings(max_examples=40, deadline=None)
@given(contents, contents)
def test_other_content_has_another_fingerprint(before: Contents, after: Contents) -> None:
    """Names only order the files of a class: what counts is their sequence."""

    def seen(files: Contents) -> list[tuple[str, bytes]]:
        return [(name.rpartition("/")[0], content) for name, content in sorted(files.items())]

    with tempfile.TemporaryDirectory() as root:
        write(Path(root), before)
        first = now(Path(root))
        shutil.rmtree(Path(root) / "tree")
        write(Path(root), after)
        assert (now(Path(root)) == first) == (seen(before) == seen(after))


def rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file's content and nothing else that a program may set."""
    stat = file.stat()
    file.write_bytes(change(file.read_bytes()))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def pixel(file: Path) -> None:
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(file)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a pixel": lambda folder: pixel(folder / "train/cat/0001.png"),
    "a byte, with size and time kept": lambda folder: rewrite(
        folder / "train/cat/0001.png", lambda content: content[:-1] + bytes([content[-1] ^ 1])
    ),
    "a label": lambda folder: (folder / "train/cat/0001.png").rename(folder / "train/dog/9.png"),
    "a file more": lambda folder: shutil.copy(
        folder / "train/cat/0001.png", folder / "train/cat/0009.png"
    ),
    "a file less": lambda folder: (folder / "train/cat/0001.png").unlink(),
    "a test file": lambda folder: pixel(folder / "test/cat/0000.png"),
    "the order": lambda folder: (folder / "train/cat/0000.png").rename(folder / "train/cat/9.png"),
    "the classes": lambda folder: [
        (folder / split / "cat").rename(folder / split / "tiger") for split in ("train", "test")
    ],
    "two files exchanged": lambda folder: exchange(
        folder / "train/cat/0000.png", folder / "train/dog/0000.png"
    ),
}


def exchange(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_decoded_tree_is_noticed(tmp_path: Path, change: str) -> None:
    folder = write_tree(tmp_path)
    prepare(tree(), tmp_path, Listener())
    before = now(tmp_path)
    CHANGES[change](folder)
    assert now(tmp_path) != before
    if change != "the classes":  # equal pixels, other names
        with pytest.raises(CareError, match="not decoded yet, or have changed"):
            load_dataset(tree(), tmp_path)


def test_what_leaves_the_content_leaves_fingerprint_and_cache(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "first")
    prepare(tree(), tmp_path / "first", Listener())
    before = now(tmp_path / "first")
    for path in folder.rglob("*.png"):
        path.touch()
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    (tmp_path / "first").rename(tmp_path / "moved")
    for place in ("moved", "copy"):
        assert now(tmp_path / place) == before
        listener = Listener()
        prepare(tree(), tmp_path / place, listener)
        assert not listener.steps, "nothing is decoded again"
        shutil.rmtree(tmp_path / place / ".care-cache")
        shutil.rmtree(tmp_path / place / ".care-hashes")
        prepare(tree(), tmp_path / place, Listener())
        assert now(tmp_path / place) == before


def test_what_was_hashed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tree(tmp_path)
    prepare(tree(), tmp_path, Listener())
    monkeypatch.setattr(hashes, "_memory", {})  # as in another process
    read: list[str] = []
    whole = hashes.HashedFiles._hash

    def hash_file(self: hashes.HashedFiles, name: str) -> str | None:
        read.append(name)
        return whole(self, name)

    monkeypatch.setattr(hashes.HashedFiles, "_hash", hash_file)
    before = now(tmp_path)
    assert not read
    pixel(folder / "train/dog/0002.png")
    assert now(tmp_path) != before
    assert read == ["train/dog/0002.png"]


def test_a_user_knows_why_it_takes_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    folder = write_tree(tmp_path)
    monkeypatch.setattr(hashes, "_LARGE", 100)
    before = now(tmp_path)
    (line,) = log_lines
    assert line.startswith(f"reading {folder}: ")
    assert now(tmp_path) == before
    assert len(log_lines) == 1, "nothing was read again"


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b'{"format": 1}', b'{"format": 1, "files": {"a": 1}}']
)
def test_a_damaged_record_of_hashes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    write_tree(tmp_path)
    prepare(tree(), tmp_path, Listener())
    before = now(tmp_path)
    (record,) = (tmp_path / ".care-hashes").iterdir()
    whole = record.read_bytes()
    record.write_bytes(damage)
    monkeypatch.setattr(hashes, "_memory", {})
    assert now(tmp_path) == before
    prepare(tree(), tmp_path, Listener())
    assert record.read_bytes() == whole


def test_files_that_change_while_they_are_decoded_are_refused(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)

    class Meddler(Listener):
        def progress(self, what: str, done: int, total: int) -> None:
            super().progress(what, done, total)
            if done == total and "train" in what:
                pixel(folder / "train/cat/0000.png")

    with pytest.raises(CareError, match="changed while they were decoded"):
        prepare(tree(), tmp_path, Meddler())
    prepare(tree(), tmp_path, Listener())
    images = load_dataset(tree(), tmp_path).train.images
    assert np.array_equal(images[0].numpy(), decode(folder / "train/cat/0000.png", 8).pixels)


def test_a_class_list_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    write_tree(tmp_path)
    config = tree({"class_list": "classes.txt"})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    before = now(tmp_path, config)
    assert before[""] == now(tmp_path)[""]
    (tmp_path / "classes.txt").write_text("# both\ndog  the friend\ncat\n")
    assert now(tmp_path, config) == before
    (tmp_path / "classes.txt").write_text("dog\n")
    after = now(tmp_path, config)
    assert {part for part in after if after[part] != before[part]} == {"", "class_list"}


def structure(x: float) -> str:
    rows = [
        f"ATOM  {n:5d}  CA  ALA A{n:4d}    {x + 3.8 * n:8.3f}{n % 3:8.3f}{0:8.3f}  1.00  0.00           C"
        for n in range(1, 7)
    ]
    return "\n".join([*rows, "END", ""])


def test_proteins_are_their_files(tmp_path: Path) -> None:
    config = DataConfig(name="proteins")
    with pytest.raises(NotHereError):
        now(tmp_path, config)
    folder = tmp_path / "proteins"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.pdb").write_text(structure(ord(name)))
    before = now(tmp_path, config)
    (folder / "notes.txt").write_text("no protein")
    assert now(tmp_path, config) == before
    exchange(folder / "a.pdb", folder / "b.pdb")
    assert now(tmp_path, config) != before
    np.savez(tmp_path / "p.npz", a=np.ones((5, 3)))
    packed = DataConfig(name="proteins", path="p.npz")
    before = now(tmp_path, packed)
    np.savez(tmp_path / "p.npz", a=np.zeros((5, 3)))
    assert now(tmp_path, packed) != before


@pytest.mark.parametrize(
    ("name", "folder", "files"),
    [
        ("cifar10", "cifar-10-batches-py", [*(f"data_batch_{n}" for n in range(1, 6)),
                                            "test_batch", "batches.meta"]),
        ("cifar100", "cifar-100-python", ["train", "test", "meta"]),
        ("stl10", "stl10_binary", ["train_X.bin", "unlabeled_X.bin", "test_X.bin", "train_y.bin",
                                   "test_y.bin", "class_names.txt"]),
        ("flowers102", "flowers-102", ["imagelabels.mat", "setid.mat", "jpg/image_00001.jpg"]),
    ],
)  # fmt: skip
def test_every_file_of_an_archive_counts(
    tmp_path: Path, name: str, folder: str, files: list[str]
) -> None:
    config = DataConfig(name=name)
    for number, file in enumerate(files):
        path = tmp_path / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]))
    before = now(tmp_path, config)
    (tmp_path / folder / "readme.html").write_text("no sample")
    assert now(tmp_path, config) == before
    for file in files:
        rewrite(tmp_path / folder / file, lambda _: b"!")
        assert now(tmp_path, config) != before, file
        before = now(tmp_path, config)
    (tmp_path / folder / files[0]).unlink()
    with pytest.raises(NotHereError):
        now(tmp_path, config)


def test_digits_are_always_here_and_the_same(tmp_path: Path) -> None:
    digits = DataConfig(name="digits")
    assert now(tmp_path, digits) == now(tmp_path / "nowhere", digits)
