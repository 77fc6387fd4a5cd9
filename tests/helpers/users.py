"""Act as other users of this machine; the tests run as root."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class User:
    """A user of the machine, by numbers that no system user has.

    Attributes:
        uid: Their id, and that of their own group.
        groups: Further groups.
    """

    uid: int
    groups: tuple[int, ...] = ()

    @contextlib.contextmanager
    def acting(self, umask: int = 0o022) -> Iterator[None]:
        """Give this process their rights while entered."""
        before = os.getgroups(), os.getegid(), os.geteuid(), os.umask(umask)
        os.setgroups(self.groups)
        os.setegid(self.uid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(before[2])
            os.setegid(before[1])
            os.setgroups(before[0])
            os.umask(before[3])


LAB = next(each for each in grp.getgrall() if each.gr_name == "users")
ALICE, BOB = User(60_001, (LAB.gr_gid,)), User(60_002, (LAB.gr_gid,))
STRANGER = User(60_003)


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """Yield a folder in which every user may write, as pytest's are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="care-users-", dir="/tmp"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def modes(root: Path) -> dict[str, str]:
    """Map each file and folder of a tree, itself included, to its mode."""
    found = {".": root, **{str(path.relative_to(root)): path for path in root.rglob("*")}}
    return {name: f"{path.lstat().st_mode & 0o7777:04o}" for name, path in found.items()}
