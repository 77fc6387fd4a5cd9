"""The price of a plan before it is run: core-hours, disk and the earliest end, from past trials.

An epoch takes as long as those of past trials with equal data, model, batch and passes. Past trials
of this machine count before those of others. A trial without such a past is estimated by its
floating-point operations, at the rate of the nearest past trials.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from care.config import TrialConfig
from care.config.cost import training_flops
from care.errors import CareError, ConfigError, Problem
from sweeps.past_trials import PastTrial, read_past
from sweeps.plan import Plan, make_plan
from sweeps.spec.sweep import Sweep
from sweeps.store import Store

_PAST_TRIALS_READ = 200
_KINDS_MEASURED = 4
_CHECKPOINTS_KEPT = 2
_WEAKNESS = ("here", "measured", "elsewhere", "flops")


@dataclass(frozen=True)
class Work:
    """An estimate for one trial.

    Attributes:
        seconds: Time from its next epoch to its end, on its share of a machine.
        epoch_seconds: Time of an epoch.
        bytes: Size of its folder at the end; None if unknown.
        basis: The trials that it rests on: of this machine (``here``), their first steps
            (``measured``), of others (``elsewhere``), or of another cost (``flops``).
    """

    seconds: float
    epoch_seconds: float
    bytes: int | None
    basis: str


@dataclass(frozen=True)
class Price:
    """The price of the trials that a plan has left.

    Attributes:
        trials: Number of them.
        unknown: Number of trials without an estimate; with any, the sums are None.
        threads: CPU threads of a trial.
        gpus: GPUs of a trial.
        side_by_side: Trials that run at a time.
        seconds: Sum of the trials' seconds.
        wall_seconds: Time to the earliest end, if all workers are there at once.
        bytes: Disk that the trials fill; None if unknown.
        seed_seconds: Sum of the seconds of one more seed at every point.
        basis: The weakest basis of the trials' estimates; empty without any.
    """

    trials: int
    unknown: int
    threads: int
    gpus: float
    side_by_side: int
    seconds: float | None = None
    wall_seconds: float | None = None
    bytes: int | None = None
    seed_seconds: float | None = None
    basis: str = ""

    @property
    def core_hours(self) -> float | None:
        """Hours of the trials times their threads."""
        return None if self.seconds is None else self.seconds * self.threads / 3600

    @property
    def gpu_hours(self) -> float | None:
        """Hours of the trials times their GPUs; a part of a GPU counts as that part."""
        return None if self.seconds is None else self.seconds * self.gpus / 3600


class _Rate(NamedTuple):
    """What a trial of a cost takes, apart from its number of epochs."""

    epoch_seconds: float
    end_seconds: float
    bytes: int | None
    basis: str

    @classmethod
    def of(cls, past: Sequence[PastTrial], epoch_seconds: float, basis: str) -> _Rate:
        """Take the evaluation and the size from past trials; the size only from equal ones."""
        ends = [each.end_seconds for each in past if each.end_seconds is not None]
        sizes = [each.bytes for each in past if each.bytes is not None]
        end = statistics.median(ends) if ends else 0.0
        size = round(statistics.median(sizes)) if sizes and basis != "flops" else None
        return cls(epoch_seconds, end, size, basis)


class PastTrials:
    """The trials of a store that show what others will take.

    Args:
        store: The store; at most 200 of its trials are read.
        gpus: GPUs of a trial; only trials on the same kind of device count.
        threads: Threads of a trial. Those with as many count before those with others, whose
            seconds times threads are taken to stay the same.
    """

    def __init__(self, store: Store, gpus: float, threads: int) -> None:
        self.gpus, self.threads = gpus, threads
        device = "cuda" if gpus else "cpu"
        folders = itertools.islice(store.all_trials(), _PAST_TRIALS_READ)
        self._by_cost: dict[Hashable, list[PastTrial]] = {}
        for past in read_past(folders, device):
            self._by_cost.setdefault(_cost(past.config), []).append(past)
        # Of 100,000 trials few have a cost of their own.
        self._rates: dict[Hashable, _Rate | None] = {}

    def measure(self, plan: Plan, seconds: float = 20.0) -> int:
        """Train the first steps of the kinds of trials that this machine never trained.

        Each kind is measured in a process of its own, which keeps nothing. Kinds are trials of
        equal cost; the four with most trials are measured, and the others estimated from them.

        Args:
            plan: The plan, whose missing trials are measured.
            seconds: Time for all kinds together, besides the time in which data are loaded.

        Returns:
            The number of kinds that were measured.

        Raises:
            CareError: A trial cannot be trained here; quotes the reason.
            ConfigError: A trial has several GPUs, and one process would not show its pace.
        """
        if self.gpus > 1:
            allowed = "allowed for trials with one GPU or none"
            raise ConfigError(plan.sweep.source, [Problem("--measure", True, allowed)])
        configs = [trial.config for trial in plan.missing()]
        configs += [plan.sweep.base_config()] * min(1, plan.unsuggested)
        kinds: dict[Hashable, list[TrialConfig]] = {}
        for config in configs:
            kinds.setdefault(_cost(config), []).append(config)
        unknown = [
            cost for cost in kinds if not any(past.here for past in self._by_cost.get(cost, ()))
        ]
        chosen = sorted(unknown, key=lambda cost: -len(kinds[cost]))[:_KINDS_MEASURED]
        for cost in chosen:
            measured = _measure(kinds[cost][0], self.gpus, self.threads, seconds / len(chosen))
            self._by_cost.setdefault(cost, []).append(measured)
        self._rates.clear()
        return len(chosen)

    def work(self, config: TrialConfig, epoch: int = 0) -> Work | None:
        """Estimate the rest of a trial that has completed ``epoch`` epochs; None without a past."""
        cost = _cost(config)
        if cost not in self._rates:
            self._rates[cost] = self._rate(config, cost)
        rate = self._rates[cost]
        if rate is None:
            return None
        rest = rate.epoch_seconds * (config.training.epochs - epoch) + rate.end_seconds
        return Work(rest, rate.epoch_seconds, rate.bytes, rate.basis)

    def _rate(self, config: TrialConfig, cost: Hashable) -> _Rate | None:
        """Derive what trials of a cost take from those of equal cost, or from all others."""
        if equal := self._by_cost.get(cost):
            chosen = self._nearest(equal)
            seconds = statistics.median(map(self._seconds, chosen))
            own = "here" if chosen[0].is_whole else "measured"
            return _Rate.of(chosen, seconds, own if chosen[0].here else "elsewhere")
        past = itertools.chain.from_iterable(self._by_cost.values())
        like = self._nearest([each for each in past if _flops(each.config)])
        speeds = [_flops(each.config) / self._seconds(each) for each in like]
        flops = _flops(config)
        return (
            _Rate.of(like, flops / statistics.median(speeds), "flops") if speeds and flops else None
        )

    def _nearest(self, trials: list[PastTrial]) -> list[PastTrial]:
        """Return those of this machine with as many threads, or those that come nearest."""

        def nearness(past: PastTrial) -> tuple[bool, bool]:
            return past.here, past.threads == self.threads

        best = max(map(nearness, trials), default=None)
        return [past for past in trials if nearness(past) == best]

    def _seconds(self, past: PastTrial) -> float:
        return max(past.epoch_seconds, 1e-9) * past.threads / self.threads

    def epoch_seconds(self, config: TrialConfig) -> float | None:
        """Return the time of an epoch of past trials of equal cost; None without any."""
        work = self.work(config)
        return work.epoch_seconds if work and work.basis != "flops" else None


def price_of(plan: Plan, past: PastTrials, side_by_side: int) -> Price:
    """Estimate the price of the trials that a plan has left.

    Args:
        plan: The plan.
        past: The past trials.
        side_by_side: Number of trials that run at a time.
    """
    base = plan.sweep.base_config()
    left = [(trial.config, trial.epoch) for trial in plan.missing()]
    left += [(base, 0)] * plan.unsuggested
    works = [past.work(config, epoch) for config, epoch in left]
    known = [work for work in works if work is not None]
    price = Price(len(left), len(left) - len(known), past.threads, past.gpus, side_by_side)
    if price.unknown:
        return price
    sizes = [work.bytes for work in known]
    seeds = [past.work(config) for config in _one_seed(plan, base)]
    return replace(
        price,
        seconds=sum(work.seconds for work in known),
        wall_seconds=schedule([work.seconds for work in known], side_by_side),
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        seed_seconds=None if None in seeds else sum(work.seconds for work in seeds if work),
        basis=max((work.basis for work in known), key=_WEAKNESS.index, default=""),
    )


def schedule(seconds: Iterable[float], side_by_side: int) -> float:
    """Return the end of trials that start in this order, each as soon as one of the places is free.

    Args:
        seconds: Time of each trial.
        side_by_side: Number of places, 1 or more.
    """
    places = [0.0] * side_by_side
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def longest_epoch(sweep: Sweep, store: Store, threads: int) -> float | None:
    """Estimate the longest epoch of a sweep's trials from past ones of equal cost; None without.

    Args:
        sweep: The sweep.
        store: The store with past trials.
        threads: Threads of a trial.
    """
    past = PastTrials(store, sweep.spec.resources.gpus, threads)
    costs = {_cost(trial.config): trial.config for trial in make_plan(sweep, store).trials}
    seconds = [past.epoch_seconds(config) for config in costs.values()]
    return max((each for each in seconds if each is not None), default=None)


def _one_seed(plan: Plan, base: TrialConfig) -> list[TrialConfig]:
    """List a configuration of each point, for one more seed."""
    points = {trial.group_id: trial.config for trial in plan.trials}
    unsuggested = plan.unsuggested // max(1, len(plan.sweep.spec.all_seeds))
    return [*points.values(), *[base] * unsuggested]


def _measure(config: TrialConfig, gpus: float, threads: int, seconds: float) -> PastTrial:
    request = {
        "config": config.model_dump(mode="json", exclude={"code_version"}),
        "threads": threads,
        "seconds": seconds,
    }
    # Torch stays out of this process, and its memory is free afterwards.
    # A trial without a GPU does not see those of the machine.
    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", "from care.training.pace import main; main()"],
        input=json.dumps(request),
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise CareError(f"the first steps could not be measured: {reason[-1]}")
    epoch_seconds, checkpoint_bytes, _ = json.loads(done.stdout.splitlines()[-1])
    size = _CHECKPOINTS_KEPT * checkpoint_bytes
    return PastTrial(config, True, threads, epoch_seconds, None, size, is_whole=False)


def _flops(config: TrialConfig) -> float:
    """Return the floating-point operations of an epoch; 0 if only the files show the samples."""
    size, side = config.data.train_size, config.data.pixels
    if size is None or side is None:
        return 0.0
    return training_flops(config, size, side) / config.training.epochs


def _cost(config: TrialConfig) -> Hashable:
    """Return a key that trials have in common if their epochs take equal time."""
    objective = config.objective
    return (
        config.data,
        config.model,
        config.training.batch_size,
        objective.name,
        objective.passes,
    )
