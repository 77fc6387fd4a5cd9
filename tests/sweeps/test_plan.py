"""Plans of fabricated stores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.errors import ConfigError
from care.system.claim import Claim
from care.trials.identity import trial_id
from care.trials.records import SweepRecord
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.event_log import RungEntry, Suggestion, begin, created
from sweeps.plan import Plan, make_plan
from sweeps.plan_remarks import plan_remarks
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, SweepFolder
from tests.helpers.declaring import SPLITS, WEIGHT, fabricate, load


@pytest.fixture
def mixed(store: Store, configs: list[TrialConfig]) -> Iterator[Store]:
    """A store with a trial of each state; the first one was begun and waits."""
    fabricate(store, configs[0], State.PAUSED, 2)
    fabricate(store, configs[1], State.FINISHED, 3)
    running = fabricate(store, configs[2], State.RUNNING, 1)
    fabricate(store, configs[3], State.FAILED, 2)
    fabricate(store, configs[4], State.FINISHED, 3, code="0" * 16)
    with Claim.take(running.path) or pytest.fail("not free"):
        yield store


def states(plan: Plan) -> list[str]:
    return [trial.state for trial in plan.trials]


def started(store: Store, sweep: Sweep) -> SweepFolder:
    """The folder of a sweep that was started, but of which nothing was decided yet."""
    folder = store.sweep(sweep.spec.name)
    folder.write(SweepRecord(spec={}, base={}, file="sweep.yaml"))
    begin(folder, sweep)
    return folder


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_nothing_there_is_all_new(sweep: Sweep, store: Store) -> None:
    assert make_plan(sweep, store).counts() == {"new": 6}
    assert not store.root.exists(), "a plan writes nothing"


def test_a_plan_shows_every_state(sweep: Sweep, mixed: Store) -> None:
    before = files(mixed.root)
    plan = make_plan(sweep, mixed)
    assert states(plan) == ["paused", "finished", "running", "failed", "stale", "new"]
    assert plan.counts() == {
        "new": 1, "paused": 1, "finished": 1, "running": 1, "failed": 1, "stale": 1
    }  # fmt: skip
    assert [trial.epoch for trial in plan.trials] == [2, 3, 1, 2, 3, 0]
    assert plan.trials[3].reason == "broke"
    assert files(mixed.root) == before, "a plan writes nothing"


def test_what_was_begun_is_missing_and_comes_first(sweep: Sweep, mixed: Store) -> None:
    missing = make_plan(sweep, mixed).missing()
    assert [(trial.point[WEIGHT], trial.epoch) for trial in missing] == [(0, 2), (1, 0)]


@pytest.mark.parametrize(
    ("state", "epoch", "code", "expected"),
    [
        ("running", 0, "old", "new"),  # was killed before its first epoch
        ("running", 1, None, "paused"),
        ("running", 1, "old", "stale"),
        ("paused", 0, "old", "new"),
        ("paused", 2, "old", "stale"),
        ("failed", 0, "old", "failed"),
        ("failed", 2, "old", "stale"),
        ("finished", 3, "old", "stale"),
        ("finished", 3, None, "finished"),
    ],
)
def test_a_trial_that_nobody_runs(
    sweep: Sweep, store: Store, configs: list[TrialConfig], state: str, epoch: int,
    code: str | None, expected: str,
) -> None:  # fmt: skip
    fabricate(store, configs[0], state, epoch, code=code)  # type: ignore[arg-type]
    assert states(make_plan(sweep, store))[0] == expected


@pytest.mark.parametrize(
    ("code", "state"), [(None, "paused"), ("old", "stale")], ids=["this code", "other code"]
)
def test_a_trial_within_its_first_epoch_has_begun(
    sweep: Sweep, store: Store, configs: list[TrialConfig], code: str | None, state: str
) -> None:
    """No epoch is done, but a checkpoint holds its steps."""
    folder = fabricate(store, configs[0], State.PAUSED, 0, code=code)
    assert states(make_plan(sweep, store))[0] == "new"
    (folder.path / f"checkpoint-000000-000003-{'0' * 16}.pt").touch()
    assert states(make_plan(sweep, store))[0] == state


def test_a_trial_that_is_claimed_runs_before_it_says_so(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    """Loading takes seconds, in which another sweep must not think it new."""
    claim = Claim.take(store.trial(trial_id(configs[0])).path)
    assert claim
    assert states(make_plan(sweep, store))[0] == "running"
    claim.release()
    assert states(make_plan(sweep, store))[0] == "new"


def test_a_finished_trial_is_finished_even_while_it_is_held(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    folder = fabricate(store, configs[0], State.FINISHED, 3)
    with Claim.take(folder.path) or pytest.fail("not free"):
        assert states(make_plan(sweep, store))[0] == "finished"


def test_shared_trials_are_counted_once(tmp_path: Path, store: Store) -> None:
    """With λ = 0 the splits do not matter: three points are one trial for each seed."""
    sweep = load(tmp_path, axes={WEIGHT: [0, 0.1], SPLITS: [4, 8, 16]}, seeds=2)
    plan = make_plan(sweep, store)
    assert len(plan.trials) == 12
    assert plan.counts()[State.NEW] == len(plan.unique()) == len(plan.missing()) == 8
    assert len({trial.group_id for trial in plan.trials}) == 4
    for seed in (0, 1):
        fabricate(store, sweep.trial({WEIGHT: 0, SPLITS: 4}, seed), State.FINISHED, 3)
    plan = make_plan(sweep, store)
    assert plan.counts() == {"new": 6, "finished": 2}
    assert states(plan).count("finished") == 6


def test_two_sweeps_share_trials(tmp_path: Path, store: Store, configs: list[TrialConfig]) -> None:
    fabricate(store, configs[3], State.FINISHED, 3)
    other = load(tmp_path, name="other", axes={WEIGHT: [0.1, 0.5]}, seeds=1)
    assert make_plan(other, store).counts() == {"new": 1, "finished": 1}


def test_how_it_is_run_does_not_make_it_new(
    tmp_path: Path, store: Store, configs: list[TrialConfig]
) -> None:
    fabricate(store, configs[3], State.FINISHED, 3)
    sweep = load(tmp_path, axes={WEIGHT: [0.1]}, seeds=1, overrides={"runtime.device": "cpu"})
    assert make_plan(sweep, store).counts()[State.FINISHED] == 1


def test_stopped_is_shown_while_there_is_a_scheduler(tmp_path: Path, store: Store) -> None:
    axes = {WEIGHT: [0.1, 0.3]}
    sweep = load(
        tmp_path,
        axes=axes,
        seeds=1,
        scheduler={"name": "asha"},
        metric={"name": "heldout/gamma"},
    )
    trials = make_plan(sweep, store).trials
    folder = started(store, sweep)
    for trial, stopped in zip(trials, (True, False), strict=True):
        made = created(fabricate(store, trial.config, State.PAUSED, 1))
        folder.log(RungEntry(trial.trial_id, 1, 0.5, stopped, made).record())
    plan = make_plan(sweep, store)
    assert states(plan) == ["stopped", "paused"]
    assert [trial.point[WEIGHT] for trial in plan.missing()] == [0.3]
    without = load(tmp_path, axes=axes, seeds=1)
    assert states(make_plan(without, store)) == ["paused", "paused"]


def test_the_points_of_a_search_are_those_it_suggested(tmp_path: Path, store: Store) -> None:
    sweep = load(tmp_path, axes={WEIGHT: {"low": 0.1, "high": 1}}, search={"name": "optuna"})
    assert make_plan(sweep, store).trials == ()
    folder = started(store, sweep)
    folder.log(Suggestion(0, {WEIGHT: 0.25}).record())
    assert [(trial.point[WEIGHT], trial.config.seed) for trial in make_plan(sweep, store).trials] == [
        (0.25, 0), (0.25, 1)
    ]  # fmt: skip


def test_no_more_points_than_are_wanted_now(tmp_path: Path, store: Store) -> None:
    """Fewer trials end a search early; more take it up again where it was."""
    axes = {WEIGHT: {"low": 0.1, "high": 1}}
    sweep = load(tmp_path, axes=axes, search={"name": "optuna", "trials": 3})
    folder = started(store, sweep)
    for number in range(3):
        folder.log(Suggestion(number, {WEIGHT: 0.25 + number / 4}).record())
    fewer = make_plan(load(tmp_path, axes=axes, search={"name": "optuna", "trials": 2}), store)
    assert [trial.point[WEIGHT] for trial in fewer.trials] == [0.25, 0.25, 0.5, 0.5]
    assert (fewer.wanted, fewer.unsuggested) == (4, 0)
    more = make_plan(load(tmp_path, axes=axes, search={"name": "optuna", "trials": 4}), store)
    assert (len(more.trials), more.wanted, more.unsuggested) == (6, 8, 2)


def test_a_point_that_is_suggested_twice_is_not_waited_for(tmp_path: Path, store: Store) -> None:
    search = {"name": "optuna", "trials": 3}
    sweep = load(tmp_path, axes={WEIGHT: [0.1, 0.2]}, search=search)
    folder = started(store, sweep)
    assert (make_plan(sweep, store).wanted, make_plan(sweep, store).unsuggested) == (6, 6)
    for number, weight in enumerate([0.1, 0.2, 0.1]):
        folder.log(Suggestion(number, {WEIGHT: weight}).record())
    assert (make_plan(sweep, store).wanted, make_plan(sweep, store).unsuggested) == (4, 0)


def test_nothing_missing_takes_no_time(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    for config in configs:
        fabricate(store, config, State.FINISHED, 3)
    plan = make_plan(sweep, store)
    assert plan.counts() == {"finished": 6}
    assert plan.missing() == []


def test_a_trial_is_named_by_its_point_and_seed(sweep: Sweep, store: Store) -> None:
    assert make_plan(sweep, store).trials[3].label == "λ=0.1 seed=0"


def record(store: Store, config: TrialConfig, **provenance: object) -> None:
    """Fabricate a finished trial that ran like this."""
    fabricate(store, config, State.FINISHED, 3, provenance=provenance)


def test_trials_on_machines_that_differ_are_named(
    sweep: Sweep, store: Store, configs: list[TrialConfig], tmp_path: Path
) -> None:
    for number, config in enumerate(configs):
        precision = "bf16" if number > 3 else "fp32"
        record(store, config, device="cpu", precision=precision, threads=1 + number // 5)
    lines = plan_remarks(make_plan(sweep, store))
    assert lines == [
        "trials differ in precision: 4 fp32, 2 bf16",
        "trials differ in threads: 5 with 1, 1 with 2",
    ]
    alike = Store(tmp_path / "alike")
    for config in configs:
        record(alike, config, device="cpu", precision="fp32")
    assert plan_remarks(make_plan(sweep, alike)) == []


def test_a_stale_trial_is_mixed_with_nothing(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    record(store, configs[0], precision="fp32")
    record(store, configs[1], precision="bf16", code_version="ast1-" + "0" * 16)
    assert plan_remarks(make_plan(sweep, store)) == ["1 stale: trained with other code"]


def test_why_trials_of_an_earlier_version_are_stale_is_one_line(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    for config in configs[:3]:
        record(store, config, code_version="0" * 16)
    (line,) = plan_remarks(make_plan(sweep, store))
    assert line.startswith("3 stale: trained with an earlier version of care, which compared")


def test_data_are_compared_by_their_fingerprint(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    now = Versions().data(configs[0])
    record(store, configs[0], data=now)
    record(store, configs[1], data={"data": "0" * 32})
    plan = make_plan(sweep, store)
    assert states(plan)[:2] == ["finished", "stale"]
    shown = f"fingerprint 00000000… recorded, {now['data'][:8]}… now"
    assert plan.trials[1].reason == f"trained on other data: digits, {shown}"


def test_minus_zero_is_zero_in_a_point_and_its_identity(tmp_path: Path) -> None:
    plans = [
        make_plan(load(tmp_path, axes={WEIGHT: [zero, 0.1]}, seeds=1), Store(tmp_path / "runs"))
        for zero in (0.0, -0.0)
    ]
    one, other = ([(t.trial_id, t.label, str(t.point)) for t in plan.trials] for plan in plans)
    assert one == other


def test_a_failed_trial_says_why(sweep: Sweep, store: Store, configs: list[TrialConfig]) -> None:
    folder = fabricate(store, configs[0], State.FAILED, 1)
    (line,) = plan_remarks(make_plan(sweep, store))
    assert line == f"failed: λ=0 seed=0 ({folder.trial_id}): broke"


def test_a_monitor_that_costs_much_is_remarked_before_it_runs(tmp_path: Path) -> None:
    epochs = {"training.epochs": 30}
    costly = {"evaluation.monitor": {"measures": ["knn_accuracy"]}, **epochs}
    blind = "evaluation.monitor lacks 'uniformity', so nearly collapsed trials are not marked"
    plan = make_plan(load(tmp_path, overrides=costly), Store(tmp_path / "runs"))
    # 600 and 360 samples; an epoch at λ = 0 has 2 batches of 256, two views, three passes each
    share = (600 + 360) / (2 * 256 * 2 * 3)
    every = math.ceil(share / 0.02)
    assert plan_remarks(plan) == [
        f"evaluation.monitor takes about {share:.0%} of the training's passes; "
        f"'every: {every}' would take 2 %",
        blind,
    ]
    costly["evaluation.monitor.every"] = every
    seldom = make_plan(load(tmp_path, overrides=costly), Store(tmp_path / "runs"))
    assert plan_remarks(seldom) == [blind]
    assert not plan_remarks(make_plan(load(tmp_path, overrides=epochs), Store(tmp_path / "runs")))


def test_a_field_that_does_not_exist_is_named_once(tmp_path: Path, store: Store) -> None:
    for axis, values, listed in (
        ("training.learning_rate", [0.1, 0.2, 0.3], [0.1]),  # of the optimizer
        ("training.epochs", [0, -1, 2], [0, -1]),
    ):
        with pytest.raises(ConfigError) as refused:
            make_plan(load(tmp_path, axes={axis: values}), store)
        assert [problem.value for problem in refused.value.problems] == listed
