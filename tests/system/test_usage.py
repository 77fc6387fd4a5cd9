"""The use of the machine by a process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from care.system import usage
from care.system.usage import UsageMeter


def busy_wait(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_busy_process_uses_more_than_a_sleeping_one() -> None:
    meter = UsageMeter()
    busy_wait(0.1)
    busy = meter.measure().cpu_percent
    meter = UsageMeter()
    time.sleep(0.3)
    assert busy > meter.measure().cpu_percent


def test_memory_that_is_written_counts() -> None:
    # In a process of its own: one that ran other tests has free memory to use again.
    code = """
from care.system.usage import UsageMeter
before = UsageMeter().measure().memory_megabytes
block = b"x" * 200_000_000
print(UsageMeter().measure().memory_megabytes - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 150 < float(done.stdout) < 260


def test_a_system_without_proc_knows_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_STATM", tmp_path / "statm")
    assert UsageMeter().measure().memory_megabytes is None
