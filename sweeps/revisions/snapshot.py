"""Copy the code of a revision to a folder, from which a process of its own can import it."""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import os
import py_compile
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from care.errors import CareError
from care.system.checkout import CODE
from care.system.files import read_json, write_json
from care.system.git import SNAPSHOT, git_environment, git_state
from care.system.permissions import adopt, make_folder
from sweeps.revisions.process import Answer, SnapshotProcess
from sweeps.revisions.revision import Revision

_PACKAGE = "care"
_DIGEST = "sha256"
_SUBMODULE = b"160000"
_SECONDS = 60.0


class SnapshotError(CareError):
    """The code of a revision cannot be copied, or cannot train a trial."""


def snapshot_folder(sweep: Path, code_version: str) -> Path:
    """Return the folder of a snapshot within that of its sweep."""
    return sweep / "code" / code_version


def make_snapshot(revision: Revision, sweep: Path) -> None:
    """Copy the code of a revision to its sweep's folder, unless an unchanged copy is there.

    A copy that was killed leaves only a folder whose name starts with ``.part-``.

    Raises:
        SnapshotError: The code cannot be copied, or is not of the revision's version.
    """
    target = snapshot_folder(sweep, revision.code_version)
    if is_unchanged(target):
        with contextlib.suppress(OSError):
            os.utime(target)  # a garbage collection of this moment leaves it
        return
    part = None
    try:
        make_folder(target.parent)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
        copy_code(revision.commit, part)
        version = read_version(part)
        if version != revision.code_version:
            raise SnapshotError(
                f"the code has changed to {version} since this command read {revision.code_version}"
                "; repeat the command"
            )
        _compile(part)
        adopt(part)
        _replace(target, part)
    except OSError as error:
        if not is_unchanged(target):  # otherwise another process has made it
            raise SnapshotError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        if part:
            shutil.rmtree(part, ignore_errors=True)


def _compile(folder: Path) -> None:
    """Compile the modules, which its processes do not.

    What one user's process writes, another of the group could not remove.
    """
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder / _PACKAGE, quiet=2, invalidation_mode=checked)


def _replace(target: Path, part: Path) -> None:
    """Rename a folder to that of a snapshot, in which a damaged copy may be."""
    if target.exists():
        damaged = Path(tempfile.mkdtemp(prefix=".deleted-", dir=target.parent))
        target.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    part.rename(target)


def is_unchanged(folder: Path) -> bool:
    """Check that a folder is a whole snapshot, with the modules that were copied to it."""
    try:
        recorded = (read_json(folder / SNAPSHOT) or {}).get(_DIGEST)
        return recorded is not None and recorded == _digest(folder)
    except (CareError, OSError):
        return False


def is_committed(folder: Path) -> bool:
    """Check that git has the code of a snapshot; False for uncommitted changes or if unknown."""
    with contextlib.suppress(CareError, OSError):
        recorded = read_json(folder / SNAPSHOT) or {}
        return recorded.get("git_dirty") is False and bool(recorded.get("git_commit"))
    return False


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((folder / _PACKAGE).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


@contextlib.contextmanager
def temporary_copy(commit: str) -> Iterator[Path]:
    """Copy the code of a commit, or of the working tree, to a folder that goes afterwards.

    Raises:
        CareError: The folder for temporary files cannot be written, or as :func:`copy_code`.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="care-revision-") as folder:
            copy_code(commit, Path(folder))
            yield Path(folder)
    except OSError as error:
        name = commit[:12] or "the working tree"
        raise CareError(f"{name} cannot be copied to {tempfile.gettempdir()}: {error}") from error


def copy_code(commit: str, folder: Path) -> None:
    """Copy the package ``care`` of a commit, or of the working tree, with a record of its origin.

    Raises:
        SnapshotError: The commit has no such package, or one that is not whole by itself.
        OSError: The folder cannot be written.
    """
    if commit:
        _check_out(commit, folder)
        state: dict[str, Any] = {"git_commit": commit, "git_dirty": False}
    else:
        state = git_state()
        _copy_working_tree(folder)
    write_json(folder / SNAPSHOT, {**state, _DIGEST: _digest(folder)})


def _check_out(commit: str, folder: Path) -> None:
    """Write the files that a checkout of the commit would have.

    ``git archive`` would leave out those with the attribute ``export-ignore``.
    """
    tree = folder.resolve() / ".tree"  # git works in another folder
    with tempfile.TemporaryDirectory(prefix="care-index-") as own:
        index = {"GIT_INDEX_FILE": str(Path(own, "index"))}  # the user's own stays as it is
        # The whole tree, as its attributes apply to the package.
        _git(["read-tree", f"{commit}^{{tree}}"], index)
        listed = _git(["ls-files", "--stage", "-z", "--", _PACKAGE], index)
        entries = [entry.partition(b"\t") for entry in listed.split(b"\0") if entry]
        for mode, _, name in entries:
            if mode.startswith(_SUBMODULE):
                raise SnapshotError(f"has the submodule {os.fsdecode(name)}, which git cannot copy")
        names = b"\0".join(name for _, _, name in entries)
        _git(["checkout-index", "-z", "--stdin", f"--prefix={tree}/"], index, names)
    below = os.fsdecode(_git(["rev-parse", "--show-prefix"]).strip())
    if not (tree / below / _PACKAGE).is_dir():
        raise SnapshotError(f"has no folder {_PACKAGE}")
    (tree / below / _PACKAGE).rename(folder / _PACKAGE)
    shutil.rmtree(tree)
    for path in (folder / _PACKAGE).rglob("*"):
        if path.is_symlink() and not _is_inside(path, folder):
            raise SnapshotError(f"has the link {path.relative_to(folder)} to files outside of it")


def _is_inside(link: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # a link to nothing, or to itself
        return link.resolve(strict=True).is_relative_to((folder / _PACKAGE).resolve())
    return False


def _copy_working_tree(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    try:
        # An editor marks an open file by a link to nothing beside it.
        shutil.copytree(
            CODE / _PACKAGE, folder / _PACKAGE, ignore=ignored, ignore_dangling_symlinks=True
        )
    except shutil.Error as error:
        source, _, reason = error.args[0][0]
        raise SnapshotError(f"{source} cannot be copied ({reason}); repeat the command") from error


def _git(arguments: list[str], more: dict[str, str] | None = None, text: bytes = b"") -> bytes:
    """Run git in the checkout of this code.

    Raises:
        SnapshotError: It fails; has its message.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(CODE), *arguments],
            env={**git_environment(), **(more or {})},
            input=text,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SnapshotError(f"git cannot copy it ({error})") from error
    if done.returncode:
        raise SnapshotError(done.stderr.decode(errors="replace").strip() or "git cannot copy it")
    return done.stdout


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
