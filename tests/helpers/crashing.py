"""Run a trial in a process that kills itself with SIGKILL at a chosen moment."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.system.claim import Claim
from care.trials.folder import TrialFolder

# Imports are paid once, in the server that every child is forked from.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.helpers.crashing", "care.training.trial_run", "scipy.linalg", "sklearn.datasets"]
)


def run_trial(config: TrialConfig, folder: Path, kill_at: tuple[str, int] | None = None) -> int:
    """Train and evaluate to the end, or until the ``n``-th event of a kind.

    Args:
        config: The trial.
        folder: Its folder.
        kill_at: (``"write"`` | ``"sync"`` | ``"step"``, n): the process dies right after its n-th
            write to the folder, or before its n-th flush to the disk (the new file is written but
            not in place), or before its n-th training step, from 0.

    Returns:
        The exit status: 0, or -SIGKILL.
    """
    child = _CONTEXT.Process(target=_child, args=(config, folder, kill_at))
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


def copy_after_every_write(config: TrialConfig, folder: Path, copies: Path) -> None:
    """Train and evaluate to the end, and copy the folder to ``copies`` after each write.

    The n-th copy, from 0, holds what a process leaves that is killed right after its n-th write.
    """
    child = _CONTEXT.Process(target=_child, args=(config, folder, None, copies))
    child.start()
    child.join(120)
    assert child.exitcode == 0


def _child(
    config: TrialConfig, path: Path, kill_at: tuple[str, int] | None, copies: Path | None = None
) -> None:
    from care.training.trial_run import TrialRun

    if kill_at:
        _arm(*kill_at)
    if copies:
        _copy_after_writes(path, copies)
    with Claim.take(path) or _nobody() as claim:
        run = TrialRun(config, TrialFolder(path, claim))
        while not run.finished:
            run.advance()


def _nobody() -> Claim:
    raise AssertionError("the claim of a killed process was not free")


def _arm(kind: str, number: int) -> None:
    from care.system.claim import Claim
    from care.training.trainer import Trainer

    bomb = _Bomb(number)
    if kind == "step":
        original = Trainer._train_step
        Trainer._train_step = bomb.wrap(original, after=False)  # type: ignore[method-assign]
    elif kind == "sync":
        os.fsync = bomb.wrap(os.fsync, after=False)
    else:
        Claim.replace = bomb.wrap(Claim.replace, after=True)  # type: ignore[method-assign]
        Claim.append = bomb.wrap(Claim.append, after=True)  # type: ignore[method-assign]


def _copy_after_writes(folder: Path, copies: Path) -> None:
    from care.system.claim import Claim

    copies.mkdir()
    number = itertools.count()

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            # Unlike shutil, cp keeps names of one file together: a holder's logs have two.
            subprocess.run(["cp", "-a", folder, copies / f"{next(number):03d}"], check=True)
            return result

        return wrapped

    Claim.replace = wrap(Claim.replace)  # type: ignore[method-assign]
    Claim.append = wrap(Claim.append)  # type: ignore[method-assign]


class _Bomb:
    def __init__(self, number: int) -> None:
        self._left = number

    def wrap(self, function: Callable[..., Any], after: bool) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not after:
                self._tick()
            result = function(*args, **kwargs)
            if after:
                self._tick()
            return result

        return wrapped

    def _tick(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
