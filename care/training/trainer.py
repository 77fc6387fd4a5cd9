"""Training: one step, one epoch, and a state that can be saved between any two steps.

Data order, augmentations and initialization are functions of (seed, purpose, epoch, step). So
weights, optimizer state, epoch, step and the epoch's sums are all that an exact resume needs.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from care.augmentation.cuda_graph import make_graphed
from care.config import Precision, TrialConfig
from care.data.dataset import Dataset
from care.data.shared_batches import Batch, SharedBatches
from care.distributed.group import ALONE, Group
from care.evaluation.monitor import Monitor
from care.lr_schedule import learning_rate
from care.models import build_network
from care.models.batch_norm import distribute_batch_norm, local_statistics
from care.models.network import move_network
from care.objectives.inputs import make_inputs
from care.objectives.objective import Objective, trainable
from care.optimizer import build_optimizer, load_optimizer
from care.system.precision import resolve_precision
from care.system.rng import generator
from care.training.compiled_step import CompiledStep, compiles
from care.training.cuda_graph import CudaGraphStep
from care.training.step import EagerStep, Step, Terms
from care.trials.failure import DivergedError

_log = logging.getLogger(__name__)

_NEVER_BAD = 2**62
_KEPT = "the last good checkpoint is kept. A lower learning rate or λ may help."


class Trainer:
    """The training of one trial, or one process's part of it.

    Args:
        config: The trial.
        dataset: Its data, on any device.
        device: Where this process trains.
        group: The processes that train it; each has a trainer at the same step.
        precision: The network's precision; None for ``training.precision`` on this device.
        shared: Shared by trials that train in this process step by step.
        warn: Called with warnings for the user, e.g. that a step runs slower than it could.

    Attributes:
        epoch: Epochs completed.
        step: Steps completed in the current epoch.
        monitor_seconds: Time that measuring held-out samples took after the last epoch.
    """

    _sums: dict[str, Tensor]
    _first_bad_step: Tensor

    def __init__(
        self,
        config: TrialConfig,
        dataset: Dataset,
        device: torch.device,
        group: Group = ALONE,
        precision: Precision | None = None,
        shared: SharedBatches | None = None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        self.config = config
        self.device = device
        self.dataset = dataset.to(device)
        self._group = group
        self._shared = shared or SharedBatches()
        network = build_network(config.model, config.seed)
        groups = config.training.batch_norm_groups
        self.network = move_network(distribute_batch_norm(network, groups, group), device)
        self.network.precision = precision or resolve_precision(
            "training.precision", config.training.precision, device
        )
        self.objective = Objective(config.objective, self.network, config.seed, group).to(device)
        weights = trainable(self.network, self.objective)
        self.optimizer = build_optimizer(config.optimizer, weights, device)
        self.epoch = 0
        self.step = 0
        self.monitor_seconds = 0.0
        self._reset_sums()
        self._warn, self._warned = warn, set[str]()
        self._build_step()

    def _build_step(self) -> None:
        """Choose how a step runs: eager or compiled, recorded as a CUDA graph or not."""
        alone = self._group.size == 1
        recorded = alone and self.device.type == "cuda" and self.config.runtime.cuda_graph
        samples, side = len(self.dataset.train), self.dataset.train.images.shape[-2]
        self._augmenter = self.dataset.augmenter(self.config.augmentation)
        self._specs = self.objective.input_specs()
        self._passes: Step = EagerStep(self.network, self.objective, self.optimizer)
        if alone and compiles(self.config, self.device, samples, side):
            self._passes = CompiledStep(self._passes, (self.network, self.objective), self._warn)
        if recorded:
            self._augmenter = make_graphed(self._augmenter, self._warn)
            self._passes = CudaGraphStep(self._passes, self.device, self._warn)

    def steps(self, stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Train to the end of the current epoch, all processes together.

        Args:
            stop: Asked before each step; True in rank 0 ends the epoch early, in all processes.

        Yields:
            After each step. Rank 0 then calls :meth:`end_epoch`. The other ranks call only
            :meth:`follow_epoch`.
        """
        self.network.train()
        self.objective.train()
        order = self._order()
        try:
            while self.step < self.steps_per_epoch and not self._group.agree(stop()):
                self._train_step(order)
                self.step += 1
                yield
        finally:
            self._passes.wait()

    def _train_step(self, order: Tensor) -> None:
        """Train one step on the next batch of ``order``."""
        batch = self._next_batch(order)
        inputs = make_inputs(self._specs, batch, self._augmenter, self._group)
        terms = self._passes(inputs)  # forward and backward
        with self._passes.stream():
            self._group.average_(self._local_tensors())
            self._set_learning_rate()
            self.optimizer.step()
            self.objective.after_step(self.network, self._progress())
            self._accumulate(terms)

    def _next_batch(self, order: Tensor) -> Batch:
        size = self.config.training.batch_size
        chosen = order[self.step * size : (self.step + 1) * size][self._group.share(size)]
        load = self.dataset.train.batch
        seed, epoch, step = self.config.seed, self.epoch, self.step
        return self._shared.get(seed, epoch, step, lambda: load(chosen, self.device))

    def _local_tensors(self) -> list[Tensor]:
        """Return the gradients and statistics, which depend on this process's rows only."""
        weights = trainable(self.network, self.objective)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        return [*gradients, *local_statistics(self.network), *local_statistics(self.objective)]

    def _progress(self) -> float:
        """Return the completed steps, with the current one, over all steps of the training."""
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

    def _accumulate(self, terms: Terms) -> None:
        """Add to the epoch's sums on the device: the host fetches nothing before the epoch ends."""
        for name, value in terms.items():
            term = value.detach().double()
            self._sums[name] = self._sums[name] + term if name in self._sums else term
        here = torch.full_like(self._first_bad_step, self.step)
        bad = torch.where(terms["train/loss"].detach().isfinite(), _NEVER_BAD, here)
        self._first_bad_step = torch.minimum(self._first_bad_step, bad)

    def run_epoch(
        self,
        stop: Callable[[], bool] = lambda: False,
        after_step: Callable[[], None] = lambda: None,
    ) -> dict[str, float] | None:
        """Run :meth:`steps` and :meth:`end_epoch`, with the other processes' :meth:`follow_epoch`.

        Args:
            stop: See :meth:`steps`.
            after_step: Called after each step.
        """
        for _ in self.steps(stop):
            after_step()
        return self.end_epoch()

    def end_epoch(self) -> dict[str, float] | None:
        """Measure the epoch whose steps are completed, in rank 0.

        Returns:
            The epoch's metrics: means over its steps, and measures of held-out samples if
            ``evaluation.monitor`` is due. None where ``stop`` ended the epoch early.

        Raises:
            DivergedError: A loss was NaN or infinite, or embeddings of held-out samples are not
                finite or not of unit length; names the epoch and step.
        """
        self.check_finite()
        if self.step < self.steps_per_epoch:
            return None
        metrics = self._epoch_metrics()
        self._begin_next_epoch()
        return metrics

    def follow_epoch(self) -> None:
        """Train this process's part of rank 0's epoch; rank 0 alone stops and measures."""
        for _ in self.steps():
            pass
        if self.step == self.steps_per_epoch:
            self._begin_next_epoch()

    @cached_property
    def monitor(self) -> Monitor:
        """The measures of held-out samples, in rank 0."""
        augmenter = self.dataset.augmenter(self.config.augmentation)
        return Monitor(self.dataset, augmenter, self.config.evaluation)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set."""
        return len(self.dataset.train) // self.config.training.batch_size

    def check_finite(self) -> None:
        """Raise if a loss since the epoch's start or a weight is not finite.

        A step's loss is that of the weights before it. So the weights after it are checked before
        they are measured or saved.

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
        """Return all that :meth:`load_state` needs, of types that ``weights_only`` admits."""
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
        """Restore the epoch, step and weights of a :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.objective.load_state_dict(state["objective"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        self._sums, self._first_bad_step = state["sums"], state["first_bad_step"]

    def load_trained(self, epoch: int, network: dict[str, Any]) -> None:
        """Restore a trained network for its evaluation; the optimizer stays as it is."""
        self.network.load_state_dict(network)
        self.epoch, self.step = epoch, 0

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
        """Permute the training samples for the epoch, int64 [N], on the samples' device."""
        rng = generator(self.config.seed, "order", self.epoch)
        order = torch.from_numpy(rng.permutation(len(self.dataset.train)))
        return order.to(self.dataset.train.images.device)

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
        """Measure held-out samples when due; warn once of each measure that is not defined."""
        started = time.perf_counter()
        self.monitor_seconds = 0.0
        config = self.config
        if not config.evaluation.monitor.is_due(self.epoch + 1, config.training.epochs):
            return {}
        try:
            found = self.monitor(self.network)
        except DivergedError as error:
            where = f"held-out samples after epoch {self.epoch + 1}"
            raise DivergedError(f"{where}: {error}; {_KEPT}") from error
        for note in found.notes:
            if note not in self._warned:
                self._warn(f"epoch {self.epoch + 1}: {note}")
                self._warned.add(note)
        self.monitor_seconds = time.perf_counter() - started
        return found.measures
