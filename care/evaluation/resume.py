"""Store the progress of a final evaluation, so that an interrupted one resumes.

Finished parts and the state of the probe in training are stored in the trial's folder
``evaluation``, which is removed at the end. Randomness is a function of its purpose. So a repeated
part and a resumed probe give the numbers of an uninterrupted evaluation.
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

from care.evaluation.results import Results
from care.system.arrays import read_arrays
from care.system.files import DamagedFileError, Writer, set_aside
from care.trials import checkpoint
from care.trials.records import Values

_FACTS = "facts"


class _Facts(BaseModel):
    """Content of a stored part beside its arrays."""

    model_config = ConfigDict(strict=True)

    measures: Values
    notes: list[str]


class Paused(Exception):  # noqa: N818 - no error: the evaluation was asked to stop and has saved
    """The evaluation was stopped, with its progress saved."""


class Progress:
    """Progress that is neither stored nor stopped, for an evaluation in one go."""

    def part(self, name: str, measure: Callable[[], Results]) -> Results:
        """Return the results of a part: stored ones, or else those of ``measure``.

        Args:
            name: Name of the part.
            measure: Computes the results.

        Raises:
            Paused: The evaluation has to stop.
        """
        del name
        return measure().finite()

    def check(self) -> None:
        """Stop the evaluation here if necessary.

        Raises:
            Paused: The evaluation has to stop.
        """

    def probe(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """Load the last saved state of the probe ``name``; None without one."""
        del name, device
        return None

    def save_probe(self, name: str, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        """Save a probe's state between two epochs if it is due, and stop if necessary.

        Args:
            name: Name of the probe.
            epoch: Completed epochs.
            state: Returns the state.

        Raises:
            Paused: The evaluation has to stop.
        """


class SavedProgress(Progress):
    """Progress stored in a trial's folder; requires the trial's claim.

    Args:
        folder: The trial's folder.
        stop: Returns True if the evaluation has to stop.
        seconds: Longest time between two saves of a probe.
        warn: Called with a line for each damaged part, which is measured a second time.
        writer: The trial's claim; None if no other process writes to the folder.
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

    def part(self, name: str, measure: Callable[[], Results]) -> Results:
        """Return the results of a part: stored ones, or else those of ``measure``."""
        path = self._folder / f"{name}.npz"
        results = self._read(path)
        if results is None:
            self.check()
            results = measure().finite()
            self._folder.mkdir(exist_ok=True)
            self._writer.replace(path, _pack(results))
            self._writer.remove(self._folder / name)
        return results

    def check(self) -> None:
        """Stop the evaluation here if necessary.

        Raises:
            Paused: The evaluation has to stop.
            care.system.claim.LostClaimError: The claim is lost.
        """
        self._writer.check()
        if self._stop():
            raise Paused

    def probe(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """Load the last saved state of the probe ``name``; None without one."""
        self._saved_at = time.monotonic()
        return checkpoint.load(self._folder / name, device, self._warn, self._writer)

    def save_probe(self, name: str, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        """Save a probe's state if the evaluation has to stop, or the last save is long ago."""
        stopping = self._stop()
        if stopping or time.monotonic() - self._saved_at > self._seconds:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            checkpoint.save(self._folder / name, epoch, 0, state(), self._writer)
            self._saved_at = time.monotonic()
        if stopping:
            raise Paused

    def remove(self) -> None:
        """Remove the stored progress, once the results are recorded."""
        self._writer.remove(self._folder)

    def _read(self, path: Path) -> Results | None:
        try:
            arrays = read_arrays(path)
            if arrays is None:
                return None
            facts = _Facts.model_validate_json(str(arrays.pop(_FACTS, "")))
        except (DamagedFileError, ValidationError) as error:
            if isinstance(error, DamagedFileError) and error.denied:
                raise
            self._warn(f"{path.name} is damaged ({error}); it is measured a second time")
            set_aside(path, self._writer)
            return None
        return Results(facts.measures, arrays, facts.notes)


def _pack(results: Results) -> bytes:
    """Pack results as an npz archive, which has checksums."""
    facts = json.dumps({"measures": results.measures, "notes": results.notes}, allow_nan=False)
    buffer = io.BytesIO()
    np.savez(buffer, **{_FACTS: np.array(facts)}, **results.details)  # type: ignore[arg-type]
    return buffer.getvalue()
