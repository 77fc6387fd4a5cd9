"""The hours that a sweep has spent and was planned to take, and why its last run stopped early.

The driver counts the hours of the trials' processes and writes them to ``account.json`` every few
seconds. A driver that was killed may have written less than it spent. The next one therefore also
derives the hours from the trials' logs and takes the larger number: neither can be too large.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from care.errors import ConfigError, Problem
from care.system.files import DamagedFileError, pack_json
from care.trials.folder import TrialFolder
from care.trials.records import Record, read_record
from care.trials.state import State
from sweeps.plan import Plan
from sweeps.price import PastTrials, Price
from sweeps.spec.limits import UNITS, Unit, unit_label
from sweeps.spec.schema import SweepSpec
from sweeps.store import SweepFolder

ACCOUNT = "account.json"
StopName = Literal["", "budget", "failures"]
STOPPED: Mapping[str, str] = {"budget": "budget used up", "failures": "stopped at failures"}
"""The state of a sweep whose last run a limit ended, for people."""
Span = tuple[float, float]

_MORE = 1.5  # factor of the budget that the advice names
_MOST_NAMES = 5


@dataclass(frozen=True)
class Hours:
    """Core-hours and GPU-hours."""

    core: float = 0.0
    gpu: float = 0.0

    def __add__(self, other: Hours) -> Hours:
        return Hours(self.core + other.core, self.gpu + other.gpu)

    def of(self, unit: Unit) -> float:
        """Return the hours of a unit."""
        return self.core if unit == "core_hours" else self.gpu

    def or_more(self, other: Hours) -> Hours:
        """Return the larger number of each unit."""
        return Hours(max(self.core, other.core), max(self.gpu, other.gpu))


class AccountRecord(Record):
    """``account.json``: hours of a sweep, and why its last run stopped early.

    Attributes:
        core_hours: Core-hours spent since the sweep's first start.
        gpu_hours: GPU-hours spent since then.
        planned_core_hours: Core-hours by the price at the first start; None without an estimate.
        planned_gpu_hours: GPU-hours by that price.
        running: Whether a driver counts; still true after one was killed.
        stopped: ``budget`` or ``failures`` if that ended the last run; empty otherwise.
        reason: The reason in words.
    """

    core_hours: float = 0.0
    gpu_hours: float = 0.0
    planned_core_hours: float | None = None
    planned_gpu_hours: float | None = None
    running: bool = False
    stopped: StopName = ""
    reason: str = ""

    @property
    def spent(self) -> Hours:
        """The hours spent."""
        return Hours(self.core_hours, self.gpu_hours)

    @property
    def planned(self) -> Hours | None:
        """The hours of the price at the first start."""
        if self.planned_core_hours is None:
            return None
        return Hours(self.planned_core_hours, self.planned_gpu_hours or 0.0)

    def merge(self, other: AccountRecord) -> AccountRecord:
        """Take over what the account of the same sweep in another store has more.

        Hours are not added: one store may have been copied from the other, so the larger number is
        the one that cannot be too large. The rest is that of the account with more hours.
        """
        spent = self.spent.or_more(other.spent)
        newer, older = (other, self) if other.core_hours > self.core_hours else (self, other)
        priced = newer if newer.planned else older
        return newer.model_copy(
            update={
                "core_hours": spent.core,
                "gpu_hours": spent.gpu,
                "planned_core_hours": priced.planned_core_hours,
                "planned_gpu_hours": priced.planned_gpu_hours,
            }
        )

    def describe(self, spec: SweepSpec) -> str:
        """Describe the hours in one line; empty if nothing was planned or spent."""
        limits = spec.budget.limits() if spec.budget else {}
        if self.spent == Hours() and self.planned is None and not limits:
            return ""
        parts = []
        for unit in UNITS:
            if unit == "gpu_hours" and not spec.resources.gpus:
                continue
            planned = f"{_number(self.planned.of(unit))} planned, " if self.planned else ""
            budget = f", budget {limits[unit]:g}" if unit in limits else ""
            spent = _number(self.spent.of(unit))
            parts.append(f"{unit_label(unit)}: {planned}{spent} spent{budget}")
        return "; ".join(parts)

    def as_json(self) -> dict[str, object]:
        """Convert to JSON for ``--json``."""
        return {
            "stopped": self.stopped or None,
            "reason": self.reason or None,
            "spent": {"core_hours": self.core_hours, "gpu_hours": self.gpu_hours},
            "planned": self.planned
            and {"core_hours": self.planned.core, "gpu_hours": self.planned.gpu},
        }


@dataclass(frozen=True)
class Ending:
    """The end of a sweep's last run, in words.

    Attributes:
        stopped: Why it stopped early; empty if it did not, or if nothing is left to do.
        hours: Planned and spent hours; empty without any, and while a driver counts.
    """

    stopped: str = ""
    hours: str = ""

    def lines(self) -> list[str]:
        """List what there is to say, a line each."""
        return [line for line in (self.stopped, self.hours) if line]


def _number(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"


def read_account(folder: SweepFolder) -> AccountRecord:
    """Read a sweep's account; an empty one if there is none, or if it is damaged."""
    with contextlib.suppress(DamagedFileError):
        return read_record(folder.path / ACCOUNT, AccountRecord) or AccountRecord()
    return AccountRecord()


def write_account(folder: SweepFolder, account: AccountRecord) -> None:
    """Replace a sweep's account.

    Raises:
        LostClaimError: Another driver has taken over the sweep.
        DiskError: The disk is full or not available.
    """
    path = folder.path / ACCOUNT
    folder.writer.replace(path, pack_json(path, account.model_dump(mode="json")))


class Meter:
    """Counts the hours of the processes that train, while they train.

    Args:
        before: Hours of earlier runs.
        request: Returns the cores and GPUs of a process by its share of a machine.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        before: Hours = Hours(),
        request: Callable[[int], tuple[float, float]] = lambda share: (share, 0.0),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request, self._clock = request, clock
        self._running: dict[str, tuple[float, float]] = {}
        self._spent, self._counted_until = before, clock()
        # Hours an hour. Kept, as the driver reads the meter many times for each result.
        self._rate = Hours()
        self._lock = threading.Lock()  # read in the thread of the limits, too

    def begin(self, process: str, share: int) -> None:
        """Start to count a process."""
        with self._lock:
            self._count()
            self._running[process] = self._request(share)
            self._set_rate()

    def end(self, process: str) -> None:
        """Stop to count a process; no-op if it is not counted."""
        with self._lock:
            self._count()
            self._running.pop(process, None)
            self._set_rate()

    def end_all(self) -> None:
        """Stop to count every process."""
        with self._lock:
            self._count()
            self._running.clear()
            self._set_rate()

    def read(self) -> Hours:
        """Return the hours until now, those of earlier runs among them."""
        with self._lock:
            self._count()
            return self._spent

    def _count(self) -> None:
        now = self._clock()
        hours = (now - self._counted_until) / 3600
        self._spent += Hours(self._rate.core * hours, self._rate.gpu * hours)
        self._counted_until = now

    def _set_rate(self) -> None:
        """Sum the parts anew: what was added and subtracted again need not be 0."""
        parts = self._running.values()
        self._rate = Hours(math.fsum(core for core, _ in parts), math.fsum(gpu for _, gpu in parts))


def hours_in_store(trials: Iterable[TrialFolder], since: str, gpus: float) -> Hours:
    """Derive the hours of trials from their logs of starts and epochs.

    Trials that one process trained side by side count once. Time after the last epoch of a process
    that was killed is in no log. The evaluation of a finished trial counts.

    Args:
        trials: The trials.
        since: Hours before this time, ISO 8601, do not count; empty to count all.
        gpus: GPUs of a process.
    """
    first = datetime.fromisoformat(since).timestamp() if since else 0.0
    spans: dict[tuple[str, object], list[Span]] = {}
    threads: dict[tuple[str, object], int] = {}
    for folder in trials:
        with contextlib.suppress(DamagedFileError):  # the plan names it
            provenance = folder.read_provenance()
            for process, span in _spans(folder):
                spans.setdefault(process, []).append((max(first, span[0]), span[1]))
                threads[process] = provenance.threads if provenance else 1
    hours = Hours()
    for process, parts in spans.items():
        length = union_length(parts) / 3600
        hours += Hours(length * threads[process], length * gpus)
    return hours


def union_length(spans: Iterable[Span]) -> float:
    """Return the length of the union of spans; an empty or reversed span counts as nothing."""
    length, end = 0.0, float("-inf")
    for low, high in sorted(spans):
        length += max(0.0, high - max(low, end))
        end = max(end, high)
    return length


def _spans(folder: TrialFolder) -> Iterator[tuple[tuple[str, object], Span]]:
    """Yield the process and the time of each start of a trial, and of each epoch."""
    timings, starts, status = folder.read_timings(), folder.read_starts(), folder.read_status()
    processes = [(start.host, start.pid) if start.at else ("", folder.path) for start in starts]
    for index, start in enumerate(starts):
        is_last = index + 1 == len(starts)
        # A damaged checkpoint makes a later start repeat epochs, whose lines replace the first.
        until = min((later.epoch for later in starts[index + 1 :]), default=float("inf"))
        ends = [one.finished_at for one in timings if start.epoch < one.epoch <= until]
        if is_last and status and status.state == State.FINISHED:
            ends.append(datetime.fromisoformat(status.updated).timestamp())
        if start.at and ends:
            began = datetime.fromisoformat(start.at).timestamp()
            yield processes[index], (began, max(ends))
    for timing in timings:
        before = [index for index, start in enumerate(starts) if start.epoch < timing.epoch]
        process = processes[before[-1]] if before else ("", folder.path)
        yield process, (timing.finished_at - timing.seconds, timing.finished_at)


def used_up(spec: SweepSpec, spent: Hours) -> Unit | None:
    """Return the unit of the budget that is used up; None if none is."""
    limits = spec.budget.limits() if spec.budget else {}
    return next((unit for unit, limit in limits.items() if spent.of(unit) >= limit), None)


def too_many_failed(spec: SweepSpec, failed: Collection[str]) -> bool:
    """Check whether a run must stop, as more of its trials have failed than it allows."""
    most = 0 if spec.fail_fast else spec.max_failures
    return most is not None and len(failed) > most


def describe_budget(spec: SweepSpec, unit: Unit, finished: int, trials: int) -> str:
    """Describe a budget that is used up."""
    limit = spec.budget.limits()[unit] if spec.budget else 0.0
    label = unit_label(unit)
    return f"budget of {limit:g} {label} used up: {finished} of {trials} trials finished"


def describe_failures(spec: SweepSpec, failed: Collection[str]) -> str:
    """Describe a run that stopped at failed trials, with their names."""
    names = list(failed)
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    shown = f"{', '.join(names[:_MOST_NAMES])}{more}"
    if spec.fail_fast:
        return f"stopped at the first failed trial (fail_fast): {shown}"
    return f"stopped after {len(names)} failed trials (max_failures: {spec.max_failures}): {shown}"


def with_more_budget(command: str, spec: SweepSpec, spent: Hours) -> str:
    """Return a command that continues a sweep whose budget is used up, with half as much more."""
    unit = used_up(spec, spent)
    if unit is None or spec.budget is None:
        return command
    words = [word for word in shlex.split(command) if not word.startswith(f"budget.{unit}=")]
    more = _MORE * spec.budget.limits()[unit]
    if more <= 1.01 * spent.of(unit):  # a budget that was lowered below what was spent
        more = _MORE * spent.of(unit)
    return shlex.join([*words, f"budget.{unit}={more:.3g}"])


def describe_stopped(account: AccountRecord, spec: SweepSpec, command: str) -> str:
    """Describe why the last run stopped early, and how to continue; empty if it did not."""
    if account.stopped == "budget":
        command = with_more_budget(command, spec, account.spent)
        return f"{account.reason}; to continue: {command}"
    return f"{account.reason}; to train the others: {command}" if account.stopped else ""


def describe_end(account: AccountRecord, spec: SweepSpec, *, complete: bool) -> Ending:
    """Describe why the last run stopped early, and the hours.

    Args:
        account: The sweep's account.
        spec: Its declaration.
        complete: Whether nothing is left to do.
    """
    reason = "" if complete else account.reason
    return Ending(reason, "" if account.running else account.describe(spec))


def check_budget(plan: Plan, past: PastTrials) -> str:
    """Refuse a budget that is smaller than the cheapest trial that is left.

    Returns:
        A warning if no past trial shows the price of one; empty otherwise.

    Raises:
        ConfigError: Names the field, its value and the hours of a trial.
    """
    budget, missing = plan.sweep.spec.budget, plan.missing()
    if budget is None or not missing:
        return ""
    works = [past.work(trial.config) for trial in missing]
    known = [work for work in works if work is not None and work.basis != "flops"]
    if len(known) < len(works):
        return "budget: no past trial shows whether it is enough for one trial of each kind"
    hours = min(work.seconds for work in known) / 3600
    one = Hours(hours * past.threads, hours * past.gpus)
    problems = [
        Problem(
            f"budget.{unit}",
            limit,
            f"allowed: at least {one.of(unit):.2g}, which the cheapest trial left takes by the "
            "times of past trials",
        )
        for unit, limit in budget.limits().items()
        if limit < one.of(unit)
    ]
    if problems:
        raise ConfigError(plan.sweep.source, problems)
    return ""


def planned_hours(price: Price) -> Hours | None:
    """Return the hours of a price; None without an estimate."""
    if price.core_hours is None or price.gpu_hours is None or not price.trials:
        return None
    return Hours(price.core_hours, price.gpu_hours)
