"""Read and write claims on the disk: numbered files, and the subfolders of their holders.

A claim is a numbered file, ``claim-000003``; the highest number counts. A process takes it by a
hard link from a complete file to the next number, which succeeds for exactly one process, even on a
shared file system. A dead holder's claim is never deleted before the next one exists, so no two
processes can both take it. A holder is alive in these cases:

=====================================  ==========================================================
holder in this boot and PID namespace  its process exists, by PID and start time, even if stopped
holder on this machine before reboot   never
holder elsewhere                       while its heartbeat changes (:mod:`care.system.heartbeat`)
=====================================  ==========================================================

``claim-000003``            the holder, :class:`care.system.holder.Holder`
``claim-000003.released``   the file's name after a release
``.held-000003-<token>/``   the holder's subfolder, while it holds the claim
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from care.system.heartbeat import BEAT, is_silent
from care.system.holder import Holder
from care.system.permissions import make_folder

_NAME = re.compile(r"claim-(\d{6})(\.released)?")
_CLEAR_TRIES = 50


@dataclass(frozen=True)
class ClaimFile:
    """A claim on the disk.

    Attributes:
        number: Number of the claim; the highest counts.
        path: The claim's file.
        released: The holder released the claim.
    """

    number: int
    path: Path
    released: bool

    def holder(self, record: bool = False) -> Holder | None:
        """Return the holder if it is alive, else None.

        Args:
            record: Store this observation; see :func:`care.system.heartbeat.is_silent`.
        """
        holder = None if self.released else Holder.read(self.path)
        if holder is None or (holder.token and not self.held(holder).is_dir()):
            return None  # a holder without its subfolder cannot write
        if holder.here:
            return holder if holder.runs else None
        beat = self.held(holder) / BEAT if holder.token else self.path
        return None if holder.restarted or is_silent(beat, record) else holder

    def held(self, holder: Holder) -> Path:
        """Return the path of the holder's subfolder."""
        return self.path.with_name(f".held-{self.number:06d}-{holder.token}")


def claims_in(folder: Path) -> list[ClaimFile]:
    """List the claims in ``folder``, highest number last."""
    listed = [
        ClaimFile(int(match[1]), path, match[2] is not None)
        for path in folder.glob("claim-*")
        if (match := _NAME.fullmatch(path.name))
    ]
    return sorted(listed, key=lambda claim: (claim.number, claim.path))


def mark_released(path: Path, holder: Holder) -> None:
    """Mark the claim at ``path`` as released, if ``holder`` still holds it."""
    # The folder may have been moved to the archive, with the claim.
    with contextlib.suppress(FileNotFoundError):
        if Holder.read(path) == holder:
            path.rename(path.with_name(f"{path.name}.released"))


def link_claim(path: Path, holder: Holder, held: Path) -> bool:
    """Create the claim at ``path`` atomically; return False if it exists."""
    record = held / path.name
    try:
        make_folder(held)
        holder.write(record)
        os.link(record, path)
    except FileNotFoundError:  # removed by the process that took this number or a later one
        return False
    except FileExistsError:
        # A network file system may repeat a request whose reply was lost: the link is this one's.
        if Holder.read(path) != holder:
            clear(held)
            return False
    except OSError:
        clear(held)
        raise
    return True


def held_folders(folder: Path, claims: list[ClaimFile]) -> list[Path]:
    """List the subfolders of the holders of ``claims``, and the remains of killed processes.

    They are listed before a claim is taken and removed after it. Their names are unique, so that
    a folder that was archived and created a second time in between loses nothing.
    """
    last = Holder.read(claims[-1].path) if claims else None  # the list of folders may be outdated
    known = {claims[-1].held(last)} if last is not None and last.token else set()
    return sorted({*known, *folder.glob(".held-*"), *folder.glob(".cut-*")})


def cut_off(held: Path) -> None:
    """Remove the subfolder of an earlier holder, so that it can write nothing more.

    Raises:
        OSError: The subfolder cannot be removed.
    """
    aside = held.with_name(held.name.replace(".held-", ".cut-"))
    try:
        held.rename(aside)
    except FileNotFoundError:
        return
    except OSError:  # a union file system cannot rename a folder of a lower layer
        if not clear(held):
            raise
    clear(aside)


def clear(folder: Path) -> bool:
    """Remove a folder to which another process may still write; return whether it is removed.

    After that nothing can be renamed out of it, even on a network file system. A file that a
    process of this machine keeps open there has no path any more.
    """
    for _ in range(_CLEAR_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return True
        time.sleep(0.02)
    return False
