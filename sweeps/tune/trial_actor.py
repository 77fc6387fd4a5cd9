"""What a process that trains does: trials of the store, epoch by epoch, one task after another.

Whatever process gets a trial opens its folder, finds what is there and goes on from it; so it does
not matter which process, launch or machine ran it before.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from care.data.shared_batches import LARGEST_PACK, SharedBatches
from care.training.pack import Pack
from care.training.pack_size import best_size, most_in_memory, next_size
from care.training.trial_run import TrialRun
from care.trials.failure import classify
from sweeps.event_log import read_decisions
from sweeps.process.wall_time import Stopwatch
from sweeps.store import SweepFolder
from sweeps.tune.claimed_trial import Member
from sweeps.tune.messages import members_of
from sweeps.tune.node import Node

_STOP_POLL_SECONDS = 0.25
_PAUSING_SECONDS = 0.5
_OF_THE_PROCESS = ("out_of_memory", "lost")


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


class TrialProcess:
    """One task at a time: a trial, or a pack of trials.

    Args:
        config: The first task (:mod:`sweeps.tune.messages`), of
            :class:`sweeps.tune.claimed_trial.Member`; in a pack each has ``events``, the folder of
            the sweep whose scheduler may stop members, or None.
    """

    _members: list[Member]
    _told: list[dict[str, Any]]
    _evaluated: float
    _most: int

    def __init__(self, config: dict[str, Any]) -> None:
        self._take(config)

    def next_task(self, config: dict[str, Any]) -> None:
        """Let go of the task that ended and take the next one."""
        self.close()
        self._take(config)

    def close(self) -> None:
        """Let go of the task."""
        for member in self._members:
            member.close()

    def step(self) -> dict[str, Any]:
        """One epoch of each trial, or a line about one that is done.

        Returns:
            A result as :class:`sweeps.tune.trainable.CareTrainable` describes it.
        """
        watch = Stopwatch()
        told = self._open() if self._pack is None else []
        watch.lap("start of trials")
        told += self._stopped_by_the_scheduler()
        told += self._replayed() or self._advanced()
        watch.lap("training")
        watch.move("evaluation", self._evaluation_seconds(), out_of="training")
        return {**self._result(told), "spent": watch.seconds}

    def _evaluation_seconds(self) -> float:
        """Of the trials that this step evaluated."""
        before, self._evaluated = self._evaluated, 0.0
        return before

    def _result(self, told: list[dict[str, Any]]) -> dict[str, Any]:
        if not self._packed:
            return told[0]
        if not self._going:
            told += self._give_back()
        told = [*self._told, *told]
        self._told = []
        done = not self._going
        result = {"members": told, "done": done, "outcome": "ended" if done else "running"}
        return {**result, "pack": self._size} if self._size else result

    def _take(self, config: dict[str, Any]) -> None:
        tasks = members_of(config)
        self._node = Node.of_this_process()
        self._stop = StopFlag(self._node)
        self._packed = "members" in config
        self._events = tasks[0].get("events")
        self._members = [Member(task, self._node) for task in tasks]
        self._neighbors = config.get("neighbors")  # with whom a pack of any size shares the machine
        self._waiting: list[Member] = []
        self._going: list[Member] = []
        self._told = []
        self._evaluated = 0.0
        self._size: int | None = None
        self._paces: dict[int, float] = {}
        self._pack: Pack | None = None

    def _open(self) -> list[dict[str, Any]]:
        """Open the members, or the first of a pack whose size is not known yet.

        Returns:
            Results about those that are not to be trained.
        """
        self._shared = SharedBatches()
        self._waiting = list(self._members)
        size_is_known = self._neighbors is None
        told = self._open_next(len(self._waiting) if size_is_known else 1)
        self._pack = Pack(
            [member.run for member in self._going], None if size_is_known else self._grow
        )
        if not self._going and self._stop():
            # Until its Ray has ended, a node that pauses is offered one trial after another.
            time.sleep(_PAUSING_SECONDS)
        return told

    def _open_next(self, count: int) -> list[dict[str, Any]]:
        """Open waiting members until ``count`` are to be trained; results about the others."""
        told = []
        while self._waiting and len(self._going) < count:
            member = self._waiting.pop(0)
            try:
                problem = self._open_one(member, self._shared)
            except Exception as error:  # noqa: BLE001 - told, as any error of a trial
                told.append(self._ended(member, error))
                continue
            if problem:
                told.append(member.tell(problem))
            else:
                self._going.append(member)
        return told

    def _grow(self, seconds: float) -> list[TrialRun]:
        """The members that join those that train, whose last steps took ``seconds``.

        When there are enough, the rest is given back, with the size that was found.
        """
        if self._size is not None:
            return []
        before = list(self._going)
        wanted = self._wanted(seconds)
        if wanted > len(before):
            self._told += self._open_next(wanted)
        joined = [member.run for member in self._going if member not in before]
        if not (joined and self._paces):
            self._size = wanted
            self._told += self._give_back()
        return joined

    def _wanted(self, seconds: float) -> int:
        """How many trials the pack is to have, as far as that is known by now."""
        if not self._paces:
            self._most = min(LARGEST_PACK, len(self._members))
        training = [member.run for member in self._going if not member.run.finished]
        if not training:
            return self._most
        trainer = training[0].trainer
        if not self._paces:
            self._most = min(self._most, most_in_memory(trainer, self._neighbors or 1))
        if trainer.device.type == "cuda":
            self._paces[len(training)] = seconds
            return next_size(self._paces, self._most)
        return best_size(seconds, self._shared.seconds, self._most)

    def _give_back(self) -> list[dict[str, Any]]:
        """Results about members that were not opened."""
        waiting, self._waiting = self._waiting, []
        return [member.tell("unpacked") for member in waiting]

    def _open_one(self, member: Member, shared: SharedBatches) -> str | None:
        if self._stop():
            return "paused"
        if member.open(shared):
            return None
        return "paused" if self._stop() else "busy"

    def _stopped_by_the_scheduler(self) -> list[dict[str, Any]]:
        if not self._packed or not self._events:
            return []
        stopped = read_decisions(SweepFolder(Path(self._events))).stopped()
        told = []
        for member in [member for member in self._going if member.is_stopped(stopped)]:
            self._drop(member)
            told.append(member.tell("stopped"))
        return told

    def _replayed(self) -> list[dict[str, Any]]:
        """What the scheduler has to hear again, an epoch of each member."""
        return [
            member.tell("running", member.replayed.pop(0))
            for member in self._going
            if member.replayed
        ]

    def _advanced(self) -> list[dict[str, Any]]:
        """An epoch of those that are least far, and a line about each that was finished before."""
        if self._pack is None:
            return []
        before = [member for member in self._going if member.run.finished]
        told = [self._finished(member) for member in before]
        outcomes = self._pack.advance(self._stop)
        by_place = {self._pack.members.index(member.run): member for member in self._going}
        for place, outcome in outcomes.items():
            member = by_place[place]
            if isinstance(outcome, Exception):
                told.append(self._ended(member, outcome))
            elif outcome is None:
                self._drop(member)
                told.append(member.tell("paused"))
            elif member.run.finished:
                self._drop(member)
                told.append(member.tell("finished", outcome))
            else:
                told.append(member.tell("running", outcome))
        return told

    def _finished(self, member: Member) -> dict[str, Any]:
        """A line about a trial that was finished before."""
        try:
            line = member.finished_line()
        except Exception as error:  # noqa: BLE001 - told, as any error of a trial
            return self._ended(member, error)
        self._drop(member)
        return member.tell("finished", line)

    def _ended(self, member: Member, error: Exception) -> dict[str, Any]:
        """A result about a member that an error ended; raises it where the process has to end."""
        # What a process reads while another one writes may look damaged.
        kind = "superseded" if member.superseded else classify(error)
        if kind == "out_of_memory" and self._packed:
            self._forget(member)
            member.put_back()
            return member.tell("crowded")
        self._drop(member)
        if kind == "superseded":
            return member.tell("busy")
        if kind in _OF_THE_PROCESS:
            raise error
        outcome = "disk" if kind == "disk" else "failed"
        return member.tell(outcome, {"error": f"{kind}: {error}"})

    def _drop(self, member: Member) -> None:
        self._forget(member)
        member.close()

    def _forget(self, member: Member) -> None:
        """Train it no more."""
        if member in self._going:
            self._evaluated += member.run.evaluation_seconds
            self._going.remove(member)
            if self._pack is not None:
                self._pack.drop(self._pack.members.index(member.run))
