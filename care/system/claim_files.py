"""Claims on the disk: numbered files, and the folders through which their holders write.

A claim is a numbered file, ``claim-000003``; the highest number counts. It is taken by linking a
complete file to the next number, which exactly one process can do, on a shared folder too. So a
dead holder's claim is never deleted to be taken over, and no two processes can both believe that
they took it. Whether a holder lives:

=======================================  ====================================================
the same boot and process namespace      exact: by process number and start time; stopped is alive
the same machine, started again since    dead
anywhere else                            alive while its beat moves (:mod:`care.system.heartbeat`)
=======================================  ====================================================

``claim-000003``            who holds it: :class:`care.system.holder.Holder`
``claim-000003.released``   renamed to this once it was released
``.held-000003-<token>/``   the holder's own folder, while it holds the claim
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

_NAME = re.compile(r"claim-(\d{6})(\.released)?")
_CLEAR_TRIES = 50


@dataclass(frozen=True)
class ClaimFile:
    """A claim on the disk.

    Attributes:
        number: The highest counts.
        path: Its file.
        released: Whether its holder released it.
    """

    number: int
    path: Path
    released: bool

    def holder(self, note: bool = False) -> Holder | None:
        """Its holder if it lives; see :func:`care.system.heartbeat.is_silent` for ``note``."""
        holder = None if self.released else Holder.read(self.path)
        if holder is None or (holder.token and not self.held(holder).is_dir()):
            return None  # a holder without its own folder cannot write
        if holder.here:
            return holder if holder.runs else None
        beat = self.held(holder) / BEAT if holder.token else self.path
        return None if holder.restarted or is_silent(beat, note) else holder

    def held(self, holder: Holder) -> Path:
        """The holder's own folder."""
        return self.path.with_name(f".held-{self.number:06d}-{holder.token}")


def claims_in(folder: Path) -> list[ClaimFile]:
    """The claims in ``folder``, highest last."""
    listed = [
        ClaimFile(int(match[1]), path, match[2] is not None)
        for path in folder.glob("claim-*")
        if (match := _NAME.fullmatch(path.name))
    ]
    return sorted(listed, key=lambda claim: (claim.number, claim.path))


def mark_released(path: Path, holder: Holder) -> None:
    """Mark the claim at ``path`` as released, if it is still that of ``holder``."""
    # The folder may have been moved to the archive, and the claim with it.
    with contextlib.suppress(FileNotFoundError):
        if Holder.read(path) == holder:
            path.rename(path.with_name(f"{path.name}.released"))


def place(path: Path, holder: Holder, held: Path) -> bool:
    """Make the claim at ``path`` appear whole; False when it exists."""
    record = held / path.name
    try:
        held.mkdir(parents=True)
        holder.write(record)
        os.link(record, path)
    except FileNotFoundError:  # removed by the process that took this number or a later one
        return False
    except FileExistsError:
        # On a network the first of two tries may have been the one that was done.
        if Holder.read(path) != holder:
            clear(held)
            return False
    except OSError:
        clear(held)
        raise
    return True


def held_folders(folder: Path, claims: list[ClaimFile]) -> list[Path]:
    """The own folders of the holders of ``claims``, and what killed processes left of them.

    They are listed before a claim is taken and removed after, by names that are never used again:
    the folder may be archived and made again meanwhile.
    """
    last = Holder.read(claims[-1].path) if claims else None  # a list may be out of date, no file
    known = {claims[-1].held(last)} if last is not None and last.token else set()
    return sorted({*known, *folder.glob(".held-*"), *folder.glob(".cut-*")})


def cut_off(held: Path) -> None:
    """Remove the own folder of an earlier holder, so that it can write nothing more.

    Raises:
        OSError: It cannot be removed.
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
    """Remove a folder that another process may still write; whether it is gone.

    Once it is gone, nothing can be renamed out of it, on a network neither. What an open file of
    this very machine keeps there cannot be reached by its path any more.
    """
    for _ in range(_CLEAR_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return True
        time.sleep(0.02)
    return False
