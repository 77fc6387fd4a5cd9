"""A scheduler rebuilt from its log decides as the one that was never interrupted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from care.system.rng import generator
from sweeps.event_log import RungEntry
from sweeps.spec.search import MetricConfig, SchedulerConfig
from sweeps.store import SweepFolder
from sweeps.tune.messages import Outcome
from sweeps.tune.scheduler import ReplayableScheduler, build_scheduler
from tests.helpers import messages

METRIC = "heldout/gamma"
EPOCHS = 9
NAMES = [f"trial-{number}" for number in range(12)]
_IDS = itertools.count()
SETTINGS = {"metric": METRIC, "mode": "min", "grace_period": 1, "reduction_factor": 3}
GAMMA = MetricConfig(name=METRIC, mode="min")
RULES = {
    "asha": SchedulerConfig(name="asha", reduction_factor=3),
    "hyperband": SchedulerConfig(name="hyperband", reduction_factor=2),
    "median": SchedulerConfig(name="median", grace_epochs=2),
    "median, every 2": SchedulerConfig(name="median", every=2, least_trials=5),
}


def value(name: str, epoch: int) -> float:
    """A curve that falls, from a start of the trial's own."""
    return float(generator(NAMES.index(name), "curve").random()) + 1 / epoch


def order(turn: int) -> list[str]:
    """Whose epoch ends when: another order every turn, so that trials overtake each other."""
    return [NAMES[index] for index in generator(1, "turn", turn).permutation(len(NAMES))]


def tune_trial(name: str) -> Any:
    """Make a trial under an id of Tune's, which the next launch does not know."""
    return messages.tune_trial(name, key=f"tune-{next(_IDS)}")


class Launches:
    """Plays one sweep, of which any number of launches may end anywhere."""

    def __init__(self, path: Path, rule: str) -> None:
        path.mkdir()
        self.folder, self.rule = SweepFolder(path), rule
        self.epoch = dict.fromkeys(NAMES, 0)
        self.ended: set[str] = set()

    def run(self) -> Iterator[ReplayableScheduler]:
        """One launch; may be left after any result."""
        scheduler = scheduler_of(self.folder, self.rule)
        trials = {name: tune_trial(name) for name in NAMES if name not in self.ended}
        for name, trial in trials.items():
            scheduler.on_trial_add(None, trial)
            for epoch in range(1, self.epoch[name] + 1):
                action = self._report(scheduler, trial, name, epoch)
                assert action == TrialScheduler.CONTINUE, "an epoch judged before is judged again"
        for turn in itertools.count():
            left = [name for name in order(turn) if name not in self.ended]
            if not left:
                return
            for name in left:
                if self.epoch[name] > turn:  # done in an earlier launch
                    continue
                self.epoch[name] += 1
                action = self._report(scheduler, trials[name], name, self.epoch[name])
                if action == TrialScheduler.STOP or self.epoch[name] == EPOCHS:
                    self.ended.add(name)
                yield scheduler

    def _report(self, scheduler: ReplayableScheduler, trial: Any, name: str, epoch: int) -> str:
        result = messages.epoch(name, {"epoch": epoch, METRIC: value(name, epoch)})
        if epoch == EPOCHS:
            scheduler.on_trial_complete(None, trial, result)
            return "CONTINUE"
        action: str = scheduler.on_trial_result(None, trial, result)
        return action


def entry_of(event: dict[str, Any]) -> RungEntry:
    return RungEntry(**{name: found for name, found in event.items() if name != "event"})


def scheduler_of(folder: SweepFolder, rule: str = "asha") -> ReplayableScheduler:
    scheduler = build_scheduler(
        RULES[rule], GAMMA, EPOCHS, lambda entry: folder.log(entry.record())
    )
    assert scheduler
    scheduler.replay(map(entry_of, folder.events()))
    return scheduler


Played = tuple[list[dict[str, Any]], Any]


def play(path: Path, rule: str, lengths: Iterator[int]) -> Played:
    """Launch again and again, each time for some results; the log and the last rungs."""
    launches = Launches(path, rule)
    while len(launches.ended) < len(NAMES):
        for _ in itertools.islice(launches.run(), next(lengths)):
            pass
    return launches.folder.events(), scheduler_of(launches.folder, rule).rungs()


@pytest.fixture(scope="module", params=RULES)
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(rule: str, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("undisturbed") / "log", rule, itertools.repeat(10**6))


def test_the_play_has_winners_and_losers(rule: str, undisturbed: Played) -> None:
    events, rungs = undisturbed
    stopped = {event["trial_id"] for event in events if event["stopped"]}
    assert 0 < len(stopped) < len(NAMES)
    first = {
        "asha": [9, 3, 1],
        "hyperband": [8, 4, 2, 1, 8, 4, 2, 8, 4, 8],
        "median": [8, 7, 6, 5, 4, 3, 2],
        "median, every 2": [7, 5, 3, 1],
    }
    assert [milestone for milestone, _ in rungs] == first[rule]
    if rule != "hyperband":
        assert len(rungs[-1][1]) == len(NAMES)
    else:
        firsts = [values for (_, values), (after, _) in itertools.pairwise(rungs) if after == 8]
        assert sum(map(len, firsts)) + len(rungs[-1][1]) == len(NAMES)
        assert len([values for values in firsts if values]) >= 2, "the brackets share the trials"


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 11, 13, 17, 23])
def test_interrupted_again_and_again(
    rule: str, undisturbed: Played, tmp_path: Path, length: int
) -> None:
    assert play(tmp_path / "log", rule, itertools.repeat(length)) == undisturbed


@dataclass(frozen=True)
class Named:
    """What Ray Tune's median rule needs of a trial."""

    trial_id: str


def test_the_median_rule_is_ray_tunes_own(tmp_path: Path) -> None:
    ours = Launches(tmp_path / "log", "median")
    for _ in ours.run():
        pass
    theirs = MedianStoppingRule(
        time_attr="epoch", metric=METRIC, mode="min", grace_period=2, min_samples_required=3
    )
    controller = SimpleNamespace(get_live_trials=list)
    trials = {name: Named(name) for name in NAMES}
    for trial in trials.values():
        theirs.on_trial_add(controller, trial)
    stopped: set[str] = set()
    for turn in range(EPOCHS - 1):
        for name in (name for name in order(turn) if name not in stopped):
            # Before the grace ends a value is in no mean, but in Ray Tune's best one.
            if turn == 0:
                continue
            result = {"epoch": turn + 1, METRIC: value(name, turn + 1)}
            if theirs.on_trial_result(controller, trials[name], result) == TrialScheduler.STOP:
                stopped.add(name)
    assert {event["trial_id"] for event in ours.folder.events() if event["stopped"]} == stopped


def test_asha_is_ray_tunes_own(tmp_path: Path) -> None:
    """Undisturbed, it is nothing but Ray Tune's ASHA."""
    ours = Launches(tmp_path / "log", "asha")
    for _ in ours.run():
        pass
    theirs = ASHAScheduler(time_attr="epoch", max_t=EPOCHS, stop_last_trials=False, **SETTINGS)
    trials = {name: tune_trial(name) for name in NAMES}
    for trial in trials.values():
        theirs.on_trial_add(None, trial)
    stopped: set[str] = set()
    for turn in range(EPOCHS - 1):
        for name in (name for name in order(turn) if name not in stopped):
            result = {"epoch": turn + 1, METRIC: value(name, turn + 1)}
            if theirs.on_trial_result(None, trials[name], result) == TrialScheduler.STOP:
                stopped.add(name)
    assert {event["trial_id"] for event in ours.folder.events() if event["stopped"]} == stopped


def test_a_decision_is_logged_before_it_takes_effect() -> None:
    """Whoever dies between the two stops the trial after all, when it comes back."""
    lines: list[RungEntry] = []

    def full(line: RungEntry) -> None:
        lines.append(line)
        raise OSError("no space left")

    scheduler = build_scheduler(RULES["asha"], GAMMA, EPOCHS, full)
    assert scheduler
    trial = tune_trial("a")
    scheduler.on_trial_add(None, trial)
    with pytest.raises(OSError, match="no space"):
        scheduler.on_trial_result(None, trial, messages.epoch("a", {"epoch": 1, METRIC: 0.5}))
    assert lines == [RungEntry("a", 1, 0.5, stopped=False)]


def test_a_trial_that_failed_keeps_its_rungs(tmp_path: Path) -> None:
    """Later ones are measured against what it reached."""
    (tmp_path / "log").mkdir()
    scheduler = scheduler_of(SweepFolder(tmp_path / "log"))
    trial = tune_trial("a")
    scheduler.on_trial_add(None, trial)
    scheduler.on_trial_result(None, trial, messages.epoch("a", {"epoch": 1, METRIC: 0.5}))
    scheduler.on_trial_remove(None, trial)
    assert dict(scheduler.rungs())[1] == {"a": -0.5}


def two_at_the_first_rung(folder: SweepFolder) -> ReplayableScheduler:
    """``a`` went on, ``b`` was worse and was stopped."""
    scheduler = scheduler_of(folder)
    for name, gamma in (("a", 0.1), ("b", 0.9)):
        trial = tune_trial(name)
        scheduler.on_trial_add(None, trial)
        result = messages.epoch(name, {"epoch": 1, METRIC: gamma}, created="now")
        scheduler.on_trial_result(None, trial, result)
    return scheduler


def test_a_stop_that_a_crash_kept_from_its_trial_takes_effect(tmp_path: Path) -> None:
    """The trial's process reports its epochs again; Ray Tune's own ASHA would let it go on."""
    (tmp_path / "log").mkdir()
    folder = SweepFolder(tmp_path / "log")
    two_at_the_first_rung(folder)
    again = scheduler_of(folder)
    for name, action in (("a", TrialScheduler.CONTINUE), ("b", TrialScheduler.STOP)):
        trial = tune_trial(name)
        again.on_trial_add(None, trial)
        result = messages.epoch(name, {"epoch": 1, METRIC: 0.5})
        assert again.on_trial_result(None, trial, result) == action
    assert [event["created"] for event in folder.events()] == ["now", "now"]


def test_a_trial_that_was_paused_or_busy_goes_on(tmp_path: Path) -> None:
    """A try that ended early is no reason to stop the next one."""
    (tmp_path / "log").mkdir()
    scheduler = scheduler_of(SweepFolder(tmp_path / "log"))
    for outcome in (Outcome.PAUSED, Outcome.BUSY):
        first = tune_trial("a")
        scheduler.on_trial_add(None, first)
        scheduler.on_trial_result(None, first, messages.result({"a": outcome}))
        second = tune_trial("a")
        scheduler.on_trial_add(None, second)
        result = messages.epoch("a", {"epoch": 1, METRIC: 0.5})
        assert scheduler.on_trial_result(None, second, result) == TrialScheduler.CONTINUE


@pytest.mark.parametrize("nothing", [{}, {METRIC: None}, {METRIC: float("nan")}])
def test_an_epoch_without_a_value_is_not_judged(tmp_path: Path, nothing: dict[str, Any]) -> None:
    (tmp_path / "log").mkdir()
    folder = SweepFolder(tmp_path / "log")
    scheduler = two_at_the_first_rung(folder)
    before = folder.events()
    trial = tune_trial("c")
    scheduler.on_trial_add(None, trial)
    first = messages.epoch("c", {"epoch": 1, **nothing})
    assert scheduler.on_trial_result(None, trial, first) == "CONTINUE"
    scheduler.on_trial_complete(None, trial, messages.epoch("c", {"epoch": 9, **nothing}))
    assert folder.events() == before


def test_a_finished_trial_of_another_sweep_competes(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    folder = SweepFolder(tmp_path / "log")
    scheduler = scheduler_of(folder)
    epochs = [{"epoch": epoch, METRIC: 1 / epoch} for epoch in range(1, EPOCHS)]
    for _ in range(2):
        scheduler.learn("other", "then", epochs)
    expected = [RungEntry("other", epoch, 1 / epoch, False, "then") for epoch in (1, 3)]
    assert [entry.record() for entry in expected] == folder.events()
    trial = tune_trial("a")
    scheduler.on_trial_add(None, trial)
    result = messages.epoch("a", {"epoch": 1, METRIC: 1.5})
    assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP


def test_none_is_none() -> None:
    metric = MetricConfig(name=METRIC, mode="min")
    assert build_scheduler(SchedulerConfig(), metric, EPOCHS, lambda _: None) is None


def test_a_metric_of_every_third_epoch_is_judged_when_it_is_there(tmp_path: Path) -> None:
    """The rungs at 3 have values of epoch 3 only; a stop that a crash lost waits for no value."""
    folder = SweepFolder(tmp_path)
    settings = SchedulerConfig(name="asha", grace_epochs=3, reduction_factor=3)
    metric = MetricConfig(name="heldout/knn_accuracy", mode="max")

    def build() -> ReplayableScheduler:
        scheduler = build_scheduler(
            settings, metric, EPOCHS, lambda entry: folder.log(entry.record())
        )
        assert scheduler
        scheduler.replay(map(entry_of, folder.events()))
        return scheduler

    scheduler = build()
    trials = {name: tune_trial(name) for name in NAMES[:4]}
    for trial in trials.values():
        scheduler.on_trial_add(None, trial)
    actions = {}
    for epoch in (1, 2, 3):
        for rank, (name, trial) in enumerate(trials.items()):
            line: dict[str, Any] = {"epoch": epoch}
            if epoch == 3:
                line["heldout/knn_accuracy"] = 1 - rank / 10
            actions[name, epoch] = scheduler.on_trial_result(
                None, trial, messages.epoch(name, line)
            )
    assert {epoch for (_, epoch), action in actions.items() if action == "STOP"} == {3}
    assert [(entry["epoch"], entry["value"]) for entry in folder.events()] == [
        (3, pytest.approx(1 - rank / 10)) for rank in range(4)
    ]
    stopped = next(name for (name, _), action in actions.items() if action == "STOP")
    again, trial = build(), tune_trial(stopped)
    again.on_trial_add(None, trial)
    after = messages.epoch(stopped, {"epoch": 4})
    assert again.on_trial_result(None, trial, after) == TrialScheduler.STOP
