"""Points of a sweep that a user holds: their trials are not trained until they are released.

``holds.json`` of the sweep is the only message: commands write it, and the driver and the processes
that train read it again every second, on whatever node they run. So a hold outlives all of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from care.errors import CareError
from care.system.files import DamagedFileError, write_json
from care.trials.folder import now
from care.trials.records import Moment, Record, read_record
from sweeps.process.lock import locked

HOLDS = "holds.json"
_LOOK_SECONDS = 1.0
_ADVICE = "Delete it to release every trial, then hold them again"


class HoldRecord(Record):
    """A point, or some of its seeds, that a user holds.

    Attributes:
        group_id: Identity of the point's trials, without the seed.
        point: Label of the point.
        seeds: The held seeds; None for all, also those that are added later.
        user: Name of the user.
        at: Time of the wish.
    """

    group_id: str
    point: str
    seeds: list[int] | None
    user: str
    at: Moment

    @property
    def wish(self) -> str:
        """By whose wish, and since when: ``by ada since 2026-11-28 05:51``."""
        return f"by {self.user} since {self.at[:16].replace('T', ' ')}"


class HoldsRecord(Record):
    """``holds.json`` of a sweep: one entry a point."""

    holds: list[HoldRecord]


@dataclass(frozen=True)
class Holds:
    """The held points of a sweep at one moment.

    Attributes:
        by_group: The holds by identity of the point.
    """

    by_group: dict[str, HoldRecord]

    def of(self, group_id: str, seed: int) -> HoldRecord | None:
        """Return the hold of a trial; None for one that is not held."""
        hold = self.by_group.get(group_id)
        return hold if hold and (hold.seeds is None or seed in hold.seeds) else None


def read_holds(sweep: Path) -> Holds:
    """Read the held points of a sweep.

    Args:
        sweep: The sweep's folder.

    Raises:
        DamagedFileError: The file cannot be read.
    """
    try:
        record = read_record(sweep / HOLDS, HoldsRecord)
    except DamagedFileError as error:
        if isinstance(error.__cause__, NotADirectoryError):
            return Holds({})  # no folder, no holds; what writes to the folder names the problem
        raise error if error.denied else error.with_advice(_ADVICE) from error
    return Holds({hold.group_id: hold for hold in record.holds} if record else {})


@dataclass(frozen=True)
class Wish:
    """A point with the seeds to hold or to release.

    Attributes:
        group_id: Identity of the point's trials, without the seed.
        point: Label of the point.
        seeds: Its seeds; None for all.
    """

    group_id: str
    point: str
    seeds: frozenset[int] | None


def hold(sweep: Path, wishes: Iterable[Wish], user: str) -> None:
    """Hold points until they are released; what is held already keeps its user and time."""

    def change(holds: dict[str, HoldRecord]) -> None:
        for wish in wishes:
            before = holds.get(wish.group_id)
            seeds = None if wish.seeds is None else sorted(wish.seeds)
            if before and (before.seeds is None or _within(wish.seeds, before.seeds)):
                continue
            if before and before.seeds is not None and seeds is not None:
                seeds = sorted({*before.seeds, *seeds})
            holds[wish.group_id] = HoldRecord(
                group_id=wish.group_id, point=wish.point, seeds=seeds, user=user, at=now()
            )

    _change(sweep, change)


def _within(few: frozenset[int] | None, many: list[int]) -> bool:
    return few is not None and few <= set(many)


def release(sweep: Path, wishes: Iterable[Wish], all_seeds: Iterable[int]) -> None:
    """Release points, or some of their seeds.

    Args:
        sweep: The sweep's folder.
        wishes: The points.
        all_seeds: The sweep's seeds: those that stay held if all of a point were.
    """
    seeds = set(all_seeds)

    def change(holds: dict[str, HoldRecord]) -> None:
        for wish in wishes:
            before = holds.pop(wish.group_id, None)
            if before is None or wish.seeds is None:
                continue
            left = sorted((seeds if before.seeds is None else set(before.seeds)) - wish.seeds)
            if left:
                holds[wish.group_id] = before.model_copy(update={"seeds": left})

    _change(sweep, change)


def release_all(sweep: Path) -> None:
    """Release every trial."""
    _change(sweep, dict.clear)


def _change(sweep: Path, change: Callable[[dict[str, HoldRecord]], None]) -> None:
    """Change the file as a whole; two commands at one time wait for each other."""
    with locked(sweep / "holds.lock"):
        holds = dict(read_holds(sweep).by_group)
        change(holds)
        record = HoldsRecord(holds=list(holds.values()))
        write_json(sweep / HOLDS, record.model_dump(mode="json"), in_store=True)


class HoldWatch:
    """Reads the held points of a sweep again once a second.

    Args:
        sweep: The sweep's folder; None holds nothing.
    """

    def __init__(self, sweep: Path | None) -> None:
        self._sweep = sweep
        self._next_look = 0.0
        self._holds = Holds({})

    def look(self) -> bool:
        """Read the file if that is due, and return whether it has changed.

        A file that cannot be read at the moment leaves the last holds; the next plan names it.
        """
        if self._sweep is None or time.monotonic() < self._next_look:
            return False
        before = self._holds
        with contextlib.suppress(CareError):
            # Opening a file asks its server; a look at its time would be answered from a cache.
            self._holds = read_holds(self._sweep)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        return self._holds != before

    @property
    def empty(self) -> bool:
        """Whether nothing was held at the last look."""
        return not self._holds.by_group

    def of(self, group_id: str, seed: int) -> HoldRecord | None:
        """Return the hold of a trial as of the last look."""
        return self._holds.of(group_id, seed)
