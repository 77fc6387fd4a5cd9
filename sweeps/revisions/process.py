"""Start a process with the code of a snapshot, and exchange requests and answers with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from care.config import TrialConfig
from sweeps.revisions import child

_POLL_SECONDS = 0.25
_ENDING_SECONDS = 60.0
_NOT_INHERITED = ("CARE_PLUGINS",)


class Answer(BaseModel):
    """An answer of :mod:`sweeps.revisions.child`.

    Attributes:
        outcome: ``checked``, ``refused``, ``claimed``, ``opened``, ``running``, ``finished``,
            ``paused``, ``busy`` or ``failed``; ``lost`` if the process ended without an answer.
        version: The snapshot's code version.
        problems: For each configuration, why the snapshot refuses it.
        metrics: The last epoch's metrics, with the final measures of a finished trial.
        evaluation_seconds: Time of the final evaluation.
        warnings: For the user.
        kind: Class of the error that ended a trial; see :mod:`care.trials.failure`.
        error: That error, or why the snapshot refused the task.
    """

    model_config = ConfigDict(frozen=True)

    outcome: str
    version: str = ""
    problems: tuple[dict[str, str] | None, ...] = ()
    metrics: dict[str, int | float] = {}
    evaluation_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    kind: str = ""
    error: str = ""


class SnapshotProcess:
    """A process that runs the code of a snapshot.

    Args:
        snapshot: Folder of the code.
        task: What the process does.
    """

    def __init__(self, snapshot: Path, task: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            # -P: the script's folder is no place to import from.
            [sys.executable, "-P", child.__file__],
            env=_environment(snapshot),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the sweep, which then pauses its trials
        )
        self._send(json.dumps({**task, "snapshot": str(snapshot)}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask_epoch(self) -> None:
        """Request one epoch."""
        self._send("")

    def ask_pause(self) -> None:
        """Request that the trial is paused."""
        self._send("pause")

    def answer(self, pausing: Callable[[], bool] = lambda: False) -> Answer:
        """Wait for an answer.

        Args:
            pausing: Polled; True makes the process pause its trial.
        """
        import select

        assert self._process.stdout
        asked = False
        while not select.select([self._process.stdout], [], [], _POLL_SECONDS)[0]:
            if not asked and pausing():
                asked = True
                self.ask_pause()
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            return Answer(outcome="lost", error=f"its process ended ({self._end_word()})")
        return Answer.model_validate_json(line)

    def close(self) -> None:
        """End the process, which first pauses its trial."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _send(self, text: str) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it has ended, which its answer shows
            self._process.stdin.write(f"{text}\n")
            self._process.stdin.flush()

    def _end_word(self) -> str:
        deadline = time.monotonic() + 1
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return f"exit status {self._process.returncode}"


def _environment(snapshot: Path) -> dict[str, str]:
    """Return the environment of a snapshot's process: without this code and its plugins.

    Other folders for Python stay: a cluster's modules may have the libraries there.
    """
    kept = {name: text for name, text in os.environ.items() if name not in _NOT_INHERITED}
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    others = [folder for folder in folders if not Path(folder, "care", "__init__.py").exists()]
    kept["PYTHONDONTWRITEBYTECODE"] = "1"  # a snapshot in the store is compiled
    return {**kept, "PYTHONPATH": os.pathsep.join([str(snapshot), *others])}


def describe_config(config: TrialConfig) -> dict[str, Any]:
    """Describe a configuration for a snapshot, and which of its fields have no default."""
    fields = config.model_dump(mode="json", exclude={"code_version"})
    chosen = config.model_dump(mode="json", exclude={"code_version"}, exclude_defaults=True)
    return {"config": fields, "chosen": chosen}
