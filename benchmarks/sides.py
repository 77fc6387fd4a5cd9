"""The sides of a comparison, each in its own process (:mod:`benchmarks.side`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, Self

from benchmarks.workload import Workload
from care.errors import CareError
from care.system.cores import available_cores

_ROOT = Path(__file__).parent.parent
_STOP_SECONDS = 30


class SideError(CareError):
    """A side's process failed; the message has the end of its output."""


class Side:
    """A process that does one step for each call.

    Args:
        module: Module of ``benchmarks`` with a ``build`` function.
        workload: The step's size and network.
        python: Python of the environment that it needs; None for this one.
        cores: Number of threads; None for all cores.
    """

    def __init__(
        self,
        module: str,
        workload: Workload,
        python: Path | None = None,
        cores: int | None = None,
    ) -> None:
        self._module = module
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the side
        arguments = [json.dumps(asdict(workload)), str(cores or available_cores())]
        self._process = subprocess.Popen(
            [str(python or sys.executable), "-m", "benchmarks.side", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            bufsize=1,
            cwd=_ROOT,
            env=environment(),
        )

    def __enter__(self) -> Self:
        """Wait for the end of its warm-up."""
        try:
            self._answer("ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        _pipe(self._process.stdout).close()
        self._words.close()

    def __call__(self) -> None:
        """Do one step and wait for its end.

        Raises:
            SideError: The process ended.
        """
        try:
            _pipe(self._process.stdin).write("\n")
        except BrokenPipeError:
            raise self._error() from None
        self._answer("done")

    def _answer(self, expected: str) -> None:
        if _pipe(self._process.stdout).readline().strip() != expected:
            raise self._error()

    def _error(self) -> SideError:
        self._words.seek(0)
        lines = self._words.read().strip().splitlines()
        return SideError(f"{self._module}: {lines[-1] if lines else 'ended'}")


def environment() -> dict[str, str]:
    """Make a side's environment variables: PYTHONPATH with this code first, and sleeping threads.

    OpenMP threads that spin while they wait take time from the threads that they wait for. Beside
    other work, either side becomes several times slower.
    """
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
