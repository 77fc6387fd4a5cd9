"""Find what the names of revisions stand for now."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NoReturn

from care.errors import ConfigError, Problem, nearest
from care.system.checkout import CODE, checkout
from care.system.git import git
from care.trials.code_version import code_version
from care.trials.version_cache import cached_version
from sweeps.revisions.revision import WORKING, Revision
from sweeps.revisions.snapshot import SnapshotError, read_version, temporary_copy


def resolve_revisions(names: Iterable[str], source: str) -> dict[str, Revision]:
    """Find the commit and the code version of each revision.

    Args:
        names: Names for git: commits, tags, branches, ``HEAD~3``; or :data:`WORKING`.
        source: File of the sweep, for messages.

    Raises:
        ConfigError: There is no such revision, or its code cannot train a trial.
    """
    return {name: _Search(index, name, source).find() for index, name in enumerate(names)}


def has_changes() -> bool:
    """Check for changes of the code in the working tree that are not committed."""
    return bool(git("status", "--porcelain", "--", "care"))


def head() -> str | None:
    """Return the commit that is checked out; None without git."""
    return git("rev-parse", "--verify", "--quiet", "HEAD")


def subject(commit: str) -> str:
    """Return the date and the first line of a commit's message; empty without git."""
    # A user's setting may print signatures before the line.
    return git("show", "--no-patch", "--no-show-signature", "--format=%cs %s", commit) or ""


class _Search:
    """The search for one revision."""

    def __init__(self, index: int, name: str, source: str) -> None:
        self._field, self._name, self._source = f"code.{index}", name, source

    def find(self) -> Revision:
        self._check_repository()
        if self._name == WORKING:
            return Revision(code_version=code_version())
        # A name cannot be an option: it stands after --end-of-options.
        commit = git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{self._name}^{{commit}}"
        )
        if not commit:
            self._refuse_unknown()
        tree = git("rev-parse", "--verify", "--quiet", f"{commit}:./care")
        if not tree:
            self._refuse(f"a revision with a folder care; {commit[:12]} has none")
        key = f"checkout of {tree} {sys.version_info[:2]}"
        return Revision(commit=commit, code_version=cached_version(key, lambda: self._read(commit)))

    def _read(self, commit: str) -> str:
        try:
            with temporary_copy(commit) as folder:
                return read_version(folder)
        except SnapshotError as error:
            self._refuse(f"a revision that this sweep can train; {commit[:12]} {error}")

    def _check_repository(self) -> None:
        if checkout() is None:
            self._refuse(f"with care in a git checkout; it is installed in {CODE}, without history")
        if git("rev-parse", "--is-inside-work-tree") is None:
            self._refuse(f"in a git repository that git can read, which {CODE} is not")

    def _refuse_unknown(self) -> NoReturn:
        names = (git("for-each-ref", "--format=%(refname:short)") or "").split()
        close = nearest(self._name, ["HEAD", WORKING, *names])
        allowed = f"a commit, tag or branch of {CODE}, or {WORKING}"
        if git("rev-parse", "--is-shallow-repository") == "true":
            allowed += "; this clone is shallow, 'git fetch --unshallow' gets its history"
        self._refuse(allowed, close)

    def _refuse(self, allowed: str, close: str | None = None) -> NoReturn:
        raise ConfigError(
            self._source, [Problem(self._field, self._name, f"allowed: {allowed}", close)]
        )
