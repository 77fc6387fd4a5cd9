"""Checkpoints that prove themselves: the file's name carries the hash of its content.

Writing replaces nothing: a new file appears whole, and only then does the oldest go. So there is
always a good checkpoint, and a file damaged on disk is recognised and passed over.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from care.system.files import DamagedFileError, Writer, read_whole

_NAME = re.compile(r"checkpoint-(\d{6})-(\d{6})-([0-9a-f]{16})\.pt")
_KEPT = 2
_LARGEST = 2**36


def _found(folder: Path) -> list[tuple[int, int, str, Path]]:
    """(epoch, step, digest, path) of the checkpoints in ``folder``, newest first."""
    found = []
    for path in folder.glob("checkpoint-*.pt"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), int(match[2]), match[3], path))
    return sorted(found, reverse=True)


def save(
    folder: Path, epoch: int, step: int, state: dict[str, Any], writer: Writer | None = None
) -> Path:
    """Write ``state`` after ``epoch`` whole epochs and ``step`` steps of the next one.

    Args:
        folder: The trial's folder, or one below it.
        epoch: Whole epochs.
        step: Steps of the epoch after them.
        state: What ``torch.save`` can write.
        writer: The trial's claim, where other processes may want to write, too.

    Returns:
        The file, which ``torch.load(path, weights_only=True)`` reads.

    Raises:
        care.system.files.DiskError: No space; the earlier checkpoints are as they were.
        care.system.claim.LostClaimError: The claim is lost; nothing was written.
    """
    writer = writer or Writer()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"checkpoint-{epoch:06d}-{step:06d}-{digest}.pt"
    writer.replace(path, content)
    _prune(folder, writer)
    for left in folder.glob(".checkpoint-*.tmp"):  # by a process that was killed while it wrote
        writer.remove(left)
    return path


def _prune(folder: Path, writer: Writer) -> None:
    for *_, old in _found(folder)[_KEPT:]:
        writer.remove(old)


def _content(path: Path) -> bytes | None:
    """Return what a checkpoint holds, or None when it is no file or gone.

    Raises:
        DamagedFileError: This user may not read it.
    """
    try:
        return read_whole(path, _LARGEST)
    except DamagedFileError as error:
        if error.denied:
            raise
        return None


def load(
    folder: Path,
    device: torch.device,
    warn: Callable[[str], None],
    writer: Writer | None = None,
    trial: str | None = None,
) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None when there is none.

    Args:
        folder: The trial's folder.
        device: Where its tensors go.
        warn: Called with one line for each damaged checkpoint that was passed over.
        writer: The trial's claim, to rename those and remove the oldest; None where this process
            may not write.
        trial: Identity of the trial; a checkpoint that names another one counts as damaged.

    Raises:
        DamagedFileError: This user may not read a checkpoint.
    """
    for epoch, step, digest, path in _found(folder):
        content, problem = _content(path), "is damaged"
        if content and hashlib.sha256(content).hexdigest()[:16] == digest:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location=device, weights_only=True
            )
            # Earlier versions wrote no identity.
            if trial is None or state.get("trial_id", trial) == trial:
                if writer is not None:
                    _prune(folder, writer)  # the last process may have been killed before it did
                return state
            problem = f"is of another trial, {state['trial_id']}"
        elif not os.path.lexists(path):  # removed since, because there are newer ones
            return load(folder, device, warn, writer, trial)
        warn(f"{path.name} {problem} (epoch {epoch}, step {step}); going back to the one before")
        if writer is not None:
            writer.rename(path, path.with_suffix(".damaged"))
    return None
