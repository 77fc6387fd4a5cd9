"""Room for Ray's session: refused before anything starts, watched while it runs."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from care.trials.state import State
from sweeps.backends.disk_space import NoRoomError, check_room, watched
from sweeps.backends.local import local_ray
from sweeps.cli.sweep import conclude
from sweeps.plan import make_plan
from sweeps.process.signals import Interrupt
from sweeps.run import SweepResult
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate, load

MEBIBYTE = 2**20


def disk(
    monkeypatch: pytest.MonkeyPatch, mebibytes: int, files: int = 10**6, shared: int = 10**6
) -> None:
    """Let every folder lie on a disk with so much room; shared memory has ``shared`` MiB."""

    def statvfs(folder: object) -> SimpleNamespace:
        free = shared if str(folder) == "/dev/shm" else mebibytes
        return SimpleNamespace(f_bavail=free, f_frsize=MEBIBYTE, f_files=10**6, f_favail=files)

    monkeypatch.setattr(os, "statvfs", statvfs)


def test_ray_is_not_started_where_its_session_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.backends.local._short_folder", lambda: tmp_path)
    disk(monkeypatch, 8)
    problem = rf"{tmp_path}: 8 MiB are free where Ray keeps its session, which needs 64 MiB"
    with pytest.raises(NoRoomError, match=problem), local_ray(1, 0, tmp_path / "ray.log"):
        pytest.fail("it started")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_for_more_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, 10**4, files=20)
    with pytest.raises(NoRoomError, match=r"has room for 20 more files; 1000 are needed"):
        check_room(tmp_path, MEBIBYTE)


def test_little_shared_memory_needs_more_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, 100, shared=64)
    check_room(tmp_path, 32 * MEBIBYTE)
    with pytest.raises(NoRoomError, match="needs 192 MiB"):
        check_room(tmp_path, 128 * MEBIBYTE)


def test_a_disk_that_fills_is_reported_once_and_the_reserve_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    reported = threading.Event()

    def on_full(line: str) -> None:
        lines.append(line)
        reported.set()

    with watched(tmp_path, on_full):
        assert (tmp_path / "reserve").stat().st_size > MEBIBYTE
        assert lines == []
        disk(monkeypatch, 1)
        assert reported.wait(60)
        assert not (tmp_path / "reserve").exists()
    assert len(lines) == 1
    assert lines[0].startswith(f"The disk of {tmp_path} is full; Ray cannot work without it.")


def test_an_end_without_a_signal_has_the_status_of_a_sweep_that_is_not_complete(
    tmp_path: Path,
) -> None:
    sweep, store = load(tmp_path, axes={WEIGHT: [0]}, seeds=1), Store(tmp_path / "runs")
    fabricate(store, sweep.trial({WEIGHT: 0}, 0), State.PAUSED, 1)
    with Interrupt() as interrupt:
        interrupt.request(hurried=False)
        assert interrupt.requested
    console = Console(file=io.StringIO(), width=200)
    outcome = SweepResult(make_plan(sweep, store), None, {})
    assert conclude(console, "care sweep run sweep.yaml", outcome, interrupt.status) == 1
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 paused. To resume: care sweep run sweep.yaml" in shown
