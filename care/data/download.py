"""Downloads through torchvision, with a message that helps where there is no network."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from care.data.preparation import Reporter
from care.errors import CareError
from care.files import DiskError

_PATIENCE_SECONDS = 15.0
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


class Remote(NamedTuple):
    """A file as torchvision knows it.

    Attributes:
        url: Where it is.
        md5: Its checksum.
        name: Its name below the data's root folder.
    """

    url: str
    md5: str
    name: str


def fetch(
    make: Callable[[bool], object],
    remotes: Sequence[Remote],
    root: Path,
    reporter: Reporter,
) -> None:
    """Make sure that a torchvision data set is there and whole.

    Args:
        make: Constructs it with ``download`` as told; raises RuntimeError where files are missing
            or their checksums are wrong.
        remotes: Its files.
        root: Folder of the data sets' files.
        reporter: Told what is downloaded.

    Raises:
        CareError: It cannot be downloaded; names each file, its address, checksum and place.
        DiskError: There is no space for it, or no permission.
    """
    try:
        make(False)
        return
    except RuntimeError:
        pass
    for remote in remotes:
        if (root / remote.name).exists():
            reporter.say(f"checking {root / remote.name}")
        else:
            reporter.say(f"downloading {remote.url} to {root / remote.name}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _patience():
            make(True)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        with contextlib.suppress(OSError):
            root.rmdir()  # made for nothing; what holds anything stays
        if isinstance(error, OSError) and error.errno in _DISK:
            raise DiskError(root, error) from error
        raise CareError(_by_hand(remotes, root, error)) from error


def _by_hand(remotes: Sequence[Remote], root: Path, error: Exception) -> str:
    lines = [
        f"  {remote.url}\n    to {root / remote.name} (md5 {remote.md5})" for remote in remotes
    ]
    listed = "\n".join(lines)
    return (
        f"the data are not there and cannot be downloaded ({error}). "
        f"On a machine with a network, fetch\n{listed}\n"
        "and run the same command again, or name another folder: runtime.data_root, and with "
        "'care data' --root."
    )


@contextmanager
def _patience() -> Iterator[None]:
    """A network that swallows packets would have us wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
