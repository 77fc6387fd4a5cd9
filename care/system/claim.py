"""Claim a folder for one writing process, so that a superseded process cannot write to it.

A suspended holder may be taken for dead. So a holder writes only through its own subfolder
(:mod:`care.system.claim_files`), and the next holder removes that subfolder first. A file is
written there and renamed into the claimed folder. A log is a hard link of a file there; the next
holder replaces every log by a copy. Later writes of the earlier holder fail, or change files that
are no longer in the folder. No check precedes a write, so nothing can happen between the two.
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
    link_claim,
    mark_released,
)
from care.system.files import (
    DiskError,
    Writer,
    append_line,
    append_whole,
    complete_lines,
    set_aside,
    sync_folder,
    write_atomic,
)
from care.system.heartbeat import BEAT, write_beat
from care.system.holder import Holder
from care.system.permissions import folder_mode, make_folder, set_mode

_BEAT_SECONDS = 15.0
_RETRY_SECONDS = 2.0


class LostClaimError(CareError):
    """Another process took over the claim; nothing was written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder}: another process took over this folder while this one did not respond. "
            "It continues there; this process has written nothing since."
        )


def holder(folder: Path) -> Holder | None:
    """Return the holder of the claim on ``folder``, or None if it is free; writes nothing.

    A holder on another machine counts as alive until a process that wants the claim has observed
    no heartbeat for a lease.

    Raises:
        CareError: A claim cannot be read.
    """
    try:
        claims = claims_in(folder)
        return claims[-1].holder() if claims else None
    except OSError as error:
        raise CareError(f"{folder}: its claim cannot be read ({error.strerror})") from error


def release_dead(folder: Path) -> bool:
    """Release the claim on ``folder`` if its holder was a process of this machine and is dead.

    Other machines could conclude its death only from missing heartbeats, after a lease.

    Returns:
        True unless a process of this machine holds the claim.
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
    """Remove a claim's file; set aside a folder with its name."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        set_aside(path)


class Claim(Writer):
    """A claim that this process holds until :meth:`release` or its end.

    All writes to the claimed folder go through it.
    """

    def __init__(self, path: Path, holder: Holder, held: Path) -> None:
        self._folder, self._path, self._holder, self._held = path.parent, path, holder, held
        self._released = threading.Event()
        self._lost = False
        self._when_lost: list[Callable[[], None]] = []
        threading.Thread(target=self._beat, name="claim-heartbeat", daemon=True).start()

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Claim ``folder``, created if missing; return None if another process holds it.

        A holder on another machine counts as dead once two calls, a lease apart, by any processes
        of this machine, have read an equal heartbeat.

        Raises:
            DiskError: The disk is full, or the folder cannot be written.
        """
        try:
            make_folder(folder)
            return cls._take(folder)
        except OSError as error:
            raise DiskError(folder, error) from error

    @classmethod
    def _take(cls, folder: Path) -> Self | None:
        while True:
            claims = claims_in(folder)
            if claims and claims[-1].holder(record=True):
                return None
            earlier = held_folders(folder, claims)
            holder = Holder.this_process()
            number = claims[-1].number + 1 if claims else 1
            claim = ClaimFile(number, folder / f"claim-{number:06d}", released=False)
            held = claim.held(holder)
            if not link_claim(claim.path, holder, held):
                continue
            if claims_in(folder)[-1].path != claim.path:
                # Another process has a higher number, which may appear only after the link: a
                # released number can be linked a second time, but only the highest counts.
                clear(held)
                continue
            try:
                for other in earlier:
                    cut_off(other)
                for old in claims:
                    _remove(old.path)
                    # The holder may have released the claim after claims_in listed it.
                    old.path.with_suffix(".released").unlink(missing_ok=True)
            except OSError:
                mark_released(claim.path, holder)
                raise
            return cls(claim.path, holder, held)

    def when_lost(self, action: Callable[[], None]) -> None:
        """Register a function that is called, in any thread, when the loss of the claim is seen."""
        self._when_lost.append(action)

    @property
    def own_folder(self) -> Path:
        """The holder's subfolder, from which files are renamed; it vanishes with the claim."""
        return self._held

    @property
    def lost(self) -> bool:
        """True once another process is known to have taken over."""
        return self._lost

    def check(self) -> None:
        """Check that this process still holds the claim.

        Raises:
            LostClaimError: Another process took over.
        """
        if not self._lost:
            try:
                self._held.stat()
            except FileNotFoundError:
                if self._folder.is_dir():  # an unreachable disk proves nothing
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
            LostClaimError: The claim is lost; nothing was written.
            DiskError: The disk is full or the folder cannot be written; ``path`` is unchanged.
        """
        with self._writing(path):
            self._settle(path.parent)
            write_atomic(path, content, by_way_of=self._held, in_store=True)

    def _settle(self, folder: Path) -> None:
        """Give the modes of the store to folders that were made below the claimed one."""
        if folder != self._folder and folder.is_relative_to(self._folder):
            self._settle(folder.parent)
            set_mode(folder, folder_mode(folder.parent))

    def append(self, path: Path, record: dict[str, Any]) -> None:
        """Append a line to the log ``path``, if the claim is held at that moment.

        Raises:
            LostClaimError: The claim is lost; nothing was written.
            DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        """
        with self._writing(path):
            append_line(self._own_link(path), record)

    def append_text(self, path: Path, lines: bytes) -> None:
        """Append complete lines to the log ``path``, without waiting for the disk.

        Raises:
            LostClaimError: The claim is lost; nothing was written.
            DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        """
        with self._writing(path):
            append_whole(self._own_link(path), lines, flush=False)

    def _own_link(self, path: Path) -> Path:
        """Return this holder's link of the log ``path``, to which only this process appends."""
        own = self._held / path.name
        if not _is_link_of(own, path):
            self.rewrite(path, complete_lines(path))
        return own

    def rewrite(self, path: Path, content: bytes) -> None:
        """Replace the log ``path`` by a new file to which only this process can append.

        Raises:
            LostClaimError: The claim is lost; nothing was written.
            DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        """
        own, temporary = self._held / path.name, self._held / f"{path.name}.new"
        with self._writing(path):
            write_atomic(own, content, in_store=True)
            temporary.unlink(missing_ok=True)
            os.link(own, temporary)
            temporary.replace(path)
            sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder if it exists and the claim is held at that moment.

        Raises:
            LostClaimError: The claim is lost; nothing was removed.
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
            LostClaimError: The claim is lost; nothing was renamed.
            DiskError: The folder cannot be written.
        """
        aside = self._held / target.name
        with self._writing(path):
            path.rename(aside)
            aside.rename(target)

    def move(self, target: Path) -> None:
        """Move the claimed folder to ``target`` and release the claim.

        Raises:
            LostClaimError: The claim is lost; the folder was not moved.
            OSError: The folder cannot be moved.
        """
        self.check()
        self._folder.rename(target)
        self._path, self._held = target / self._path.name, target / self._held.name
        self._folder = target
        self.release()

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Turn a failed write into ``LostClaimError`` if the claim is lost, else ``DiskError``."""
        try:
            yield
        except DiskError:
            self.check()
            raise
        except OSError as error:
            self.check()
            raise DiskError(path, error) from error

    def release(self) -> None:
        """Release the claim, or retry in the background until the folder can be written."""
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
            # A folder that is unreachable for a while must not end the training.
            with contextlib.suppress(OSError, LostClaimError):
                try:
                    write_beat(self._held / BEAT, number)
                except FileNotFoundError:
                    self.check()


def _is_link_of(own: Path, path: Path) -> bool:
    try:
        return own.samefile(path)
    except FileNotFoundError:
        return False
