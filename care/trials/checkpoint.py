"""Save and load checkpoints whose file names contain the hash of their content.

A new file appears atomically, and only then the oldest is removed. So there is always a valid
checkpoint, and a damaged file is detected and skipped.

A finished trial may keep a weights file in place of its checkpoints: the network's state dict, with
its epoch and the trial's identity, without optimizer and objective.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from care.system.files import DamagedFileError, Writer, read_whole
from care.trials.folder import CHECKPOINT_NAME, CHECKPOINTS, WEIGHTS, WEIGHTS_NAME

_KEPT = 2
_LARGEST = 2**36
_CPU = torch.device("cpu")


class _Saved(NamedTuple):
    """A checkpoint, or a weights file with step 0; in the order in which they were reached."""

    epoch: int
    step: int
    is_weights: bool
    digest: str
    path: Path


def _list_checkpoints(folder: Path) -> list[_Saved]:
    """List the checkpoints in ``folder``, newest first."""
    checkpoints = []
    for path in folder.glob(CHECKPOINTS):
        match = CHECKPOINT_NAME.fullmatch(path.name)
        if match:
            checkpoints.append(_Saved(int(match[1]), int(match[2]), False, match[3], path))
    return sorted(checkpoints, reverse=True)


def _list_weights(folder: Path) -> list[_Saved]:
    """List the weights files in ``folder``, newest first."""
    weights = []
    for path in folder.glob(WEIGHTS):
        match = WEIGHTS_NAME.fullmatch(path.name)
        if match:
            weights.append(_Saved(int(match[1]), 0, True, match[2], path))
    return sorted(weights, reverse=True)


def _list_networks(folder: Path) -> list[_Saved]:
    """List both, newest first; a weights file precedes a checkpoint of its epoch."""
    return sorted([*_list_checkpoints(folder), *_list_weights(folder)], reverse=True)


def _pack(state: dict[str, Any]) -> tuple[bytes, str]:
    """Return the bytes of a state, and their digest."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content, _digest(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


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
    content, digest = _pack(state)
    path = folder / f"checkpoint-{epoch:06d}-{step:06d}-{digest}.pt"
    writer.replace(path, content)
    _prune(folder, writer)
    for temporary in folder.glob(".checkpoint-*.tmp"):  # of a process killed during a write
        writer.remove(temporary)
    return path


def _prune(folder: Path, writer: Writer) -> None:
    for old in _list_checkpoints(folder)[_KEPT:]:
        writer.remove(old.path)


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


def _load_newest(
    list_saved: Callable[[], list[_Saved]],
    device: torch.device,
    warn: Callable[[str], None],
    writer: Writer | None,
    trial: str | None,
) -> tuple[_Saved, dict[str, Any]] | None:
    """Load the first valid file of a list; see :func:`load`."""
    for saved in list_saved():
        path, content, problem = saved.path, _read(saved.path), "is damaged"
        if content and _digest(content) == saved.digest:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location=device, weights_only=True
            )
            # Earlier versions wrote no identity.
            if trial is None or state.get("trial_id", trial) == trial:
                return saved, state
            problem = f"is of another trial, {state['trial_id']}"
        elif not os.path.lexists(path):  # removed meanwhile, after a newer one was written
            return _load_newest(list_saved, device, warn, writer, trial)
        warn(
            f"{path.name} {problem} (epoch {saved.epoch}, step {saved.step}); "
            "the previous one is used"
        )
        if writer is not None:
            writer.rename(path, path.with_suffix(".damaged"))
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
    loaded = _load_newest(lambda: _list_checkpoints(folder), device, warn, writer, trial)
    if loaded is None:
        return None
    if writer is not None:
        _prune(folder, writer)  # the last process may have been killed before pruning
    return loaded[1]


def load_weights(
    folder: Path,
    device: torch.device,
    warn: Callable[[str], None],
    writer: Writer | None = None,
    trial: str | None = None,
) -> tuple[int, dict[str, Any]] | None:
    """Load the weights file of a trained trial; see :func:`load` for the arguments.

    Returns:
        Completed epochs, and the network's state dict; None without a valid weights file.
    """
    loaded = _load_newest(lambda: _list_weights(folder), device, warn, writer, trial)
    return None if loaded is None else (loaded[0].epoch, loaded[1]["network"])


def load_network(
    folder: Path, device: torch.device, warn: Callable[[str], None], trial: str | None = None
) -> tuple[int, dict[str, Any]] | None:
    """Load the weights of the newest valid checkpoint or weights file; write nothing.

    Args:
        folder: The trial's folder.
        device: Device of the loaded tensors.
        warn: Called with one line for each damaged file, which is skipped.
        trial: Identity of the trial; a file of another trial counts as damaged.

    Returns:
        Completed epochs, and the network's state dict; None without a valid file.

    Raises:
        DamagedFileError: Permission to read a file is missing.
    """
    loaded = _load_newest(lambda: _list_networks(folder), device, warn, None, trial)
    return None if loaded is None else (loaded[0].epoch, loaded[1]["network"])


def keep_only_weights(
    folder: Path,
    epochs: int,
    trial: str,
    warn: Callable[[str], None],
    writer: Writer | None = None,
) -> bool:
    """Replace the checkpoints of a finished trial by its weights file.

    Killed at any moment, it leaves a valid file with the trained network, and a second call
    finishes the work.

    Args:
        folder: The trial's folder.
        epochs: Configured number of epochs.
        trial: Identity of the trial.
        warn: Called with one line for each damaged file, which is skipped.
        writer: The trial's claim; None if no other process writes to the folder.

    Returns:
        True if only the weights file is left; False, with all files kept, if there is no valid
        network of the last epoch.

    Raises:
        care.system.files.DiskError: The disk is full; the last checkpoint is kept.
        care.system.claim.LostClaimError: The claim is lost.
        DamagedFileError: The weights file cannot be read back; the last checkpoint is kept.
    """
    writer = writer or Writer()
    loaded = _load_newest(lambda: _list_networks(folder), _CPU, warn, None, trial)
    if loaded is None or loaded[0].epoch != epochs:
        return False
    source, state = loaded
    # Checkpoints of earlier epochs are of no use any more. They make room on a full disk.
    for old in _list_networks(folder):
        if old.epoch < epochs:
            writer.remove(old.path)
    path = source.path if source.is_weights else _save_weights(folder, state, trial, writer)
    for other in _list_networks(folder):
        if other.path != path:
            writer.remove(other.path)
    return True


def _save_weights(folder: Path, state: dict[str, Any], trial: str, writer: Writer) -> Path:
    """Write a weights file, and read it back."""
    network = copy.copy(state["network"])
    for name, tensor in network.items():
        network[name] = tensor.clone()  # a view would bring the whole of its storage
    epoch = state["epoch"]
    content, digest = _pack({"trial_id": trial, "epoch": epoch, "network": network})
    path = folder / f"weights-{epoch:06d}-{digest}.pt"
    writer.replace(path, content)
    written = read_whole(path, _LARGEST)
    if written != content or not _holds(written, state["network"]):
        raise DamagedFileError(path, "is not as it was written; the checkpoints are kept")
    return path


def _holds(content: bytes, network: dict[str, Tensor]) -> bool:
    """Check that a weights file has exactly these tensors, to the bit."""
    stored = torch.load(io.BytesIO(content), map_location=_CPU, weights_only=True)["network"]
    return list(stored) == list(network) and all(
        one.dtype == other.dtype and one.shape == other.shape and torch.equal(*_bits(one, other))
        for one, other in zip(stored.values(), network.values(), strict=True)
    )


def _bits(*tensors: Tensor) -> list[Tensor]:
    """View tensors as bytes, in which a NaN equals itself."""
    return [tensor.reshape(-1).contiguous().view(torch.uint8) for tensor in tensors]
