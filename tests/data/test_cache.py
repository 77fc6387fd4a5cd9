"""The cache of decoded images survives what processes and disks do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from care.data.dataset import load_dataset
from care.data.prepare import prepare
from care.errors import CareError
from care.system.files import DiskError
from tests.helpers.listener import Listener
from tests.helpers.paths import ROOT
from tests.helpers.trees import tree, write_tree

# Builds the cache part after part and says each; a decoded image takes 2 ms more than it needs.
BUILDER = """
import os, sys, time
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import care.data.image_folder as module
from care.data.prepare import prepare
from tests.helpers.trees import tree
decode = module.decode
def slow(path, side):
    time.sleep(float(sys.argv[2]))
    return decode(path, side)
module.decode = slow
class Reporter:
    def log(self, line): print("log", line, flush=True)
    def progress(self, what, done, total): print("step", done, total, flush=True)
prepare(tree(), Path(sys.argv[1]), Reporter())
"""

# Builds the cache and dies when all that is missing is the file that says that it is whole.
DYING_BUILDER = """
import os, signal, sys
from pathlib import Path
import care.data.cache as module
from care.data.prepare import prepare
from tests.helpers.listener import Listener
from tests.helpers.trees import tree
write = module.write_json
def deadly(path, value):
    if path.name == "index.json":
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, value)
module.write_json = deadly
prepare(tree({"skip_corrupt": True}), Path(sys.argv[1]), Listener())
"""


def builder(root: Path, delay: float = 0.002) -> subprocess.Popen[str]:
    return started(BUILDER, str(root), str(delay))


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def first_steps(process: subprocess.Popen[str]) -> list[int]:
    """Images done when the builder first reported, and after its first part."""
    assert process.stdout is not None
    return [int(process.stdout.readline().split()[1]) for _ in range(2)]


def test_a_killed_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_tree(tmp_path / "killed", count=700)
    process = builder(tmp_path / "killed")
    assert first_steps(process) == [0, 256]
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    with pytest.raises(CareError, match="not decoded yet"):
        load_dataset(tree(), tmp_path / "killed")
    again = builder(tmp_path / "killed", delay=0)
    done = first_steps(again)[0]
    assert 256 <= done < 1400
    assert again.wait(60) == 0
    write_tree(tmp_path / "whole", count=700)
    prepare(tree(), tmp_path / "whole", Listener())
    killed, whole = (load_dataset(tree(), tmp_path / name).train for name in ("killed", "whole"))
    assert torch.equal(killed.images, whole.images)
    cache = tmp_path / "killed" / ".care-cache"
    left = {path.name for folder in cache.iterdir() for path in folder.iterdir()}
    assert {name for name in left if not name.startswith("claim-")} == {"images.npy", "index.json"}


@pytest.mark.parametrize("corrupt", [False, True])
def test_a_build_killed_before_its_last_word_decodes_nothing_again(
    tmp_path: Path, corrupt: bool
) -> None:
    for name in ("killed", "whole"):
        folder = write_tree(tmp_path / name)
        if corrupt:
            (folder / "train/cat/0001.png").write_bytes(b"no image")
    config = tree({"skip_corrupt": True})
    for _ in range(2):
        process = started(DYING_BUILDER, str(tmp_path / "killed"))
        assert process.wait(60) == -signal.SIGKILL
    listener = Listener()
    prepare(config, tmp_path / "killed", listener)
    assert [step[1:] for step in listener.steps if "train" in step[0]] == [(6, 6)]
    prepare(config, tmp_path / "whole", Listener())
    killed, whole = (load_dataset(config, tmp_path / name) for name in ("killed", "whole"))
    assert torch.equal(killed.train.images, whole.train.images)
    assert torch.equal(killed.train.labels, whole.train.labels)
    assert (killed.mean, killed.std) == (whole.mean, whole.std)
    assert len(killed.train) == 6 - corrupt


def test_two_builders_at_once_do_the_work_once(tmp_path: Path) -> None:
    write_tree(tmp_path, count=300)
    processes = [builder(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("step 600 600" in output for output in outputs) == 1
    assert sum("is being built by process" in output for output in outputs) <= 1
    assert len(load_dataset(tree(), tmp_path).train) == 600


def test_a_full_disk_is_reported_and_leaves_nothing_that_passes_for_whole(
    tmp_path: Path, no_space: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    write_tree(tmp_path)
    with no_space(1000), pytest.raises(DiskError):
        prepare(tree(), tmp_path, Listener())
    with pytest.raises(CareError, match="not decoded yet"):
        load_dataset(tree(), tmp_path)
    prepare(tree(), tmp_path, Listener())
    assert len(load_dataset(tree(), tmp_path).train) == 6


def test_an_unfinished_cache_of_files_that_have_changed_is_removed(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    file = folder / "train/cat/0000.png"
    whole = file.read_bytes()
    file.write_bytes(b"no image")
    with pytest.raises(CareError):
        prepare(tree(), tmp_path, Listener())
    file.write_bytes(whole)
    prepare(tree(), tmp_path, Listener())
    caches = list((tmp_path / ".care-cache").iterdir())
    assert len(caches) == 2, caches  # training and test images


def test_a_second_preparation_decodes_nothing(tmp_path: Path) -> None:
    write_tree(tmp_path)
    prepare(tree(), tmp_path, Listener())
    files = list((tmp_path / ".care-cache").rglob("images.npy"))
    times = [file.stat().st_mtime_ns for file in files]
    time.sleep(0.02)
    prepare(tree(), tmp_path, Listener())
    assert [file.stat().st_mtime_ns for file in files] == times


def test_writing_to_mapped_images_changes_no_file(tmp_path: Path) -> None:
    write_tree(tmp_path)
    prepare(tree(), tmp_path, Listener())
    images = load_dataset(tree(), tmp_path).train.images
    before = images.clone()
    images.zero_()
    assert torch.equal(load_dataset(tree(), tmp_path).train.images, before)


def test_a_cache_that_lost_its_end_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path)
    prepare(tree(), tmp_path, Listener())
    (file,) = tmp_path.glob(".care-cache/tree-train-*/images.npy")
    with file.open("r+b") as opened:
        opened.truncate(300)
    with pytest.raises(CareError, match=r"tree-train-8-.*: damaged .*remove it"):
        load_dataset(tree(), tmp_path)
