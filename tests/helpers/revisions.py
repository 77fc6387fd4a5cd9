"""A copy of this repository with a history of its own, and ``care`` as its checkout runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.processes import CARE

LOSS = "care/objectives/infonce.py"
_AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a repository."""
    command = ["git", "-C", str(folder), *_AUTHOR, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def copy_repository(target: Path) -> Path:
    """Make a repository of the working tree as it is, with one commit."""
    files = git(ROOT, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in files:
        if name.startswith(("tests/", "benchmarks/")) or not (ROOT / name).is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    git(target, "init", "--quiet", "--initial-branch=main")
    commit(target, "as it is")
    return target


def commit(repository: Path, subject: str) -> str:
    """Commit all changes; return the commit."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", subject)
    return git(repository, "rev-parse", "HEAD")


def edit(repository: Path, file: str, before: str, after: str) -> None:
    """Replace the one occurrence of a text in a file."""
    text = (repository / file).read_text()
    assert text.count(before) == 1, before
    (repository / file).write_text(text.replace(before, after))


def start(
    repository: Path, folder: Path, *arguments: str, more: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start ``care`` of a repository in a process group of its own."""
    return subprocess.Popen(
        [*CARE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(repository), **(more or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(
    repository: Path,
    folder: Path,
    *arguments: str,
    status: int = 0,
    more: Mapping[str, str] | None = None,
) -> str:
    """Run ``care`` of a repository; return what it prints, as one line."""
    process = start(repository, folder, *arguments, more=more)
    output = process.communicate(timeout=240)[0]
    assert process.returncode == status, output
    return " ".join(output.split())
