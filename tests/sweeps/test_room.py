"""Room for Ray's session: refused before anything starts, watched while it runs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.launch.local import local_ray
from sweeps.launch.room import NoRoomError, check_room, watched


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of its own; where this user may not, the test says so by failing."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@needs_root
def test_ray_is_not_started_where_its_session_has_no_room(
    small: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small("size=8m")
    monkeypatch.setattr("sweeps.launch.local._short_folder", lambda: disk)
    problem = rf"{disk}: 8 MiB are free .* needs \d+ MiB"
    with pytest.raises(NoRoomError, match=problem), local_ray(1, 0, tmp_path / "ray.log"):
        pytest.fail("it started")
    assert list(disk.iterdir()) == []


@needs_root
def test_a_disk_without_room_for_more_files_is_refused(small: Callable[[str], Path]) -> None:
    check_room(small("size=300m"), 2**20)
    with pytest.raises(NoRoomError, match=r"room for \d+ more files; 1000 are needed"):
        check_room(small("size=300m,nr_inodes=20"), 2**20)


def test_little_shared_memory_needs_more_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {tmp_path: 100 * 2**20, Path("/dev/shm"): 64 * 2**20}
    monkeypatch.setattr("sweeps.launch.room._free", free.__getitem__)
    check_room(tmp_path, 32 * 2**20)
    with pytest.raises(NoRoomError, match="needs 192 MiB"):
        check_room(tmp_path, 128 * 2**20)


@needs_root
def test_a_disk_that_fills_is_told_once_and_the_reserve_makes_room(
    small: Callable[[str], Path],
) -> None:
    disk = small("size=64m")
    lines: list[str] = []
    told = threading.Event()

    def on_full(line: str) -> None:
        lines.append(line)
        told.set()

    with watched(disk, on_full):
        with pytest.raises(OSError, match="No space left"):
            (disk / "other").write_bytes(bytes(2**26))
        assert told.wait(30)
        (disk / "log").write_bytes(bytes(8 * 2**20))
    assert len(lines) == 1
    assert lines[0].startswith(f"The disk of {disk} is full; Ray cannot work without it.")


def test_a_disk_with_room_is_left_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    with watched(tmp_path, lines.append):
        assert (tmp_path / "reserve").stat().st_size > 2**20
    assert lines == []
