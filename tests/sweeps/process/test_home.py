"""Users without an entry in passwd, without HOME, or with one that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.backends.slurm import commands
from sweeps.process.home import provide_home

STRANGER = 4711
"""A user id that no machine gives anybody."""


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make this process's user one of whom nothing is known."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    def become() -> None:
        for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("pwd.getpwuid", unknown)
        monkeypatch.setattr("os.getuid", lambda: STRANGER)

    return become


def test_a_stranger_gets_a_name_and_a_home(stranger: Callable[[], None]) -> None:
    import getpass

    stranger()
    with pytest.raises(RuntimeError):
        Path.home()
    provide_home()
    assert Path.home() == Path("/nonexistent")
    assert getpass.getuser() == f"uid{STRANGER}"


def test_whoever_has_both_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "somebody")
    before = dict(os.environ)
    provide_home()
    assert dict(os.environ) == before


def test_slurm_is_asked_about_a_number_not_a_name(
    stranger: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name in LOGNAME may be another user's, and a stranger has none."""
    asked: list[str] = []

    def run(command: tuple[str, ...], **_: object) -> SimpleNamespace:
        asked.extend(command)
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    stranger()
    monkeypatch.setattr("sweeps.backends.slurm.commands.subprocess.run", run)
    assert commands.jobs_named("care-tiny") == []
    assert f"--user={STRANGER}" in asked


def test_plots_are_drawn_quietly_without_a_home() -> None:
    code = (
        "from sweeps.process.home import provide_home; provide_home();"
        "import matplotlib; matplotlib.get_cachedir()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
