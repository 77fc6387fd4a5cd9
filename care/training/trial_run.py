"""Run one trial from the state of its folder until it is finished.

One process writes the folder; others may train with it (:mod:`care.training.ddp`).

A SIGKILL at any moment costs only time. An epoch writes its line of timings, its line of metrics,
its checkpoint and its status, in this order. A start rewinds the logs to the newest checkpoint and
repeats what followed, with equal numbers. A process that has lost the claim writes nothing more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch

from care.config import TrialConfig
from care.data.shared_batches import SharedBatches
from care.distributed.group import Group
from care.evaluation.evaluate import TransferSets, evaluate
from care.evaluation.resume import Paused, SavedProgress
from care.system.claim import LostClaimError
from care.system.cores import available_cores
from care.system.usage import UsageMeter
from care.training.ddp.leader import Followers
from care.training.resume import open_trainer
from care.training.stepwise import Stepwise, exhaust
from care.training.trainer import Trainer
from care.trials import checkpoint
from care.trials.condition import repair
from care.trials.failure import describe
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.plugin_versions import plugin_versions
from care.trials.preprocessing import describe_preprocessing
from care.trials.provenance import provenance
from care.trials.records import TimingRecord, UsageRecord, Values
from care.trials.staleness import OtherDataError, Versions, check_same_data, is_own
from care.trials.state import RecordedState, State

_log = logging.getLogger(__name__)


class TrialRun:
    """A trial that this process runs. The process must hold the trial's claim.

    Args:
        config: The trial.
        folder: Its folder, written through the trial's claim.
        warn: Called with each warning about this trial, e.g. of a damaged checkpoint.
        shared: Shared with trials that train in :func:`care.training.pack.lockstep` with this one.

    Attributes:
        finished: Whether the trial is trained and evaluated.
        evaluation_seconds: Time of its final evaluation in this process.
    """

    def __init__(
        self,
        config: TrialConfig,
        folder: TrialFolder,
        warn: Callable[[str], None] = _log.warning,
        shared: SharedBatches | None = None,
    ) -> None:
        self.config = config
        self._shared = shared
        self.evaluation_seconds = 0.0
        self.folder = folder
        self._warn = warn
        repair(folder, config, warn)
        folder.create(config)
        status = folder.read_status()
        self.finished = status is not None and status.finished
        if not self.finished:
            try:
                self._open()
            except LostClaimError:
                raise
            except Exception as error:
                self._write_failed(error)
                raise

    @property
    def trainer(self) -> Trainer:
        """The trainer of an unfinished trial."""
        return self._trainer

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.position[0]

    @property
    def position(self) -> tuple[int, int]:
        """Completed epochs, and completed steps of the current one."""
        if self.finished:
            return self.config.training.epochs, 0
        return self._trainer.epoch, self._trainer.step

    def advance(self, stop: Callable[[], bool] = lambda: False) -> Values | None:
        """Train one epoch; see :meth:`steps`."""
        return exhaust(self.steps(stop))

    def steps(self, stop: Callable[[], bool]) -> Stepwise[Values | None]:
        """Train one epoch; after the last one evaluate and finish.

        Args:
            stop: Called between steps, between parts of the evaluation and between epochs of its
                probes. True saves a checkpoint and pauses.

        Yields:
            After each step of the training, unless other processes train with this one.

        Returns:
            The epoch's line of ``metrics.jsonl`` and its throughput, with the final measures after
            the last epoch; None when paused.

        Raises:
            LostClaimError: Another process has taken the trial over.
            Exception: The error that ended the trial; it is written to ``status.json`` as well.
        """
        epochs = self.config.training.epochs
        try:
            if self._trainer.epoch < epochs:
                line = yield from self._run_epoch(stop)
            else:
                line = self.folder.read_metrics()[-1]
            if line is None or self._trainer.epoch < epochs:
                return line
            return self._finish(line, stop)
        except BaseException as error:
            self._followers.kill()
            if isinstance(error, Exception) and not isinstance(error, LostClaimError):
                self._write_failed(error)
            raise

    def pause(self) -> None:
        """Mark the trial paused; it resumes from its last checkpoint."""
        if not self.finished:
            self._followers.close()
            self._write_status(State.PAUSED)

    def _write_failed(self, error: Exception) -> None:
        status = self.folder.read_status()
        epoch = status.epoch if status else 0
        self.folder.write_status(State.FAILED, epoch, self.config.training.epochs, describe(error))

    def _open(self) -> None:
        config, path = self.config, self.folder.path
        processes = config.runtime.processes
        self._threads = self._resolve_threads()
        each = max(1, self._threads // processes)
        self._trainer, self._data = open_trainer(
            config, path, Group(0, processes), each, self._warn, self._shared, self.folder.writer
        )
        device = self._trainer.device
        self._followers = Followers(config, path, device, each)
        self.folder.rewind(self._trainer.epoch)
        precision = self._trainer.network.precision
        plugins = plugin_versions(config)
        prepared = describe_preprocessing(self._trainer.dataset.augmenter(config.augmentation))
        self.folder.write_provenance(
            provenance(device, self._threads, processes, precision, self._data, plugins, prepared)
        )
        self.folder.append_start(self._trainer.epoch, self._trainer.step)
        self._write_status(State.RUNNING)
        self._saved_at = time.monotonic()

    def _resolve_threads(self) -> int:
        """Return the threads of the trial's first start; others would change rounding."""
        before = self.folder.read_provenance()
        if before:
            return before.threads
        return self.config.runtime.threads or available_cores()

    def _run_epoch(self, stop: Callable[[], bool]) -> Stepwise[Values | None]:
        watch = EpochTimer()
        first_step = self._trainer.step
        if self.config.runtime.processes > 1:
            metrics = self._run_epoch_with_followers(stop)
        else:
            for _ in self._trainer.steps(stop):
                self._save_now_and_then()
                yield
            metrics = self._trainer.end_epoch()
        if metrics is None:
            self._save()
            self.pause()
            return None
        trainer = self._trainer
        line = {"epoch": trainer.epoch, "step": trainer.epoch * trainer.steps_per_epoch, **metrics}
        steps = trainer.steps_per_epoch - first_step
        images = steps * self.config.training.batch_size
        timing = watch.timing(trainer.epoch, images, trainer.monitor_seconds)
        self.folder.append_epoch(line, timing)
        self._save()
        self._write_status(State.RUNNING)
        return {**line, "images_per_second": timing.images_per_second}

    def _run_epoch_with_followers(self, stop: Callable[[], bool]) -> dict[str, float] | None:
        trainer, save = self._trainer, self._save_now_and_then
        return self._followers.lead(lambda: trainer.run_epoch(stop, save))

    def _finish(self, line: Values, stop: Callable[[], bool]) -> Values | None:
        """Evaluate the trained network; add the measures to the last epoch's line."""
        self._followers.close()
        torch.set_num_threads(self._threads)
        began = time.monotonic()
        measures = self._evaluate(stop)
        self.evaluation_seconds += time.monotonic() - began
        return None if measures is None else {**line, **measures}

    def _evaluate(self, stop: Callable[[], bool]) -> dict[str, float] | None:
        trainer, config = self._trainer, self.config
        seconds = config.runtime.checkpoint_seconds
        progress = SavedProgress(self.folder.path, stop, seconds, self._warn, self.folder.writer)
        transfer = TransferSets(config, trainer.device)
        self._check_transfer_data()
        try:
            results = evaluate(trainer.network, trainer.dataset, config, transfer, progress)
        except Paused:
            self._check_measured_data(progress)
            self.pause()
            return None
        self._check_measured_data(progress)
        for note in results.notes:
            self._warn(note)
        # Measures come last: a trial with measures is complete.
        self.folder.write_details({**results.details, "notes": np.array(results.notes, np.str_)})
        self.folder.write_evaluation(results.measures)
        self._write_status(State.FINISHED)
        self.finished = True
        progress.remove()
        return results.measures

    def _check_transfer_data(self) -> None:
        """Refuse transfer data that changed while the trial was trained.

        Its own data were read at its start, and stay what they were.
        """
        if self.config.evaluation.transfer:
            now = Versions().data(self.config)
            transfer = {field: value for field, value in now.items() if not is_own(field)}
            check_same_data(self.folder.path, self._data, transfer, self.config)

    def _check_measured_data(self, progress: SavedProgress) -> None:
        """Forget the measures of transfer data that changed since the first check."""
        try:
            self._check_transfer_data()
        except OtherDataError:
            progress.remove()
            raise

    def _save(self) -> None:
        trainer = self._trainer
        state = {"trial_id": trial_id(self.config), **trainer.state()}
        writer = self.folder.writer
        checkpoint.save(self.folder.path, trainer.epoch, trainer.step, state, writer)
        self._saved_at = time.monotonic()

    def _save_now_and_then(self) -> None:
        if self.folder.writer.lost:
            self.folder.writer.check()
        if time.monotonic() - self._saved_at > self.config.runtime.checkpoint_seconds:
            self._trainer.check_finite()
            self._followers.check()
            self._save()

    def _write_status(self, state: RecordedState) -> None:
        self.folder.write_status(state, self.epoch, self.config.training.epochs)


class EpochTimer:
    """Wall time of an epoch, whose parts may lie in several processes, and use of the machine."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._meter = UsageMeter()

    def timing(self, epoch: int, images: int, monitored: float = 0.0) -> TimingRecord:
        """Measure the seconds since the start, and the throughput of ``images``.

        Args:
            epoch: Number of the epoch, from 1.
            images: Images trained on since the start.
            monitored: Seconds that measuring held-out samples took.
        """
        seconds = time.perf_counter() - self._start
        return TimingRecord(
            epoch=epoch,
            seconds=round(seconds, 4),
            images_per_second=round(images / seconds, 1),
            finished_at=round(time.time(), 3),
            usage=UsageRecord(**asdict(self._meter.measure())),
            monitor_seconds=round(monitored, 4),
        )
