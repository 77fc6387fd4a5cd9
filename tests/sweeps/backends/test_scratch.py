"""Folders for Ray: short enough, and none of a killed process is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from care.errors import CareError
from care.system.files import DiskError
from sweeps.backends.scratch import LONGEST_PARENT, folder_for_ray, make_scratch, remove_scratch
from sweeps.tune.node import Node

# What Ray puts below it: the time, its process's number, of at most seven digits.
BELOW = "/session_2026-11-24_15-02-31_200455_1234567/sockets/plasma_store"


def test_a_socket_fits_below_it() -> None:
    folder = make_scratch(Path("/tmp"))
    longest = len(str(folder_for_ray(folder))) - len(str(os.getpid())) + 7
    shutil.rmtree(folder)
    assert longest - len("/tmp") + LONGEST_PARENT + len(BELOW) <= 107


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    script = "import sys, pathlib; from sweeps.backends.scratch import make_scratch as make;"
    script += "print(make(pathlib.Path(sys.argv[1])).name)"
    run = [sys.executable, "-c", script, str(tmp_path)]
    left = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    assert (tmp_path / left).exists()
    mine = make_scratch(tmp_path)
    assert not (tmp_path / left).exists()
    assert make_scratch(tmp_path) != mine
    assert mine.exists(), "a living process keeps its own"
    (tmp_path / left).mkdir()  # as the Ray of the killed one does when it writes on
    remove_scratch(mine)
    assert not (tmp_path / left).exists()


def test_a_folder_of_another_container_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "care-beef-999999-0000"
    mine = make_scratch(tmp_path)
    assert mine.name[:9] != other.name[:9]
    mine.rmdir()
    other.mkdir()
    make_scratch(tmp_path)
    assert other.exists()


def test_links_that_another_user_planted_are_not_followed(tmp_path: Path) -> None:
    mine = make_scratch(tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    # A dead process's name, as for a folder to be cleared away.
    planted = mine.name.replace(f"-{os.getpid()}-", "-4194304-")
    (tmp_path / planted).symlink_to(victim)
    make_scratch(tmp_path)
    node = Node(mine)
    (mine / "trials").mkdir()
    (mine / "trials" / "0123").symlink_to(victim / "file")
    with pytest.raises(DiskError, match="symbolic link"):
        node.enter(Path("/store/trials/0123"))
    assert (victim / "file").read_text() == "mine"


@pytest.mark.parametrize("how", ["writable by others", "a link"])
def test_a_node_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = make_scratch(tmp_path)
    monkeypatch.setenv("CARE_NODE_FOLDER", str(folder))
    assert Node.of_this_process() == Node(folder)
    if how == "a link":
        (tmp_path / "link").symlink_to(folder)
        monkeypatch.setenv("CARE_NODE_FOLDER", str(tmp_path / "link"))
    else:
        folder.chmod(0o722)
    with pytest.raises(CareError, match="not a folder that only this user can write"):
        Node.of_this_process()
