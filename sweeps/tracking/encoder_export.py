"""``python -m sweeps.tracking.encoder_export``: the export of encoders in a process of their own.

The driver loads no torch. A process that does exports one trial after the other: it reads a line of
JSON for each, and answers with one. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from care.errors import CareError

_NICE = 10
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


class NoEncoderError(CareError):
    """A trial has no encoder that can be exported; another attempt would not change that."""


@dataclass(frozen=True)
class ExportRequest:
    """The export of a trial.

    Attributes:
        trial: Folder of the trial.
        target: Folder to write; an older export of the trial is replaced.
        with_seeds: Whether the model card has means over seeds, which reads every trial's files.
    """

    trial: str
    target: str
    with_seeds: bool


@dataclass(frozen=True)
class ExportReply:
    """The result of an export.

    Attributes:
        sha256: Hash of the weights; empty if it failed.
        error: The reason of a failure.
        lasting: Whether another attempt would fail as well.
    """

    sha256: str = ""
    error: str = ""
    lasting: bool = False


class EncoderExporter:
    """Exports encoders in another process, which is started by the first export and kept."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process, so that its imports are done when they are needed."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is for the driver, which ends it
        )

    def export(self, trial: Path, target: Path, *, with_seeds: bool) -> str:
        """Export the encoder of a trial, as ``care export`` does.

        Args:
            trial: Folder of the trial.
            target: Folder to write; it appears at once or not at all.
            with_seeds: As of :class:`ExportRequest`.

        Returns:
            SHA-256 of the weights.

        Raises:
            NoEncoderError: The trial has no weights, or a plugin's preprocessing.
            CareError: The disk is full, or the process died.
        """
        self.start()
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        request = ExportRequest(str(trial.resolve()), str(target.resolve()), with_seeds)
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(request)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        if not answer:
            self.close()
            raise CareError(f"{trial}: the process that exports its encoder died")
        reply = ExportReply(**json.loads(answer))
        if reply.error:
            raise (NoEncoderError if reply.lasting else CareError)(reply.error)
        return reply.sha256

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe
                pipe.close()
        process.terminate()  # it waits for nothing, and a folder appears as a whole
        process.wait()


def main() -> None:
    """Export until standard input ends."""
    # Output of libraries goes to stderr, so that it cannot be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.nice(_NICE)
    warnings.simplefilter("ignore")
    import care.pretrained.export  # noqa: F401 - while the driver writes the report

    for reply in _replies():
        answers.write(json.dumps(asdict(reply)) + "\n")


def _replies() -> Iterator[ExportReply]:
    from care.pretrained.export import export
    from care.system.files import DiskError
    from care.trials.folder import TrialFolder

    for line in sys.stdin:
        request = ExportRequest(**json.loads(line))
        folder, target = TrialFolder(Path(request.trial)), Path(request.target)
        try:
            record = export(folder, target, overwrite=True, with_seeds=request.with_seeds)
            yield ExportReply(record.sha256)
        except DiskError as error:
            yield ExportReply(error=str(error))
        except CareError as error:
            yield ExportReply(error=str(error), lasting=True)


if __name__ == "__main__":
    main()
