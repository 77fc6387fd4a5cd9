"""Join and leave the process group of a trial."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout

from care.distributed.group import Group

_JOIN_TIMEOUT = timedelta(minutes=5)
# Practically none: care.training.ddp.leader detects an ended process at once, and a live one may
# wait for a slow disk or while the trial is suspended.
_STEP_TIMEOUT = timedelta(days=365)


def join(group: Group, rendezvous: Path, device: torch.device) -> None:
    """Join torch's default group; returns once all processes have joined.

    CPU tensors go through gloo, GPU tensors through NCCL. The processes meet in a file, so that no
    port of a shared machine is open to other users.

    Args:
        group: This process.
        rendezvous: Path of a new file, in a private folder of this machine.
        device: Device of this process.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback())
    dist.init_process_group(
        backend,
        init_method=f"file://{rendezvous}",
        rank=group.rank,
        world_size=group.size,
        timeout=_JOIN_TIMEOUT,
    )
    _set_pg_timeout(_STEP_TIMEOUT)


def leave(*, broken: bool = False) -> None:
    """Leave torch's default group, if this process is in it.

    Args:
        broken: Another process has ended; NCCL does not detect that and would wait for it.
    """
    if not dist.is_initialized():
        return
    if broken:
        abort()
    dist.destroy_process_group()


def abort() -> None:
    """Abort NCCL's pending operations, with undefined results; gloo's end by themselves."""
    if dist.is_initialized() and dist.group.WORLD and "nccl" in dist.get_backend_config():
        dist.group.WORLD.abort()


def _loopback() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
