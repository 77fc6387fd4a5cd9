"""Run sweeps with the real driver, search, scheduler and store, without Ray and without training.

What Ray Tune does between them is played, in a fixed order of its own: two
trials at a time, an epoch each in turn. A trial's numbers are a function of its configuration.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from care.config import TrialConfig
from care.system.claim import Claim
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import ErrorRecord, ProvenanceRecord, TimingRecord
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.cli.sweep import check_question, prepare
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.event_log import created
from sweeps.holds import HoldWatch
from sweeps.plan import make_plan
from sweeps.process.signals import Interrupt
from sweeps.progress import Board
from sweeps.resources import Resources
from sweeps.run import RunOptions, SweepResult
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, final_value
from sweeps.tune.driver import Driver
from sweeps.tune.held_trials import HeldTrials
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialResult, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.replay import Replay
from sweeps.tune.retry import RetryPolicy
from tests.helpers import messages

METRICS = ("heldout/gamma", "train/loss")


def numbers(config: TrialConfig, epoch: int) -> dict[str, float]:
    """Curves that fall, and cross each other; the two metrics disagree about the best trial."""
    digest = hashlib.sha256(trial_id(config).encode()).digest()
    starts = dict(zip(METRICS, (digest[0] / 256, digest[1] / 256), strict=True))
    return {name: start + 1 / epoch for name, start in starts.items()}


class Pool:
    """Two places on no machine."""

    resources = Resources(cores=2, threads=1, gpus=0.0, machine_gpus=0)
    concurrency, slots = 2, 2

    @contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Start nothing."""
        yield log.parent

    def hold(self, claim: Claim) -> None:
        """No-op: it writes no file."""

    def end(self, *, interrupted: bool) -> None:
        """No-op: no machine waits."""

    def pause_trials(self) -> None:
        """No-op: nothing runs between two calls."""

    def wants(self, trials: int) -> None:
        """No-op: two places are there."""


class World:
    """What happens to trials.

    Attributes:
        taken: Identities of the trials that were handed out, in order.
        trained: Those of which an epoch was trained.
        broken: Whether a configuration's training fails in its second epoch.
    """

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.trained: list[str] = []
        self.broken: Callable[[TrialConfig], bool] = lambda _: False

    def train(self, task: TrialTask) -> Iterator[TrialResult]:
        """Resume a trial as its process does, and yield its results to the end."""
        folder, config = TrialFolder(task.folder), task.config
        claim = Claim.take(folder.path)
        assert claim, "no other process claims it"
        self.taken.append(task.trial_id)
        with claim:
            folder.create(config)
            about = TrialResult(task.trial_id, Outcome.RUNNING, created(folder))
            before = folder.read_metrics()
            status = folder.read_status()
            assert status is None or not status.finished, "trained again"
            if task.replay:
                yield from (replace(about, metrics=line) for line in before)
            folder.write_provenance(ProvenanceRecord(code_version=Versions().code, threads=1))
            for epoch in range(len(before) + 1, config.training.epochs + 1):
                if epoch == 2 and self.broken(config):
                    folder.write_status(State.FAILED, 1, config.training.epochs, ERROR)
                    yield replace(about, outcome=Outcome.FAILED, error="broke")
                    return
                self._train_one(folder, config, epoch)
                line = folder.read_metrics()[-1]
                if epoch < config.training.epochs:
                    yield replace(about, metrics=line)
            folder.write_details({"notes": np.array([], np.str_)})
            folder.write_evaluation({"encoder/probe_accuracy": 0.5})
            folder.write_status(State.FINISHED, config.training.epochs, config.training.epochs)
            line = folder.read_metrics()[-1]
            yield replace(about, outcome=Outcome.FINISHED, metrics=line)

    def _train_one(self, folder: TrialFolder, config: TrialConfig, epoch: int) -> None:
        if trial_id(config) not in self.trained:
            self.trained.append(trial_id(config))
        line = {"epoch": epoch, **numbers(config, epoch)}
        timing = TimingRecord(
            epoch=epoch, seconds=1.0, images_per_second=9.0, finished_at=1e9 + epoch
        )
        folder.append_epoch(line, timing)
        folder.write_status(State.PAUSED, epoch, config.training.epochs)


ERROR = ErrorRecord(kind="error", message="broke")


class PlayedLaunch:
    """Stands for :class:`sweeps.tune.experiment.Launch`, in one process."""

    world: World

    def __init__(
        self,
        sweep: Sweep,
        replay: Replay,
        pool: Pool,
        board: Board,
        scratch: Path,
        *,
        holds: Path,
        **_: Any,
    ) -> None:
        self._queue = TaskQueue(RetryPolicy(0, 1))
        HeldTrials(HoldWatch(holds), board, self._queue, lambda _: None)
        self._replay, self._board, self._metric = replay, board, sweep.spec.metric.name
        self.lost: dict[str, ErrorRecord] = {}

    def run(self, tasks: list[TrialTask]) -> None:
        """Return when the search has no more."""
        for task in tasks:
            self._queue.put(task)
        self._search, self._scheduler = self._replay.search(self._queue), self._replay.scheduler
        names = map(str, itertools.count())
        flying: list[tuple[Any, Iterator[TrialResult]]] = []
        while True:
            while len(flying) < Pool.slots and isinstance(
                config := self._search.suggest(name := next(names)), dict
            ):
                trial = SimpleNamespace(config=config, trial_id=name)
                if self._scheduler:
                    self._scheduler.on_trial_add(None, trial)
                (task,) = PackTask.from_config(config).trials
                flying.append((trial, self.world.train(task)))
            if not flying:
                assert self._search.suggest(next(names)) == Searcher.FINISHED
                return
            flying = [entry for entry in flying if self._step(*entry)]

    def _step(self, trial: Any, process: Iterator[TrialResult]) -> bool:
        """Pass one result on as Tune's controller does; return whether the trial continues."""
        progress = next(process)
        result = PackResult((progress,), progress.done).to_result()
        decision = "CONTINUE"
        if self._scheduler and not progress.done:
            decision = self._scheduler.on_trial_result(None, trial, result)
        if state := progress.outcome.state:
            self._board.report(progress.trial_id, state, progress.metrics, progress.error)
        if not progress.done and decision != TrialScheduler.STOP:
            return True
        process.close()  # type: ignore[attr-defined]
        if self._scheduler:
            self._scheduler.on_trial_complete(None, trial, result)
        self._search.on_trial_complete(trial.trial_id, result)
        self._board.complete(progress.trial_id)
        return False


def play(
    world: World,
    sweep: Sweep,
    store: Store,
    patch: pytest.MonkeyPatch,
    options: RunOptions | None = None,
) -> SweepResult:
    """Run ``sweep`` as ``care sweep run`` does, and check what that says against the store.

    Args:
        world: What happens to trials.
        sweep: The sweep.
        store: Where its trials are.
        patch: Puts the played launch in the place of Ray Tune's.
        options: How it is run.
    """
    patch.setattr(PlayedLaunch, "world", world, raising=False)
    patch.setattr("sweeps.tune.experiment.Launch", PlayedLaunch)
    patch.setattr("os.fsync", lambda _: None)  # no power cut here, but thousands of files
    world.taken.clear()
    world.trained.clear()
    chosen = options or RunOptions()
    plan = make_plan(sweep, store)
    check_question(plan, "care sweep run sweep.yaml", chosen)
    plan = prepare(SweepArguments(Path(sweep.source)), plan, store, chosen, Console(quiet=True))
    board = Board(sweep.spec.metric, plan.wanted)
    metric = sweep.spec.metric.name
    board.plan(plan, lambda identity: final_value(store.trial(identity), metric))
    claim = Claim.take(store.sweep(sweep.spec.name).path)
    assert claim
    driver = Driver(sweep, store, claim, Pool(), board, lambda _: None)
    with claim, Interrupt() as interrupt:
        driver.run(interrupt)
    final = make_plan(sweep, store)
    assert board.counts() == final.counts()
    assert not final.missing(), "what was to be trained was not"
    assert final.unsuggested == 0
    planned = {trial.trial_id for trial in plan.missing()}
    new = planned | (set(final.unique()) - set(plan.unique()))
    stopped = set()
    if sweep.spec.scheduler.by_seed:  # further seeds of a point that is worse
        stopped = {trial.trial_id for trial in final.trials if trial.state == State.STOPPED}
    assert planned - stopped <= set(world.taken) <= new - stopped, "the plan said something else"
    assert len(set(world.taken)) == len(world.taken), "a trial was handed out twice"
    return SweepResult(final, None, {}, board.without_value())


def decided(sweep: Sweep, store: Store) -> tuple[list[Any], list[Any]]:
    """Optuna's study and ASHA's rungs as the next launch would rebuild them."""
    plan = make_plan(sweep, store)
    board = Board(sweep.spec.metric, plan.wanted)
    folder = store.sweep(sweep.spec.name)
    replay = Replay(plan, store, folder, board, lambda config, _: messages.task(trial_id(config)))
    search = replay.search(TaskQueue(RetryPolicy(0, 1)))
    study = [
        (trial.params, trial.state.name, trial.value)
        for trial in (search.study.trials if sweep.spec.search.name == "optuna" else ())
    ]
    return study, replay.scheduler.rungs() if replay.scheduler else []
