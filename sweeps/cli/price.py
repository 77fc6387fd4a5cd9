"""The price of a sweep before it is run, as ``care sweep plan`` prints it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from care.errors import ConfigError, Problem
from care.trials.state import State
from sweeps.account import check_budget, describe_budget, read_account, used_up
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.config import load_cluster
from sweeps.backends.slurm.state_files import Workers
from sweeps.disk.units import format_bytes
from sweeps.live import duration
from sweeps.plan import Plan
from sweeps.price import PastTrials, price_of
from sweeps.resources import split_machine, split_this_machine
from sweeps.store import Store

_BASES = {
    "here": "rests on trials of equal cost that this machine trained",
    "measured": "rests on the first steps, trained here now; without the evaluation at the end",
    "elsewhere": "rests on trials of equal cost that other machines trained",
    "flops": "rests on floating-point operations, at the rate of other trials of the store",
}
_MEASURE = "--measure trains their first steps for 20 s"


@dataclass(frozen=True)
class PriceOptions:
    """Options of the price.

    Attributes:
        measure: Whether to train the first steps of trials without a past.
        cluster: A cluster file; None for this machine.
        workers: The most workers that are wanted on the cluster.
    """

    measure: bool = False
    cluster: Path | None = None
    workers: Workers | None = None


def describe_used_up(plan: Plan, store: Store) -> str:
    """Describe a budget that is used up though trials are left; empty otherwise."""
    spec = plan.sweep.spec
    unit = used_up(spec, read_account(store.sweep(spec.name)).spent)
    if unit is None or plan.complete:
        return ""
    return describe_budget(spec, unit, plan.counts()[State.FINISHED], plan.wanted)


def check_limits(plan: Plan, store: Store, past: PastTrials | None = None) -> str:
    """Refuse a budget that is too small for a trial.

    Args:
        plan: The plan.
        store: The store.
        past: Past trials that show a trial's price; those of the store on this machine by default.

    Returns:
        A warning if past trials do not show the price of a trial; empty otherwise.

    Raises:
        ConfigError: The budget is smaller than the cheapest trial that is left.
    """
    spec = plan.sweep.spec
    if spec.budget is None or describe_used_up(plan, store):
        return ""
    if past is None:
        split = split_this_machine(spec.resources, plan.wanted)
        past = PastTrials(store, spec.resources.gpus, split.threads)
    return check_budget(plan, past)


class PriceView:
    """The price of a plan, on this machine or a cluster.

    Args:
        plan: The plan.
        store: The store with past trials.
        options: Options of the price.
        console: Shows what is being measured.

    Raises:
        ConfigError: The cluster file is wrong, its workers are too small for a trial, it is to be
            measured from here, or the sweep's budget is smaller than a trial.
    """

    def __init__(self, plan: Plan, store: Store, options: PriceOptions, console: Console) -> None:
        if options.measure and options.cluster:
            allowed = "allowed without --cluster, as it measures this machine"
            raise ConfigError("care sweep plan", [Problem("--measure", True, allowed)])
        resources = plan.sweep.spec.resources
        self._cluster = load_cluster(options.cluster) if options.cluster else None
        self._workers = options.workers.most if options.workers else 1
        if self._cluster:
            name = f"a worker ({options.cluster})"
            split = split_machine(resources, self._cluster.cpus, self._cluster.gpus, name)
        else:
            split = split_this_machine(resources, plan.wanted)
            self._workers = 1
        past = PastTrials(store, resources.gpus, split.threads)
        remark = describe_used_up(plan, store) or check_limits(plan, store, past)
        self.remarks = [remark] if remark else []
        if options.measure:
            console.print("measuring the first steps of trials without a past", style="dim")
            past.measure(plan)
        self.price = price_of(plan, past, split.concurrency * self._workers)
        self._waits = self._ask_queue()

    def _ask_queue(self) -> datetime | None:
        """Ask SLURM when a worker would start; None if it does not say."""
        if self._cluster is None or not self.price.trials or not commands.available():
            return None
        with contextlib.suppress(commands.SlurmError):
            return commands.expected_start(self._cluster.sbatch_options(), self._cluster.time)
        return None

    def lines(self) -> Iterator[str]:
        """Yield the lines to print; none if nothing is left."""
        price = self.price
        if not price.trials:
            return
        if price.unknown:
            yield (
                f"price: unknown for {price.unknown} of {price.trials} trials, as no trial like "
                f"them was trained yet; {_MEASURE}"
            )
            return
        yield f"price: {self._describe_hours(price.seconds)}, {self._describe_disk()}"
        yield self._describe_end()
        if price.seed_seconds:
            yield f"one more seed: {self._describe_hours(price.seed_seconds)}"
        yield _BASES[price.basis]

    def as_json(self) -> dict[str, Any]:
        """Return the price for ``--json``; what is unknown is null."""
        price = self.price
        return {
            **asdict(price),
            "core_hours": price.core_hours,
            "gpu_hours": price.gpu_hours,
            "money": self._money(price.seconds),
            "starts": self._waits.isoformat() if self._waits else None,
        }

    def _describe_hours(self, seconds: float | None) -> str:
        hours = (seconds or 0.0) / 3600
        text = f"{hours * self.price.threads:.2g} core-hours"
        if self.price.gpus:
            text += f", {hours * self.price.gpus:.2g} GPU-hours"
        money = self._money(seconds)
        if money is not None and self._cluster and self._cluster.price:
            text += f" ({money:.2f} {self._cluster.price.currency})"
        return text

    def _money(self, seconds: float | None) -> float | None:
        """Return the price of the hours by the cluster file; None without prices in it."""
        cost = self._cluster.price if self._cluster else None
        if cost is None or seconds is None:
            return None
        each = cost.core_hour * self.price.threads + cost.gpu_hour * self.price.gpus
        return seconds / 3600 * each

    def _describe_disk(self) -> str:
        size = self.price.bytes
        return "disk unknown" if size is None else f"{format_bytes(size)} of disk"

    def _describe_end(self) -> str:
        price = self.price
        now = datetime.now().astimezone()
        start = max(now, self._waits or now)
        end = start + timedelta(seconds=price.wall_seconds or 0.0)
        text = f"earliest end: {end:%a %d %b %H:%M}, after {duration(price.wall_seconds)}"
        text += f" with {price.side_by_side} side by side"
        if self._cluster:
            text += f" on {self._workers} workers"
        if self._waits:
            text += f"; SLURM would start a worker at {self._waits:%a %d %b %H:%M}"
        return text
