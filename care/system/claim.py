"""Claims: which process may write a folder, and a way of writing that no other process has.

The holder of a claim may be taken for dead although it was only suspended. So it writes through its
own folder (:mod:`care.system.claim_files`), and who takes over removes that folder first. A file is
written there and renamed to its place; a log is a second link of a file there, and who takes over
replaces every log by a copy. What the earlier holder does after that fails, or reaches files that
nobody sees: for the folder it is as if it had been killed. There is no moment between a look and a
write.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from care.errors import CareError
from care.system import process
from care.system.claim_files import (
    ClaimFile,
    claims_in,
    clear,
    cut_off,
    held_folders,
    mark_released,
    place,
)
from care.system.files import (
    DiskError,
    Writer,
    append_line,
    set_aside,
    sync_folder,
    whole_lines,
    write_atomic,
)
from care.system.heartbeat import BEAT, move_beat
from care.system.holder import Holder

_BEAT_SECONDS = 15.0
_RETRY_SECONDS = 2.0


class LostClaimError(CareError):
    """Another process took the claim over; nothing was written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder}: another process has taken it over while this one was silent. "
            "It continues there; this process has written nothing since."
        )


def holder(folder: Path) -> Holder | None:
    """Return the holder of the claim on ``folder``, or None when it is free; writes nothing.

    A holder on another machine counts as alive until a process that wants to take over has seen it
    silent for a lease.

    Raises:
        CareError: A claim cannot be read.
    """
    try:
        claims = claims_in(folder)
        return claims[-1].holder() if claims else None
    except OSError as error:
        raise CareError(f"{folder}: its claim cannot be read ({error.strerror})") from error


def release_dead(folder: Path) -> bool:
    """Free ``folder`` if a process of this machine held it and is dead.

    Others could tell only by its silence, after a while.

    Returns:
        Whether no process of this machine holds it.
    """
    claims = claims_in(folder)
    holder = Holder.read(claims[-1].path) if claims and not claims[-1].released else None
    if holder is None or holder.boot != process.boot():
        return True
    if holder.started is None or holder.runs:
        return False
    mark_released(claims[-1].path, holder)
    return True


def _remove(path: Path) -> None:
    """Remove a claim's file; a folder in its place is set aside."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        set_aside(path)


class Claim(Writer):
    """A claim that this process holds, until :meth:`release` or the end of the process.

    Every file in the claimed folder is written through it.
    """

    def __init__(self, path: Path, holder: Holder, held: Path) -> None:
        self._folder, self._path, self._holder, self._held = path.parent, path, holder, held
        self._released = threading.Event()
        self._lost = False
        self._when_lost: list[Callable[[], None]] = []
        threading.Thread(target=self._beat, name="claim-heartbeat", daemon=True).start()

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Claim ``folder``, which is created if missing; return None when another process holds it.

        A holder on another machine is dead once two calls, by any processes of this machine and a
        lease apart, saw the same beat.

        Raises:
            DiskError: No space, or the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls._take(folder)
        except OSError as error:
            raise DiskError(folder, error) from error

    @classmethod
    def _take(cls, folder: Path) -> Self | None:
        while True:
            claims = claims_in(folder)
            if claims and claims[-1].holder(note=True):
                return None
            earlier = held_folders(folder, claims)
            holder = Holder.this_process()
            number = claims[-1].number + 1 if claims else 1
            claim = ClaimFile(number, folder / f"claim-{number:06d}", released=False)
            held = claim.held(holder)
            if not place(claim.path, holder, held):
                continue
            if claims_in(folder)[-1].path != claim.path:
                # Another process was faster. That may show after the link only: a number is free
                # again once its holder released it, and a superseded number is worth nothing.
                clear(held)
                continue
            try:
                for other in earlier:
                    cut_off(other)
                for old in claims:
                    _remove(old.path)
                    # Its holder may have released it since it was listed.
                    old.path.with_suffix(".released").unlink(missing_ok=True)
            except OSError:
                mark_released(claim.path, holder)
                raise
            return cls(claim.path, holder, held)

    def when_lost(self, action: Callable[[], None]) -> None:
        """Call ``action``, in whatever thread, once it is known that the claim is lost."""
        self._when_lost.append(action)

    @property
    def own_folder(self) -> Path:
        """The folder for files to rename into the claimed folder; gone once the claim is lost."""
        return self._held

    @property
    def lost(self) -> bool:
        """Whether another process is known to have taken over."""
        return self._lost

    def check(self) -> None:
        """Check that this process still holds the claim.

        Raises:
            LostClaimError: It does not.
        """
        if not self._lost:
            try:
                self._held.stat()
            except FileNotFoundError:
                if self._folder.is_dir():  # while the disk is away, nothing is known
                    self._lose()
            except OSError:
                return
        if self._lost:
            raise LostClaimError(self._folder)

    def _lose(self) -> None:
        self._lost = True
        for action in self._when_lost:
            action()

    def replace(self, path: Path, content: bytes) -> None:
        """Replace ``path`` by ``content``, atomically, if the claim is held at that moment.

        Raises:
            LostClaimError: It is not.
            DiskError: The disk is full or the folder cannot be written; ``path`` is as it was.
        """
        with self._writing(path):
            write_atomic(path, content, by_way_of=self._held)

    def append(self, path: Path, record: dict[str, Any]) -> None:
        """Append a line to the log ``path``, if the claim is held at that moment.

        Raises:
            LostClaimError: It is not.
            DiskError: The disk is full or the folder cannot be written; the log is as it was.
        """
        own = self._held / path.name
        with self._writing(path):
            if not _same_file(own, path):
                self.rewrite(path, whole_lines(path))
            append_line(own, record)

    def rewrite(self, path: Path, content: bytes) -> None:
        """Replace the log ``path`` by a new file, which this process alone can append to.

        Raises:
            LostClaimError: The claim is lost.
            DiskError: The disk is full or the folder cannot be written; the log is as it was.
        """
        own, temporary = self._held / path.name, self._held / f"{path.name}.new"
        with self._writing(path):
            write_atomic(own, content)
            temporary.unlink(missing_ok=True)
            os.link(own, temporary)
            temporary.replace(path)
            sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder, if it is there and the claim is held at that moment.

        Raises:
            LostClaimError: It is not held.
            DiskError: The folder cannot be written.
        """
        aside = self._held / f"removed-{secrets.token_hex(4)}"
        with self._writing(path):
            if path.exists():
                path.rename(aside)
                shutil.rmtree(aside) if aside.is_dir() else aside.unlink()

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file within the folder, if the claim is held at that moment.

        Raises:
            LostClaimError: It is not held.
            DiskError: The folder cannot be written.
        """
        aside = self._held / target.name
        with self._writing(path):
            path.rename(aside)
            aside.rename(target)

    def move(self, target: Path) -> None:
        """Move the claimed folder to ``target`` and release the claim.

        Raises:
            LostClaimError: The claim is lost; the folder stays.
            OSError: It cannot be moved.
        """
        self.check()
        self._folder.rename(target)
        self._path, self._held = target / self._path.name, target / self._held.name
        self._folder = target
        self.release()

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Raise ``LostClaimError`` where that is why a write failed, ``DiskError`` otherwise."""
        try:
            yield
        except DiskError:
            self.check()
            raise
        except OSError as error:
            self.check()
            raise DiskError(path, error) from error

    def release(self) -> None:
        """Release the claim, at once or as soon as the folder can be written again."""
        if not self._released.is_set():
            try:
                self._end()
            except OSError:
                threading.Thread(
                    target=self._release_later, name="claim-release", daemon=True
                ).start()
            self._released.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _release_later(self) -> None:
        while True:
            time.sleep(_RETRY_SECONDS)
            with contextlib.suppress(OSError):
                self._end()
                return

    def _end(self) -> None:
        mark_released(self._path, self._holder)
        shutil.rmtree(self._held, ignore_errors=True)

    def _beat(self) -> None:
        number = 0
        while not self._released.wait(_BEAT_SECONDS) and not self._lost:
            number += 1
            # A folder that is away for a while must not end the training.
            with contextlib.suppress(OSError, LostClaimError):
                try:
                    move_beat(self._held / BEAT, number)
                except FileNotFoundError:
                    self.check()


def _same_file(own: Path, path: Path) -> bool:
    try:
        return own.samefile(path)
    except FileNotFoundError:
        return False
