"""Copy the code of a revision to a folder, from which a process of its own can import it."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from care.errors import CareError
from care.system.checkout import CODE
from care.system.files import write_json
from care.system.git import SNAPSHOT
from care.system.permissions import adopt, make_folder
from sweeps.revisions.process import Answer, SnapshotProcess
from sweeps.revisions.revision import Revision

_PACKAGE = "care"
_SECONDS = 60.0


class SnapshotError(CareError):
    """The code of a revision cannot be copied, or cannot train a trial."""


def snapshot_folder(sweep: Path, code_version: str) -> Path:
    """Return the folder of a snapshot within that of its sweep."""
    return sweep / "code" / code_version


def make_snapshot(revision: Revision, sweep: Path) -> None:
    """Copy the code of a revision to its sweep's folder, unless it is there.

    A copy that was killed leaves only a folder whose name starts with ``.part-``.

    Raises:
        SnapshotError: The code cannot be copied, or is not of the revision's version.
    """
    target = snapshot_folder(sweep, revision.code_version)
    if target.exists():
        return
    make_folder(target.parent)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        copy_code(revision.commit, part)
        version = read_version(part)
        if version != revision.code_version:
            raise SnapshotError(
                f"the code has changed to {version} since this command read {revision.code_version}"
                "; repeat the command"
            )
        adopt(part)
        part.rename(target)
    except OSError as error:
        if not target.exists():  # otherwise another process has made it
            raise SnapshotError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def copy_code(commit: str, folder: Path) -> None:
    """Copy the package ``care`` of a commit, or of the working tree, with a record of its origin.

    Raises:
        SnapshotError: The commit has no such package.
    """
    if commit:
        archive = subprocess.run(
            ["git", "-C", str(CODE), "archive", "--format=tar", commit, _PACKAGE],
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        if archive.returncode:
            raise SnapshotError(archive.stderr.decode(errors="replace").strip())
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
    else:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(CODE / _PACKAGE, folder / _PACKAGE, ignore=ignored)
    write_json(folder / SNAPSHOT, {"git_commit": commit or None, "git_dirty": not commit})


def read_version(folder: Path) -> str:
    """Return the version that the code in a folder has for itself.

    Raises:
        SnapshotError: The code cannot train a trial; states what is missing.
    """
    return ask(folder, []).version


def ask(folder: Path, configs: list[dict[str, object]]) -> Answer:
    """Ask the code in a folder for its version and for what it refuses of configurations.

    Raises:
        SnapshotError: The code cannot train a trial; states what is missing.
    """
    with SnapshotProcess(folder, {"kind": "check", "configs": configs}) as process:
        answer = process.answer()
    if answer.outcome != "checked":
        raise SnapshotError(answer.error)
    return answer
