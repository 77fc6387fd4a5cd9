"""How the processes of a trial find each other, and part."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout

from care.distributed.group import Group

_TO_MEET = timedelta(minutes=5)
# A process that ended is seen at once (care.training.ddp.leader), and one that waits may wait for
# a slow disk or through a suspension of the whole trial.
_IN_A_STEP = timedelta(days=365)


def join(group: Group, rendezvous: Path, device: torch.device) -> None:
    """Enter torch's default group; returns when all processes have.

    Decisions go through gloo on the CPU, tensors on GPUs through NCCL. The processes meet in a
    file, so that no port of a shared machine is open to strangers.

    Args:
        group: This process.
        rendezvous: A file that does not exist yet, in a private folder of this machine.
        device: Where this process trains.
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
        timeout=_TO_MEET,
    )
    _set_pg_timeout(_IN_A_STEP)


def leave(*, broken: bool = False) -> None:
    """Leave torch's default group, if this process is in it.

    Args:
        broken: Another process is gone: NCCL, which does not notice, would wait for it.
    """
    if not dist.is_initialized():
        return
    if broken:
        abort()
    dist.destroy_process_group()


def abort() -> None:
    """End NCCL's operations that run, whose results are then worth nothing; gloo's end alone."""
    if dist.is_initialized() and dist.group.WORLD and "nccl" in dist.get_backend_config():
        dist.group.WORLD.abort()


def _loopback() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
