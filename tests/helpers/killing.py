"""Kill a function's process at one of its changes of the disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

# Imports are paid once, in the server that every child is forked from.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "tests.helpers.killing",
        "tests.helpers.crashing",
        "care.trials.checkpoint",
        "sweeps.disk.collect",
    ]
)
_CHANGES = ("fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir")


def killed_at(number: int, function: Callable[..., object], *arguments: Any) -> bool:
    """Call a function in a process that dies right before its ``number``-th change of the disk.

    Returns:
        False if the function ended before.
    """
    child = _CONTEXT.Process(target=_child, args=(number, function, arguments))
    child.start()
    child.join(120)
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    return child.exitcode != 0


def _child(number: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    left = [number]

    def armed(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return change(*args, **kwargs)

        return call

    for name in _CHANGES:
        setattr(os, name, armed(getattr(os, name)))
    function(*arguments)
