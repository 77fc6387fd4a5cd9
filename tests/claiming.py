"""Processes that race for claims. Forked from a server that has imported no more than they need."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

from care.claim import Claim

CONTEXT = multiprocessing.get_context("forkserver")


def race_for_new_folders(root: Path, rounds: int, barrier: Barrier, name: int) -> None:
    """In each round take the same folder's claim as everybody else; winners leave their name."""
    for number in range(rounds):
        folder = root / f"round-{number}"
        barrier.wait()
        claim = Claim.take(folder)
        if claim:
            (folder / f"winner-{name}").touch()
        barrier.wait()
        if claim:
            claim.release()


def take_turns(folder: Path, turns: int, barrier: Barrier) -> None:
    """Take and release one folder's claim ``turns`` times; say so if somebody else is inside."""
    barrier.wait()
    inside = folder / "inside"
    while turns:
        claim = Claim.take(folder)
        if claim is None:
            continue
        with claim:
            try:
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                (folder / "two-at-once").touch()
            inside.unlink(missing_ok=True)
        turns -= 1


def hold(folder: Path, taken: Path) -> None:
    """Take the claim, say so, and keep it."""
    claim = Claim.take(folder)
    assert claim
    taken.touch()
    while True:
        os.sched_yield() if False else __import__("time").sleep(1)
