"""A decision that cannot be written now is written later, not lost."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from care.system.files import DiskError
from sweeps.store import SweepFolder
from sweeps.tune import disk_wait as patience
from sweeps.tune.disk_wait import PatientFolder

NoSpace = Callable[[int], contextlib.AbstractContextManager[None]]
EVENT = {"event": "rung"}


def test_a_full_disk_is_waited_for(
    tmp_path: Path,
    no_space: NoSpace,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0.05)
    folder = PatientFolder(SweepFolder(tmp_path), lambda: False)
    writer = threading.Thread(target=folder.log, args=[EVENT])
    with no_space(3):
        writer.start()
        time.sleep(0.3)
        assert writer.is_alive()
        assert folder.events() == []
    writer.join(10)
    assert folder.events() == [EVENT]
    assert len(log_lines) == 1
    assert "tried again" in log_lines[0]


def test_not_when_the_sweep_is_to_end(tmp_path: Path, no_space: NoSpace) -> None:
    folder = PatientFolder(SweepFolder(tmp_path), lambda: True)
    with no_space(3), pytest.raises(DiskError):
        folder.log(EVENT)
