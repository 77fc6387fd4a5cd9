"""Training: one step, one epoch, and a state that can be saved between any two steps.

Data order, augmentations and initialisation are functions of (seed, purpose, epoch, step), so a
trainer needs no more than weights, optimiser state, its place and the sums of the running epoch to
go on exactly where another one stopped.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from care.augmentation.cuda_graph import make_graphed
from care.config import Precision, TrialConfig
from care.data.dataset import Dataset
from care.data.shared_batches import Stream
from care.distributed.group import ALONE, Group
from care.evaluation.monitor import Monitor
from care.lr_schedule import learning_rate
from care.models import build_network
from care.models.batch_norm import distribute_batch_norm, local_statistics
from care.models.network import move_network
from care.objectives.inputs import Views, made_when_asked_for
from care.objectives.objective import Objective, trainable
from care.optimizer import build_optimizer, load_optimizer
from care.system.precision import resolve_precision
from care.system.rng import generator
from care.training.compiled_step import CompiledPasses, compiles
from care.training.cuda_graph import GraphedPasses
from care.training.static_inputs import StaticInputs
from care.training.step import Passes, PlainPasses
from care.training.steps import Steps, exhaust
from care.trials.failure import DivergedError
from care.trials.records import TimingRecord

_log = logging.getLogger(__name__)

_NEVER_BAD = 2**62
_KEPT = "the last good checkpoint is kept. A lower learning rate or λ may help."


class Trainer:
    """The training of one trial, or one process's part of it.

    Args:
        config: The trial.
        dataset: Its data, on any device.
        device: Where this process trains.
        group: The processes that train it; each has a trainer, at the same place.
        precision: What the network computes in; None for what ``training.precision`` means here.
        stream: Shared by trials that train in this process step by step.
        warn: Called with what the user should know, e.g. that a step runs slower than it could.

    Attributes:
        epoch: Whole epochs done.
        step: Steps done of the epoch that runs.
    """

    def __init__(
        self,
        config: TrialConfig,
        dataset: Dataset,
        device: torch.device,
        group: Group = ALONE,
        precision: Precision | None = None,
        stream: Stream | None = None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        self.config = config
        self.device = device
        self.dataset = dataset.to(device)
        self._group = group
        self._stream = stream or Stream()
        network = build_network(config.model, config.seed)
        groups = config.training.batch_norm_groups
        self.network = move_network(distribute_batch_norm(network, groups, group), device)
        self.network.precision = precision or resolve_precision(
            "training.precision", config.training.precision, device
        )
        self.objective = Objective(config.objective, self.network, config.seed).to(device)
        weights = trainable(self.network, self.objective)
        self.optimizer = build_optimizer(config.optimizer, weights, device)
        self._augmenter = self.dataset.augmenter(config.augmentation)
        self.epoch = 0
        self.step = 0
        self._sums: dict[str, Tensor] = {}
        self._reset_sums()
        self._warn, self._warned = warn, set[str]()
        self._passes = self._build_passes(warn)

    def _build_passes(self, warn: Callable[[str], None]) -> Passes:
        recorded = self.device.type == "cuda" and self._group.size == 1
        inputs = StaticInputs() if recorded and self.config.runtime.cuda_graph else None
        self._views = Views(
            self.network,
            make_graphed(self._augmenter, warn) if inputs else self._augmenter,
            self.config.seed,
            self._group,
            self._stream,
            inputs or made_when_asked_for,
        )
        passes: Passes = PlainPasses(self.objective, self._views, self.optimizer)
        samples, side = len(self.dataset.train), self.dataset.train.images.shape[-2]
        if self._group.size == 1 and compiles(self.config, self.device, samples, side):
            passes = CompiledPasses(passes, (self.network, self.objective), warn)
        if inputs:
            return GraphedPasses(passes, inputs, self._views, self.device, warn)
        return passes

    @cached_property
    def monitor(self) -> Monitor:
        """Measures held-out images; made where it is asked for, in rank 0."""
        return Monitor(self.dataset, self._augmenter, self.config.evaluation)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of the training set."""
        return len(self.dataset.train) // self.config.training.batch_size

    def run_epoch(
        self,
        stop: Callable[[], bool] = lambda: False,
        between_steps: Callable[[], None] = lambda: None,
    ) -> dict[str, float] | None:
        """:meth:`steps` to the end; ``between_steps`` is called after each one."""
        return exhaust(self.steps(stop), between_steps)

    def steps(self, stop: Callable[[], bool]) -> Steps[dict[str, float] | None]:
        """Train to the end of the epoch that runs, with the other processes' :meth:`follow_epoch`.

        Args:
            stop: Asked between steps; True ends the epoch early, in all processes.

        Yields:
            After each step.

        Returns:
            The epoch's metrics, means over its steps and measures on held-out images; or None when
            ``stop`` ended it, and the next call goes on from there.

        Raises:
            DivergedError: A loss was NaN or infinite, or embeddings of held-out samples are not
                finite or not of unit length; names the epoch and step.
        """
        whole = yield from self._train_epoch(stop)
        self.check_finite()
        if not whole:
            return None
        metrics = self._epoch_metrics()
        self._begin_next_epoch()
        return metrics

    def follow_epoch(self) -> None:
        """This process's part of rank 0's :meth:`run_epoch`; rank 0 alone stops and judges."""
        if exhaust(self._train_epoch(lambda: False)):
            self._begin_next_epoch()

    def check_finite(self) -> None:
        """Raise if a loss since the epoch's start or a weight is not finite.

        A step's loss is that of the weights before it: what it made of them has to be looked at
        before they are measured or saved.

        Raises:
            DivergedError: Names the epoch and the step.
        """
        self._passes.wait()
        bad = int(self._first_bad_step)
        if bad < _NEVER_BAD:
            raise DivergedError(
                f"the loss was not finite at step {bad + 1} of epoch {self.epoch + 1}; {_KEPT}"
            )
        if not self._weights_are_finite():
            raise DivergedError(
                f"weights were not finite after step {self.step} of epoch {self.epoch + 1}; {_KEPT}"
            )

    def _weights_are_finite(self) -> bool:
        weights: list[Tensor] = [*self.network.parameters(), *self.objective.parameters()]
        norms = torch._foreach_norm([weight.detach() for weight in weights])
        return bool(torch.stack(list(norms)).isfinite().all())

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`load_state` needs, of types that ``weights_only`` admits."""
        self._passes.wait()
        return {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self._sums,
            "first_bad_step": self._first_bad_step,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to the place and weights that :meth:`state` gave."""
        self.network.load_state_dict(state["network"])
        self.objective.load_state_dict(state["objective"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        self._sums, self._first_bad_step = state["sums"], state["first_bad_step"]

    def _train_epoch(self, stop: Callable[[], bool]) -> Steps[bool]:
        """Train to the epoch's end; False when rank 0's ``stop`` ended it early."""
        self.network.train()
        self.objective.train()
        order = self._order()
        try:
            while self.step < self.steps_per_epoch:
                if self._group.agree(stop()):
                    return False
                self._train_step(order)
                self.step += 1
                yield
        finally:
            self._passes.wait()
        return True

    def _begin_next_epoch(self) -> None:
        self.epoch += 1
        self.step = 0
        self._reset_sums()
        if self.epoch == self.config.training.epochs:
            self._passes.release()

    def _reset_sums(self) -> None:
        self._sums = {}
        self._first_bad_step = torch.tensor(_NEVER_BAD, device=self.device)

    def _order(self) -> Tensor:
        """The epoch's order of the training images, int64 [N], where the images are."""
        rng = generator(self.config.seed, "order", self.epoch)
        order = torch.from_numpy(rng.permutation(len(self.dataset.train)))
        return order.to(self.dataset.train.images.device)

    def _train_step(self, order: Tensor) -> None:
        batch = self.config.training.batch_size
        chosen = order[self.step * batch : (self.step + 1) * batch][self._group.share(batch)]
        place = (self.config.seed, self.epoch, self.step)
        samples = self._stream.get(
            place, "batch", lambda: self.dataset.train.batch(chosen, self.device)
        )
        self._views.at(samples, self.epoch, self.step)
        self._set_learning_rate()
        with self._passes.queued():
            terms = self._passes()
            self._group.average_(self._differing())
            self.optimizer.step()
            self.objective.after_step(self.network, self._progress())
            self._accumulate(terms)

    def _differing(self) -> list[Tensor]:
        """What a step made different in each process: gradients, statistics of its own rows."""
        weights = trainable(self.network, self.objective)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        return [*gradients, *local_statistics(self.network), *local_statistics(self.objective)]

    def _progress(self) -> float:
        """Steps done, with the one that runs, over steps of the whole training."""
        done = self.epoch * self.steps_per_epoch + self.step + 1
        return done / (self.config.training.epochs * self.steps_per_epoch)

    def _set_learning_rate(self) -> None:
        rate = self._learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _learning_rate(self, step: int) -> float:
        done = self.epoch * self.steps_per_epoch + step
        epochs = self.config.training.epochs
        return learning_rate(self.config.optimizer, done, self.steps_per_epoch, epochs)

    def _accumulate(self, terms: dict[str, Tensor]) -> None:
        """Add to the epoch's sums on the device: nothing is fetched before the epoch ends."""
        for name, value in terms.items():
            term = value.detach().double()
            self._sums[name] = self._sums[name] + term if name in self._sums else term
        here = torch.full_like(self._first_bad_step, self.step)
        bad = torch.where(terms["train/loss"].detach().isfinite(), _NEVER_BAD, here)
        self._first_bad_step = torch.minimum(self._first_bad_step, bad)

    def _epoch_metrics(self) -> dict[str, float]:
        means = {name: float(total) / self.steps_per_epoch for name, total in self._sums.items()}
        rate = self._learning_rate(self.steps_per_epoch - 1)
        metrics = {**means, "learning_rate": rate, **self._held_out()}
        wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
        if wrong:
            raise DivergedError(
                f"{', '.join(wrong)} was not finite after epoch {self.epoch + 1}; {_KEPT}"
            )
        return metrics

    def _held_out(self) -> dict[str, float]:
        """Measure held-out images; warn once of each measure that is not defined."""
        try:
            found = self.monitor(self.network)
        except DivergedError as error:
            where = f"held-out samples after epoch {self.epoch + 1}"
            raise DivergedError(f"{where}: {error}; {_KEPT}") from error
        for note in found.notes:
            if note not in self._warned:
                self._warn(f"epoch {self.epoch + 1}: {note}")
                self._warned.add(note)
        return found.measures


class Stopwatch:
    """Wall time of an epoch, whose parts may lie in several processes."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def timing(self, epoch: int, images: int) -> TimingRecord:
        """Measure the seconds since the start, and the throughput of ``images``."""
        seconds = time.perf_counter() - self._start
        return TimingRecord(
            epoch=epoch,
            seconds=round(seconds, 4),
            images_per_second=round(images / seconds, 1),
            finished_at=round(time.time(), 3),
        )
