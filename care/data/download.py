"""Download data sets: a file gets its name once complete, and an error states the manual way."""

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
import zipfile
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

# A network that drops packets would block for ever without a timeout.
_TIMEOUT_SECONDS = 15.0
_CHUNK = 2**18
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error)
_ABANDONED_SECONDS = 3600.0
_LOCK = ".care-cache/download.lock"


class Remote(NamedTuple):
    """A file of a data set.

    Attributes:
        url: Address.
        md5: Checksum, hexadecimal; None for an archive without a published one, which is intact if
            it exists: it gets its name once its format's own checksums are right.
        name: Path below the data root.
        unpack: Of an archive, the folder below the root to unpack into; None for a plain file.
    """

    url: str
    md5: str | None
    name: str
    unpack: str | None = None


def fetch(
    remotes: Sequence[Remote], is_unpacked: Callable[[], bool], root: Path, reporter: Reporter
) -> None:
    """Download and unpack the missing or damaged files of a data set.

    Files get their names once they are complete, so a killed process leaves none half written. Of
    several processes one downloads, and the others wait.

    Args:
        remotes: Files of the data set. An intact archive is not downloaded a second time.
        is_unpacked: Checks whether the archives' members are present and intact.
        root: Folder of the data sets' files.
        reporter: Receives the progress.

    Raises:
        CareError: The download failed; states address, path and checksum of each file.
        DiskError: The disk is full, or its permissions forbid to write.
    """
    if not _find_needed(remotes, is_unpacked, root):
        return
    try:
        with _locked(root, reporter):
            needed = _find_needed(remotes, is_unpacked, root)
            for remote in needed:
                _provide(remote, root, reporter)
    except (OSError, HTTPException) as error:
        _remove_empty(root)
        if isinstance(error, OSError) and error.errno in _DISK:
            raise DiskError(root, error) from error
        raise CareError(_describe_manual_download(remotes, root, error)) from error
    if _find_needed(remotes, is_unpacked, root):
        names = ", ".join(str(root / remote.name) for remote in needed)
        raise CareError(f"{names}: unpacked, but files of the data set are missing or damaged")


def _find_needed(
    remotes: Sequence[Remote], is_unpacked: Callable[[], bool], root: Path
) -> list[Remote]:
    unpacked = is_unpacked()
    return [
        remote
        for remote in remotes
        if not (unpacked if remote.unpack is not None else _is_intact(remote, root))
    ]


def _is_intact(remote: Remote, root: Path) -> bool:
    path = root / remote.name
    return path.is_file() if remote.md5 is None else md5_of(path) == remote.md5


@contextmanager
def _locked(root: Path, reporter: Reporter) -> Iterator[None]:
    """Wait until no other process downloads to ``root``.

    On a file system without locks two processes may download twice, without harm to each other.
    """
    lock = root / _LOCK
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                reporter.log(f"another process downloads to {root}; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_empty(root: Path) -> None:
    """Remove the folders of the lock after a failed download, unless they hold data."""
    lock = root / _LOCK
    with contextlib.suppress(OSError):
        if list(root.iterdir()) == [lock.parent] and list(lock.parent.iterdir()) == [lock]:
            lock.unlink()
            lock.parent.rmdir()
            root.rmdir()


def _provide(remote: Remote, root: Path, reporter: Reporter) -> None:
    """Download a file unless it is intact; unpack an archive."""
    path = root / remote.name
    if path.exists():
        reporter.log(f"checking {path}")
    if not _is_intact(remote, root):
        damaged = ", as the present file is damaged" if path.exists() else ""
        reporter.log(f"downloading {remote.url} to {path}{damaged}")
        _download(remote, path)
    if remote.unpack is not None:
        _unpack(path, root / remote.unpack)


def _download(remote: Remote, path: Path) -> None:
    """Download a file to ``path``.

    Raises:
        OSError: The network or the disk failed, or the checksum is wrong.
    """
    request = urllib.request.Request(remote.url, headers={"User-Agent": "care"})
    with (
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response,
        _open_atomic(path) as file,
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
        if remote.md5 is None:
            file.flush()
            _check_archive(Path(file.name), remote.url)
        elif digest.hexdigest() != remote.md5:
            kind = response.headers.get_content_type()
            raise OSError(
                f"{remote.url} sent another file: {size:,} bytes of {kind}, "
                f"md5 {digest.hexdigest()}"
            )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the regular files of an archive; skip links, devices and paths that leave ``folder``.

    Raises:
        OSError: The disk failed, or the archive is damaged.
    """
    try:
        for name, content in _members(archive):
            with content, _open_atomic(folder / name) as file:
                shutil.copyfileobj(content, file)
    except _DAMAGE as error:
        raise OSError(f"{archive}: damaged ({error})") from error


def _check_archive(path: Path, url: str) -> None:
    """Check an archive without a published checksum by reading all of it.

    Raises:
        OSError: It is no archive, or damaged.
    """
    try:
        for _, content in _members(path):
            with content:
                while content.read(_CHUNK):
                    pass
    except _DAMAGE as error:
        raise OSError(f"{url} sent no archive, or a damaged one ({error})") from error


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Open the regular files of a tar or zip archive, one after the other.

    A zip archive may hold tar archives, whose files follow in their stead.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as outer:
            for entry in outer.infolist():
                name = PurePosixPath(entry.filename)
                hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
                if entry.is_dir() or hidden or not _stays_inside(name):
                    continue
                content = outer.open(entry)
                if name.name.endswith((".tar", ".tar.gz", ".tgz")):
                    with content, tarfile.open(fileobj=content, mode="r|*") as inner:
                        yield from _tar_members(inner)
                else:
                    yield name, content
    else:
        with tarfile.open(archive) as tar:
            yield from _tar_members(tar)


def _tar_members(tar: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    for member in tar:
        name = PurePosixPath(member.name)
        content = tar.extractfile(member) if member.isreg() else None
        if content is not None and _stays_inside(name):
            yield name, content


def _stays_inside(name: PurePosixPath) -> bool:
    return not (name.is_absolute() or ".." in name.parts)


@contextmanager
def _open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that is renamed to ``path`` at the end, or removed on an error."""
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
    now = os.fstat(file.fileno()).st_mtime  # the file system's clock, which dates the others too
    for abandoned in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):
            if now - abandoned.stat().st_mtime > _ABANDONED_SECONDS:
                abandoned.unlink()


def _describe_manual_download(remotes: Sequence[Remote], root: Path, error: Exception) -> str:
    lines = [
        f"  {remote.url}\n    to {root / remote.name} (md5 {remote.md5 or 'not published'})"
        for remote in remotes
    ]
    listed = "\n".join(lines)
    return (
        f"the data are missing and cannot be downloaded ({error}). "
        f"On a machine with a network, fetch\n{listed}\n"
        "and repeat the command, or name another folder: runtime.data_root, and with "
        "'care data' --root."
    )
