"""The simulated workers: real trainables that write real folders without training."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from ray import cloudpickle

import sweeps.tune.claimed_trial
import sweeps.tune.trial_actor
from care.config import TrialConfig
from care.config.metrics import final_measures, monitored_metrics
from care.data.shared_batches import SharedBatches
from care.system.files import write_atomic
from care.training.stepwise import Stepwise
from care.trials.folder import TrialFolder
from care.trials.provenance import provenance
from care.trials.records import ProvenanceRecord, TimingRecord, Values
from care.trials.state import State
from sweeps.tune.node import Node
from sweeps.tune.trainable import CareTrainable

_STEPS = 7
_METRICS = (
    "train/loss",
    "train/infonce",
    "train/equivariance",
    "train/positive_cosine",
    "learning_rate",
    *monitored_metrics()[:6],
)


class SimulatedClock:
    """The clock of the simulated workers, which advances with each epoch."""

    sleep = time.sleep

    def __init__(self) -> None:
        self.now, self.epoch_seconds = 0.0, 0.0

    def monotonic(self) -> float:
        """Return the seconds that all epochs took together."""
        return self.now


_clock = SimulatedClock()


class UntrainedRun:
    """Writes the files of :class:`care.training.trial_run.TrialRun` without training."""

    _provenance: ProvenanceRecord | None = None

    def __init__(
        self,
        config: TrialConfig,
        folder: TrialFolder,
        warn: Callable[[str], None],  # noqa: ARG002 - as TrialRun
        shared: SharedBatches | None = None,  # noqa: ARG002
    ) -> None:
        import torch

        self.config, self.evaluation_seconds = config, 0.0
        self._epochs, self._seed = config.training.epochs, config.seed
        self.folder = folder
        folder.create(config)
        status = folder.read_status()
        self.finished = status is not None and status.finished
        if UntrainedRun._provenance is None:
            UntrainedRun._provenance = provenance(torch.device("cpu"), 1, 1, "fp32", {}, {})
        self._epoch = len(folder.read_metrics())
        folder.write_provenance(UntrainedRun._provenance)
        folder.append_start(self._epoch, 0)
        folder.write_status(State.RUNNING, self._epoch, self._epochs)

    @property
    def epoch(self) -> int:
        """Number of logged epochs."""
        return self._epoch

    @property
    def position(self) -> tuple[int, int]:
        """The logged epochs and the steps after them, of which there are none."""
        return self._epoch, 0

    def steps(self, stop: Callable[[], bool]) -> Stepwise[Values]:  # noqa: ARG002
        """Log an epoch; after the last one write the measures."""
        yield
        _clock.now += _clock.epoch_seconds
        self._epoch += 1
        value = self._seed + 1 / self._epoch
        line: dict[str, float] = {"epoch": self._epoch, "step": self._epoch * _STEPS}
        line |= dict.fromkeys(_METRICS, value)
        timing = TimingRecord(
            epoch=self._epoch,
            seconds=_clock.epoch_seconds,
            images_per_second=1000.0,
            finished_at=time.time(),
        )
        self.folder.append_epoch(line, timing)
        write_atomic(self.folder.path / "checkpoint-0", bytes(4096))
        if self._epoch < self._epochs:
            self.folder.write_status(State.RUNNING, self._epoch, self._epochs)
            return line
        measures = dict.fromkeys(final_measures(), value)
        self.folder.write_details({"features": np.zeros(64)})
        self.folder.write_evaluation(measures)
        self.folder.write_status(State.FINISHED, self._epoch, self._epochs)
        self.finished = True
        return {**line, **measures}

    def pause(self) -> None:
        """Mark the trial as paused."""
        self.folder.write_status(State.PAUSED, self._epoch, self._epochs)


class _Trainable(CareTrainable):
    def _setup_logdir(self) -> None:
        """No-op instead of Ray's working folder for each trial, which care does not use."""
        self._logdir = os.devnull


def run_node(pipe: Connection, epoch_seconds: float, node: Node) -> None:
    """Answer calls until None comes.

    Args:
        pipe: Takes (number, actor, method, pickled arguments); gives (number, pickled result).
        epoch_seconds: Seconds of an epoch; the answer to ``train`` leaves after those it trained.
        node: Name of the node.
    """
    os.environ.update(node.environment)
    _clock.epoch_seconds = epoch_seconds
    setattr(sweeps.tune.claimed_trial, "TrialRun", UntrainedRun)  # noqa: B010 - a module's name
    setattr(sweeps.tune.trial_actor, "time", _clock)  # noqa: B010
    actors: dict[int, CareTrainable] = {}
    late: list[tuple[float, int, bytes]] = []
    while True:
        while late and late[0][0] <= time.monotonic():
            _, number, content = heapq.heappop(late)
            pipe.send((number, content))
        if not pipe.poll(max(0.0, late[0][0] - time.monotonic()) if late else None):
            continue
        call = pipe.recv()
        if call is None:
            return
        number, actor, method, content = call
        asked, clock = time.monotonic(), _clock.now
        result = cloudpickle.dumps(_answer(actors, actor, method, content))
        due = asked + _clock.now - clock
        heapq.heappush(late, (due, number, result))


def _answer(actors: dict[int, CareTrainable], actor: int, method: str, content: bytes) -> Any:
    """Call a method of an actor; an error is a mistake of the simulation and ends it."""
    args, kwargs = cloudpickle.loads(content)
    if method == "__init__":
        actors[actor] = _Trainable(*args, **kwargs)
    elif method == "stop":
        actors.pop(actor).stop()
    elif method != "__ray_ready__":
        return getattr(actors[actor], method)(*args, **kwargs)
    return None
