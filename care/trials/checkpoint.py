"""Save and load checkpoints whose file names contain the hash of their content.

A new file appears atomically, and only then the oldest is removed. So there is always a valid
checkpoint, and a damaged file is detected and skipped.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from care.system.files import DamagedFileError, Writer, read_whole
from care.trials.folder import CHECKPOINT_NAME, CHECKPOINTS

_KEPT = 2
_LARGEST = 2**36


def _list_checkpoints(folder: Path) -> list[tuple[int, int, str, Path]]:
    """List (epoch, step, digest, path) of the checkpoints in ``folder``, newest first."""
    checkpoints = []
    for path in folder.glob(CHECKPOINTS):
        match = CHECKPOINT_NAME.fullmatch(path.name)
        if match:
            checkpoints.append((int(match[1]), int(match[2]), match[3], path))
    return sorted(checkpoints, reverse=True)


def save(
    folder: Path, epoch: int, step: int, state: dict[str, Any], writer: Writer | None = None
) -> Path:
    """Write a checkpoint and remove all but the newest two.

    Args:
        folder: The trial's folder, or one below it.
        epoch: Completed epochs.
        step: Completed steps of the next epoch.
        state: Content, for ``torch.save``.
        writer: The trial's claim; None if no other process writes to the folder.

    Returns:
        The file, for ``torch.load(path, weights_only=True)``.

    Raises:
        care.system.files.DiskError: The disk is full; earlier checkpoints are unchanged.
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
    for temporary in folder.glob(".checkpoint-*.tmp"):  # of a process killed during a write
        writer.remove(temporary)
    return path


def _prune(folder: Path, writer: Writer) -> None:
    for *_, old in _list_checkpoints(folder)[_KEPT:]:
        writer.remove(old)


def _read(path: Path) -> bytes | None:
    """Return a checkpoint's content, or None if it is missing or no regular file.

    Raises:
        DamagedFileError: Permission to read the file is missing.
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
    """Load the newest valid checkpoint; return None without one.

    Args:
        folder: The trial's folder.
        device: Device of the loaded tensors.
        warn: Called with one line for each damaged checkpoint, which is skipped.
        writer: The trial's claim, to rename damaged checkpoints and remove old ones; None if this
            process may not write.
        trial: Identity of the trial; a checkpoint of another trial counts as damaged.

    Raises:
        DamagedFileError: Permission to read a checkpoint is missing.
    """
    for epoch, step, digest, path in _list_checkpoints(folder):
        content, problem = _read(path), "is damaged"
        if content and hashlib.sha256(content).hexdigest()[:16] == digest:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location=device, weights_only=True
            )
            # Earlier versions wrote no identity.
            if trial is None or state.get("trial_id", trial) == trial:
                if writer is not None:
                    _prune(folder, writer)  # the last process may have been killed before pruning
                return state
            problem = f"is of another trial, {state['trial_id']}"
        elif not os.path.lexists(path):  # pruned meanwhile, so there are newer checkpoints
            return load(folder, device, warn, writer, trial)
        warn(f"{path.name} {problem} (epoch {epoch}, step {step}); the previous one is used")
        if writer is not None:
            writer.rename(path, path.with_suffix(".damaged"))
    return None


def load_network(
    folder: Path, device: torch.device, warn: Callable[[str], None], trial: str | None = None
) -> tuple[int, dict[str, Any]] | None:
    """Load the weights of the newest valid checkpoint; write nothing.

    Args:
        folder: The trial's folder.
        device: Device of the loaded tensors.
        warn: Called with one line for each damaged checkpoint, which is skipped.
        trial: Identity of the trial; a checkpoint of another trial counts as damaged.

    Returns:
        Completed epochs, and the network's state dict; None without a valid checkpoint.

    Raises:
        DamagedFileError: Permission to read a checkpoint is missing.
    """
    state = load(folder, device, warn, trial=trial)
    return None if state is None else (state["epoch"], state["network"])
