"""Downloads that leave whole files or none, with a message that helps where there is no network."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from torch.hub import tqdm  # type: ignore[attr-defined]

from care.data.reporter import Reporter
from care.data.verified_files import md5_of
from care.errors import CareError
from care.system.files import DiskError

# A network that swallows packets would have us wait for ever.
_PATIENCE_SECONDS = 15.0
_CHUNK = 2**18
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
_ABANDONED_SECONDS = 3600.0
_LOCK = ".care-cache/download.lock"


class Remote(NamedTuple):
    """A file of a data set.

    Attributes:
        url: Its address.
        md5: Its checksum.
        name: Its path below the data's root folder.
        unpack: For an archive, the folder below the root that its members go to.
    """

    url: str
    md5: str
    name: str
    unpack: str | None = None


def fetch(
    remotes: Sequence[Remote], is_unpacked: Callable[[], bool], root: Path, reporter: Reporter
) -> None:
    """Make sure that the files of a data set are there and whole.

    Files get their names once they are whole, so a process that is stopped leaves none half
    written. Of several processes one downloads, and the others wait.

    Args:
        remotes: Its files. An archive that is there already is not downloaded.
        is_unpacked: Checks whether the members of its archives are there and whole.
        root: Folder of the data sets' files.
        reporter: Told what is downloaded.

    Raises:
        CareError: It cannot be downloaded; names each file, its address, checksum and place.
        DiskError: There is no space for it, or no permission.
    """
    if not _needed(remotes, is_unpacked, root):
        return
    try:
        with _alone(root, reporter):
            needed = _needed(remotes, is_unpacked, root)
            for remote in needed:
                _provide(remote, root, reporter)
    except (OSError, HTTPException) as error:
        _remove_empty(root)
        if isinstance(error, OSError) and error.errno in _DISK:
            raise DiskError(root, error) from error
        raise CareError(_by_hand(remotes, root, error)) from error
    if _needed(remotes, is_unpacked, root):
        names = ", ".join(str(root / remote.name) for remote in needed)
        raise CareError(f"{names}: unpacked, but files of the data set are missing or damaged")


def _needed(remotes: Sequence[Remote], is_unpacked: Callable[[], bool], root: Path) -> list[Remote]:
    unpacked = is_unpacked()
    return [
        remote
        for remote in remotes
        if not (unpacked if remote.unpack is not None else _is_whole(remote, root))
    ]


def _is_whole(remote: Remote, root: Path) -> bool:
    return md5_of(root / remote.name) == remote.md5


@contextmanager
def _alone(root: Path, reporter: Reporter) -> Iterator[None]:
    """Wait until no other process downloads to ``root``.

    Where the file system has no locks, two may do the same work; neither disturbs the other.
    """
    lock = root / _LOCK
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                reporter.say(f"another process downloads to {root}; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_empty(root: Path) -> None:
    """Remove folders that were made for nothing; what holds anything stays."""
    lock = root / _LOCK
    with contextlib.suppress(OSError):
        if list(root.iterdir()) == [lock.parent] and list(lock.parent.iterdir()) == [lock]:
            lock.unlink()
            lock.parent.rmdir()
            root.rmdir()


def _provide(remote: Remote, root: Path, reporter: Reporter) -> None:
    """Download a file unless it is there and whole; unpack an archive."""
    path = root / remote.name
    if path.exists():
        reporter.say(f"checking {path}")
    if not _is_whole(remote, root):
        damaged = " again, as what is there is damaged" if path.exists() else ""
        reporter.say(f"downloading {remote.url} to {path}{damaged}")
        _download(remote, path)
    if remote.unpack is not None:
        _unpack(path, root / remote.unpack)


def _download(remote: Remote, path: Path) -> None:
    """Bring a file to ``path``.

    Raises:
        OSError: The network or the disk fails, or something else than the file arrives.
    """
    request = urllib.request.Request(remote.url, headers={"User-Agent": "care"})
    with (
        urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as response,
        _written(path) as file,
        tqdm(total=response.length, unit="B", unit_scale=True, disable=None) as bar,
    ):
        digest, size, length = hashlib.md5(usedforsecurity=False), 0, response.length
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            bar.update(len(chunk))
        if length is not None and size != length:
            raise OSError(f"the transfer ended after {size:,} of {length:,} bytes")
        if digest.hexdigest() != remote.md5:
            kind = response.headers.get_content_type()
            raise OSError(
                f"{remote.url} sent another file: {size:,} bytes of {kind}, "
                f"md5 {digest.hexdigest()}"
            )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of an archive whose checksum is right; links and devices are none of ours.

    Raises:
        OSError: The disk fails, or the archive cannot be read after all.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or name.is_absolute() or ".." in name.parts:
                    continue
                with content, _written(folder / name) as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise OSError(f"{archive}: damaged ({error})") from error


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which gets its name at the end, or is removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            _remove_abandoned(path, file)
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove_abandoned(path: Path, file: IO[bytes]) -> None:
    """Remove partial files of killed processes: those not written for an hour."""
    now = os.fstat(file.fileno()).st_mtime  # by the clock of the file system, as the others
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):
            if now - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink()


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
