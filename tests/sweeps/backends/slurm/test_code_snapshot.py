"""A queued sweep runs the code as it was when it was submitted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import care
from care.system.git import SNAPSHOT, git_state
from sweeps.backends.slurm.code_snapshot import take_snapshot

SCRIPT = """
import json, care, sweeps, analysis
from care.trials.code_version import code_version
from care.system.git import git_state
files = [package.__file__ for package in (care, sweeps, analysis)]
print(json.dumps([files, code_version(), {"version": care.__version__, **git_state()}]))
"""


def test_python_imports_the_copy_and_it_tells_of_its_origin(tmp_path: Path) -> None:
    from care.trials.code_version import code_version

    copy = take_snapshot(tmp_path)
    recorded = {"version": "1.2.3", "git_commit": "as it was", "git_dirty": True}
    (copy / SNAPSHOT).write_text(json.dumps(recorded))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    )
    files, code, state = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(copy) for file in files)
    assert code == code_version()
    assert state == recorded


def test_it_notes_the_version_and_the_commit(tmp_path: Path) -> None:
    copy = take_snapshot(tmp_path)
    expected = {"version": care.__version__, **git_state()}
    assert json.loads((copy / SNAPSHOT).read_text()) == expected
    assert not list(copy.rglob("__pycache__"))


def test_the_same_code_is_copied_once(tmp_path: Path) -> None:
    first = take_snapshot(tmp_path)
    made = first.stat().st_mtime_ns
    assert take_snapshot(tmp_path) == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
