"""The Ray Tune trainable: a trial of the store, run epoch by epoch in an actor that is reused.

Tune's own checkpoints are not used. Whatever actor gets a trial opens its folder, finds what is
there and goes on from it; so it does not matter which actor, launch or machine ran it before.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

from care.claim import Claim
from care.config import TrialConfig
from care.failure import classify
from care.trial_folder import TrialFolder
from care.trial_run import TrialRun
from sweeps.node import Node

_STOP_POLL_SECONDS = 0.25
_PAUSING_SECONDS = 0.5


class StopFlag:
    """Whether the trials of a node are to checkpoint and pause, looked at now and then."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._looked = 0.0
        self._seen = False

    def __call__(self) -> bool:
        """Whether they are."""
        if not self._seen and time.monotonic() - self._looked > _STOP_POLL_SECONDS:
            self._seen = self._node.pausing
            self._looked = time.monotonic()
        return self._seen


class CareTrainable(tune.Trainable):  # type: ignore[misc]
    """One trial at a time; ``reset_config`` goes to the next one in the same process.

    The configuration Tune passes has ``trial_id``, ``tree`` (a dumped :class:`TrialConfig`),
    ``folder`` and ``replay`` (whether epochs that are done are reported again, which a scheduler
    needs).

    A result has ``outcome``: ``running``, ``finished``, ``paused``, ``busy`` (somebody else holds
    the trial), ``disk`` (its folder cannot be written now) or ``failed``; ``warnings``; and the
    epoch's metrics. A process whose memory is full, or that lost another one of the trial's, ends
    with the error: another one starts anew.
    """

    _claim: Claim | None
    _run: TrialRun | None

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first trial."""
        self._open(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Let go of the trial that ended and take the next one."""
        self._close()
        self._open(new_config)
        return True

    def get_auto_filled_metrics(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """What Tune adds to a result, without the configuration, which the driver made itself."""
        filled: dict[str, Any] = super().get_auto_filled_metrics(*arguments, **named)
        filled.pop("config", None)
        return filled

    def cleanup(self) -> None:
        """Let go of the trial when the actor ends."""
        self._close()

    def step(self) -> dict[str, Any]:
        """One epoch, or a line about one that is done."""
        try:
            result = self._step()
        except Exception as error:
            self._close()
            kind = classify(error)
            if kind in ("out_of_memory", "lost"):
                raise
            outcome = "disk" if kind == "disk" else "failed"
            return self._result(outcome, {"error": f"{kind}: {error}"})
        if result["done"]:
            self._close()
        return result

    def _step(self) -> dict[str, Any]:
        if self._run is None:
            self._run = self._open_run()
        if self._run is None:
            return self._not_begun()
        if self._replayed:
            return self._result("running", self._replayed.pop(0))
        line = self._finished_line() if self._run.finished else self._run.advance(self._stop)
        if line is None:
            return self._result("paused")
        return self._result("finished" if self._run.finished else "running", line)

    def _open(self, config: dict[str, Any]) -> None:
        self._trial = TrialConfig.model_validate(config["tree"])
        self._folder = TrialFolder(Path(config["folder"]))
        self._node = Node.of_this_process()
        self._stop = StopFlag(self._node)
        self._replay = bool(config["replay"])
        self._replayed: list[dict[str, Any]] = []
        self._warnings: list[str] = []
        self._claim = None
        self._run = None

    def _open_run(self) -> TrialRun | None:
        """Claim the trial and open it; None when it is somebody else's or the launch stops."""
        if self._stop():
            return None
        self._claim = Claim.take(self._folder.path)
        if self._claim is None:
            return None
        self._node.enter(self._folder.path)
        run = TrialRun(self._trial, self._folder, lambda text: self._warnings.append(text))
        if self._replay:
            # A finished trial's last epoch is reported with its final measures, not before.
            done = self._folder.read_metrics()
            self._replayed = done[:-1] if run.finished else done
        return run

    def _not_begun(self) -> dict[str, Any]:
        if not self._stop():
            return self._result("busy")
        # Until its Ray has ended, a node that pauses is offered one trial after another.
        time.sleep(_PAUSING_SECONDS)
        return self._result("paused")

    def _finished_line(self) -> dict[str, Any]:
        return {**self._folder.read_metrics()[-1], **(self._folder.read_evaluation() or {})}

    def _close(self) -> None:
        if self._run is not None and self._claim is not None:
            status = self._folder.read_status() or {}
            if status.get("state") == "running":
                self._run.pause()
        if self._claim is not None:
            self._claim.release()
            self._node.leave(self._folder.path)
        self._run = self._claim = None

    def _result(self, outcome: str, line: dict[str, Any] | None = None) -> dict[str, Any]:
        warnings, self._warnings = self._warnings, []
        done = outcome != "running"
        return {**(line or {}), "outcome": outcome, "done": done, "warnings": warnings}
