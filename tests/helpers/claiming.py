"""Processes that race for claims."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from care.system.claim import Claim

CONTEXT = multiprocessing.get_context("forkserver")


def run_side_by_side(count: int, target: Callable[..., None], *arguments: Any) -> None:
    """Run ``target(barrier, number, *arguments)`` in ``count`` processes until all have ended."""
    barrier = CONTEXT.Barrier(count)
    processes = [
        CONTEXT.Process(target=target, args=(barrier, number, *arguments))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count


def race_for_folders(barrier: Barrier, name: int, root: Path, rounds: int) -> None:
    """In each round, take the claim that everybody takes; a winner leaves its name."""
    for number in range(rounds):
        folder = root / f"round-{number:03d}"
        barrier.wait()
        claim = Claim.take(folder)
        if claim:
            (folder / f"winner-{name}").touch()
        barrier.wait()
        if claim:
            claim.release()


def take_turns(barrier: Barrier, name: int, folder: Path, turns: int) -> None:
    """Take and release one claim repeatedly; report if another process holds it."""
    inside = folder / "inside"
    barrier.wait()
    while turns:
        claim = Claim.take(folder)
        if claim is None:
            continue
        turns -= 1
        with claim:
            try:
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                (folder / "two-at-once").touch()
            inside.unlink(missing_ok=True)


def hold(folder: Path, taken: Path) -> None:
    """Take the claim, say so, and keep it until killed."""
    claim = Claim.take(folder)
    assert claim
    taken.touch()
    while True:
        time.sleep(60)
