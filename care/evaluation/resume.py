"""How far a final evaluation has come, so that one that was stopped goes on where it was.

Finished parts and the probe that trains are kept in a folder of the trial's, ``evaluation``, which
is removed with the trial's end. Randomness is a function of its purpose, so a part that is measured
again, and a probe that is trained on, give the numbers that they would have given.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from care.evaluation.results import Outcome
from care.system.arrays import read_arrays
from care.system.files import DamagedFileError, Writer, set_aside
from care.trials import checkpoint
from care.trials.records import Values

_FACTS = "facts"


class _Facts(BaseModel):
    """What is kept of a part beside its arrays."""

    model_config = ConfigDict(strict=True)

    measures: Values
    notes: list[str]


class Paused(Exception):  # noqa: N818 - no error: the evaluation was asked to stop and has saved
    """The evaluation was stopped; what it had is saved."""


class Progress:
    """Keeps nothing and is never stopped: for a measure that is made once, in one go."""

    def part(self, name: str, measure: Callable[[], Outcome]) -> Outcome:
        """What ``measure`` gives, or gave before the evaluation was stopped."""
        del name
        return measure().finite()

    def check(self) -> None:
        """Between two things that need not be done at once.

        Raises:
            Paused: The evaluation has to stop.
        """

    def probe(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """The state of the probe ``name`` that was saved last, or None."""
        del name, device
        return None

    def save_probe(self, name: str, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        """Between two epochs of a probe: save its state if it is time to.

        Raises:
            Paused: The evaluation has to stop.
        """


class SavedProgress(Progress):
    """Progress in a trial's folder, whose claim the process must hold.

    Args:
        folder: The trial's.
        stop: Whether the evaluation has to stop.
        seconds: Longest time between two saves of a probe.
        warn: Called with a line for what was damaged and is measured again.
        writer: The trial's claim, where other processes may want to write, too.
    """

    def __init__(
        self,
        folder: Path,
        stop: Callable[[], bool],
        seconds: float,
        warn: Callable[[str], None],
        writer: Writer | None = None,
    ) -> None:
        self._writer = writer or Writer()
        self._folder = folder / "evaluation"
        self._stop, self._seconds, self._warn = stop, seconds, warn
        self._saved_at = time.monotonic()

    def part(self, name: str, measure: Callable[[], Outcome]) -> Outcome:
        """What ``measure`` gives, or gave before the evaluation was stopped.

        Raises:
            Paused: The evaluation has to stop.
        """
        path = self._folder / f"{name}.npz"
        found = self._read(path)
        if found is None:
            self.check()
            found = measure().finite()
            self._folder.mkdir(exist_ok=True)
            self._writer.replace(path, _packed(found))
            self._writer.remove(self._folder / name)
        return found

    def check(self) -> None:
        """Raise ``Paused`` if the evaluation has to stop, or the claim is lost."""
        self._writer.check()
        if self._stop():
            raise Paused

    def probe(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """The state of the probe ``name`` that was saved last, or None."""
        self._saved_at = time.monotonic()
        return checkpoint.load(self._folder / name, device, self._warn, self._writer)

    def save_probe(self, name: str, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        """Save the state if the evaluation has to stop, or it was saved long ago."""
        stopping = self._stop()
        if stopping or time.monotonic() - self._saved_at > self._seconds:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            checkpoint.save(self._folder / name, epoch, 0, state(), self._writer)
            self._saved_at = time.monotonic()
        if stopping:
            raise Paused

    def forget(self) -> None:
        """Everything is measured and recorded elsewhere."""
        self._writer.remove(self._folder)

    def _read(self, path: Path) -> Outcome | None:
        try:
            arrays = read_arrays(path)
            if arrays is None:
                return None
            facts = _Facts.model_validate_json(str(arrays.pop(_FACTS, "")))
        except (DamagedFileError, ValidationError) as error:
            if isinstance(error, DamagedFileError) and error.denied:
                raise
            self._warn(f"{path.name} is damaged ({error}); it is measured again")
            set_aside(path, self._writer)
            return None
        return Outcome(facts.measures, arrays, facts.notes)


def _packed(outcome: Outcome) -> bytes:
    """As an npz archive, which checks itself when it is read."""
    facts = json.dumps({"measures": outcome.measures, "notes": outcome.notes}, allow_nan=False)
    buffer = io.BytesIO()
    np.savez(buffer, **{_FACTS: np.array(facts)}, **outcome.details)  # type: ignore[arg-type]
    return buffer.getvalue()
