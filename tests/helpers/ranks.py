"""Run a function in several processes that are ranks of one gloo group."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from care.distributed.group import Group
from care.distributed.rendezvous import join, leave

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.helpers.ranks", "care.training.trainer", "sklearn.datasets"]
)
CPU = torch.device("cpu")


def in_ranks(size: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``function(group, *arguments)`` returns in each rank, of types ``weights_only`` admits.

    Args:
        size: Number of processes.
        folder: An empty folder.
        function: At a module's top level.
        *arguments: Can be pickled.
    """
    ranks = [
        _CONTEXT.Process(target=_rank, args=(Group(rank, size), folder, function, arguments))
        for rank in range(size)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
    assert [rank.exitcode for rank in ranks] == [0] * size
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(size)]


def _rank(group: Group, folder: Path, function: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    join(group, folder / "rendezvous", CPU)
    torch.save(function(group, *arguments), folder / f"{group.rank}.pt")
    leave()
