"""Remove the garbage of a store, each folder under its claim.

Killed at any moment it leaves a valid store, and the next collection finishes the work: a weights
file is read back before the last checkpoint goes, and nothing else that goes is ever read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from care.errors import CareError
from care.system.claim import Claim
from care.trials.condition import examine
from care.trials.folder import CHECKPOINTS, WEIGHTS, TrialFolder
from care.trials.pinned import trial_model
from sweeps.disk.garbage import Findings, Garbage, Keep, What, is_in_use
from sweeps.disk.removal import discard
from sweeps.disk.scan import measure_below
from sweeps.store import Store

_NETWORKS = (What.CHECKPOINTS, What.WEIGHTS)


@dataclass
class Collected:
    """The outcome of a garbage collection.

    Attributes:
        freed: Bytes that were freed.
        busy: Trials and sweeps that a process holds.
        failed: A line for each trial or file that could not be cleaned.
    """

    freed: int = 0
    busy: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Collector:
    """Removes garbage.

    Args:
        store: The store.
        keep: What stays of a finished trial's network.
        advance: Called after each trial, sweep or other part.
    """

    def __init__(
        self, store: Store, keep: Keep, advance: Callable[[], object] = lambda: None
    ) -> None:
        self._store, self._keep, self._advance = store, keep, advance
        self.done = Collected()

    def collect(self, findings: Findings) -> Collected:
        """Remove all that was findings, except in folders that a process holds now."""
        for identity, garbage in findings.trials.items():
            self._clean_trial(identity, garbage)
            self._advance()
        for name, garbage in findings.sweeps.items():
            self._clean_sweep(name, garbage)
            self._advance()
        for each in findings.rest:
            with self._noting(f"{each.paths[0]}"):
                for path in each.paths:
                    discard(path)
                self.done.freed += each.frees
            self._advance()
        return self.done

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """Note an error of a trial or file, and continue with the next one."""
        try:
            yield
        except CareError as error:
            self.done.failed.append(f"{name}: {error}")

    @contextmanager
    def _claimed(self, name: str, path: Path) -> Iterator[Claim | None]:
        """Hold the claim on a folder; None, noted as busy, if another process has it."""
        claim = Claim.take(path) if path.is_dir() else None
        if claim is None:
            if path.is_dir():
                self.done.busy.append(name)
            yield None
            return
        with claim:
            yield claim

    def _clean_trial(self, identity: str, garbage: list[Garbage]) -> None:
        path = self._store.trial(identity).path
        with self._noting(f"trial {identity}"):
            before = measure_below(path)
            try:
                with self._claimed(identity, path) as claim:
                    if claim:
                        self._clean(TrialFolder(path, claim), garbage)
            finally:
                self.done.freed += max(0, before - measure_below(path))

    def _clean(self, folder: TrialFolder, garbage: list[Garbage]) -> None:
        finished = None
        for each in garbage:
            if each.what in (What.SET_ASIDE, What.TEMPORARY):
                for path in each.paths:
                    folder.writer.remove(path)
                continue
            finished = _sound_end(folder) if finished is None else finished
            if each.what == What.PROGRESS:
                for path in each.paths:
                    folder.writer.remove(path)
            elif each.what in _NETWORKS:
                self._remove_networks(folder, finished)

    def _remove_networks(self, folder: TrialFolder, epochs: int) -> None:
        if self._keep == "none":
            for pattern in (CHECKPOINTS, WEIGHTS):
                for path in sorted(folder.path.glob(pattern)):
                    folder.writer.remove(path)
            return
        from care.trials.checkpoint import keep_only_weights  # torch takes seconds

        problems: list[str] = []
        if not keep_only_weights(
            folder.path, epochs, folder.trial_id, problems.append, folder.writer
        ):
            reason = "; ".join(problems) or "there is none of its last epoch"
            raise CareError(f"its checkpoints are kept: {reason}")

    def _clean_sweep(self, name: str, garbage: list[Garbage]) -> None:
        with (
            self._noting(f"sweep {name}"),
            self._claimed(name, self._store.sweep(name).path) as claim,
        ):
            for each in garbage if claim else ():
                if each.what == What.REVISIONS and any(map(is_in_use, each.paths)):
                    continue  # named again since it was found
                for path in each.paths:
                    discard(path)
                self.done.freed += each.frees


def _sound_end(folder: TrialFolder) -> int:
    """Check that a trial is finished and that all its numbers are sound; return its epochs.

    Raises:
        CareError: It is not, so its checkpoints may be needed.
    """
    trial = folder.read_trial()
    if trial is None:
        raise CareError("it has no trial.json; its files are kept")
    try:
        config = trial_model(trial.config).model_validate(trial.config)
    except ValidationError as error:
        raise CareError("trial.json holds no valid configuration; its files are kept") from error
    condition = examine(folder, config)
    problem = condition.damage or "; ".join(
        f"{name} {text}" for name, text in condition.repairs.items()
    )
    if problem:
        raise CareError(f"{problem}; its checkpoints are kept")
    if condition.status is None or not condition.status.finished:
        raise CareError("it is not finished any more; its checkpoints are kept")
    return config.training.epochs
