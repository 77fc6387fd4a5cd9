"""The hours of a sweep from logs, meter and account, and its limits, on fabricated stores."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from care.config import TrialConfig
from care.errors import ConfigError
from care.system.claim import Claim
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import ProvenanceRecord, TimingRecord
from care.trials.state import State
from sweeps.account import (
    AccountRecord,
    Hours,
    Meter,
    check_budget,
    describe_failures,
    describe_stopped,
    hours_in_store,
    read_account,
    union_length,
    write_account,
)
from sweeps.cli.listing import ListOptions, list_command
from sweeps.cli.status import status_command
from sweeps.plan import Plan, make_plan
from sweeps.price import PastTrials
from sweeps.process.signals import Interrupt
from sweeps.progress import Board
from sweeps.question import question_of
from sweeps.resources import Resources
from sweeps.run import RunOptions, SweepRun
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store, SweepFolder
from sweeps.tune.ledger import Ledger
from tests.helpers.declaring import WEIGHT, declare, fabricate, load
from tests.helpers.playing import Pool
from tests.sweeps.cli.test_list import start

HOUR = 3600.0
RESOURCES = Resources(cores=2, threads=2, gpus=0.0, machine_gpus=0)
seconds_of_epochs = st.lists(st.integers(1, 50), min_size=1, max_size=5)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def write_trial(
    folder: TrialFolder,
    seconds: Sequence[int],
    kills: Sequence[int] = (),
    pid: int = 1,
    began: float = 1e6,
    threads: int = 1,
) -> float:
    """Write the logs of a trial that was killed after some epochs, and return its end."""
    folder.path.mkdir(parents=True)
    folder.write_provenance(ProvenanceRecord(code_version="", threads=threads))
    now, records = began, []
    for epoch, length in enumerate(seconds, start=1):
        if epoch == 1 or epoch - 1 in kills:
            now += 1000.0 * (epoch > 1)  # nothing runs between a kill and the next start
            records.append(
                {"at": moment(now), "host": "a", "pid": pid + epoch, "epoch": epoch - 1, "step": 0}
            )
        now += length
        timing = TimingRecord(epoch=epoch, seconds=length, images_per_second=1, finished_at=now)
        folder.append_epoch({"epoch": epoch}, timing)
    (folder.path / "starts.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    return now


@pytest.fixture
def new_folder(tmp_path: Path) -> Callable[[], TrialFolder]:
    numbers = itertools.count()
    return lambda: TrialFolder(tmp_path / "trials" / f"{next(numbers):016x}")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=seconds_of_epochs, kills=st.sets(st.integers(1, 4)), threads=st.integers(1, 4))
def test_kills_between_epochs_change_no_hours(
    new_folder: Callable[[], TrialFolder], seconds: list[int], kills: set[int], threads: int
) -> None:
    whole, killed = new_folder(), new_folder()
    write_trial(whole, seconds, threads=threads)
    write_trial(killed, seconds, sorted(kills), pid=100, threads=threads)
    expected = pytest.approx(sum(seconds) * threads / HOUR, abs=1e-6)
    assert hours_in_store([whole], "", 0).core == expected
    assert hours_in_store([killed], "", 0).core == expected
    both = hours_in_store([whole, killed], "", 0.5)
    assert both.core == pytest.approx(2 * sum(seconds) * threads / HOUR, abs=1e-6)
    assert both.gpu == pytest.approx(sum(seconds) / HOUR, abs=1e-6)


def test_the_trials_of_a_pack_share_their_hours(new_folder: Callable[[], TrialFolder]) -> None:
    """Each epoch's wall time includes the steps of the others."""
    folders = [new_folder() for _ in range(3)]
    for folder in folders:
        write_trial(folder, [10, 20])
    assert hours_in_store(folders, "", 0).core == pytest.approx(30 / HOUR, abs=1e-6)


def test_hours_before_the_sweep_began_cost_it_nothing(
    new_folder: Callable[[], TrialFolder],
) -> None:
    before, across = new_folder(), new_folder()
    end = write_trial(before, [10, 10])
    write_trial(across, [10, 10], pid=50, began=end - 15)
    assert hours_in_store([before], moment(end), 0) == Hours()
    assert hours_in_store([before, across], moment(end), 0).core == pytest.approx(
        5 / HOUR, abs=1e-6
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8), st.randoms())
def test_the_length_of_a_union_counts_each_second_once(
    spans: list[tuple[int, int]], random: Any
) -> None:
    expected = len({second for low, high in spans for second in range(low, high)})
    shuffled = [(float(low), float(high)) for low, high in spans]
    random.shuffle(shuffled)
    assert union_length(shuffled) == expected


def test_the_meter_counts_while_processes_run() -> None:
    now = 0.0
    meter = Meter(Hours(1.0, 0.5), lambda share: (2 * share, 0.5), lambda: now)
    meter.begin("a", 1)
    meter.begin("b", 2)
    now = HOUR
    assert meter.read() == Hours(1 + 2 + 4, 0.5 + 0.5 + 0.5)
    meter.end("a")
    now = 2 * HOUR
    assert meter.read() == Hours(7 + 4, 1.5 + 0.5)
    meter.end_all()
    now = 3 * HOUR
    assert meter.read() == Hours(11, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": {}}, "budget: got {}; allowed: core_hours, gpu_hours or both"),
        ({"budget": {"core_hours": 0}}, "budget.core_hours: got 0; allowed: greater than 0"),
        ({"budget": {"core_hours": -1}}, "budget.core_hours: got -1; allowed: greater than 0"),
        ({"budget": {"cpu_hours": 1}}, "did you mean"),
        ({"budget": {"gpu_hours": 1}}, "budget.gpu_hours: got 1.0; allowed: with 'resources.gpus'"),
        ({"max_failures": -1}, "max_failures: got -1"),
        ({"max_failures": 1, "fail_fast": True}, "max_failures: got 1; allowed: without"),
    ],
)
def test_wrong_limits_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, **changes)
    assert message in str(refused.value)


def test_the_command_line_sets_limits(tmp_path: Path) -> None:
    file = declare(tmp_path, budget={"core_hours": 40})
    changed = load_sweep(file, ("budget.core_hours=60", "max_failures=2"))
    assert changed.spec.budget
    assert (changed.spec.budget.core_hours, changed.spec.max_failures) == (60, 2)


def test_limits_belong_to_no_identity_and_no_question(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search": {"name": "optuna", "trials": 3}}
    changes["axes"] = {WEIGHT: {"low": 0.01, "high": 1.0}}
    plain = load(tmp_path, **changes)
    limited = load(tmp_path, **changes, budget={"core_hours": 1}, fail_fast=True)
    assert question_of(plain) == question_of(limited)
    point = {WEIGHT: 0.1}
    assert trial_id(plain.trial(point, 0)) == trial_id(limited.trial(point, 0))


def test_a_budget_below_a_trial_is_refused_with_the_numbers(
    store: Store, tmp_path: Path, sweep: Sweep, configs: list[TrialConfig]
) -> None:
    limited = load(
        tmp_path, axes={WEIGHT: sweep.spec.axes[WEIGHT]}, seeds=1, budget={"core_hours": 0.001}
    )
    unknown = check_budget(make_plan(limited, store), PastTrials(store, 0, 1))
    assert "no past trial" in unknown
    here = {"hostname": socket.gethostname()}
    for config in configs[:2]:  # λ = 0 takes fewer passes than the others
        times: dict[str, Any] = {"seconds": [10.0] * 3, "finished_at": time.time() + 60}
        fabricate(store, config, State.FINISHED, 3, **times, provenance=here)
    with pytest.raises(ConfigError) as refused:
        check_budget(make_plan(limited, store), PastTrials(store, 0, 1))
    assert "budget.core_hours: got 0.001; allowed: at least 0.0083" in str(refused.value)
    enough = load(
        tmp_path, axes={WEIGHT: sweep.spec.axes[WEIGHT]}, seeds=1, budget={"core_hours": 0.01}
    )
    assert check_budget(make_plan(enough, store), PastTrials(store, 0, 1)) == ""


def ledger(sweep: Sweep, store: Store) -> tuple[Ledger, Board, Plan]:
    plan = make_plan(sweep, store)
    board = Board(sweep.spec.metric, plan.wanted)
    board.plan(plan, lambda _: None)
    folder = store.sweep(sweep.spec.name)
    return Ledger(plan, store, folder, board, RESOURCES, 1), board, plan


def declared(folder: Path, store: Store, **changes: Any) -> Sweep:
    """Start a sweep: two weights, two seeds."""
    start(store, folder, **changes)
    return load(folder, **changes)


def test_a_killed_driver_spent_what_it_wrote_or_what_the_trials_log(
    store: Store, tmp_path: Path
) -> None:
    sweep = declared(tmp_path, store, budget={"core_hours": 2})
    folder, config = store.sweep("tiny"), sweep.trial({WEIGHT: 0}, 0)
    fabricate(store, config, State.PAUSED, 1, seconds=[HOUR], finished_at=time.time() + HOUR)
    for written, expected in ((0.25, 1.0), (1.5, 1.5)):
        write_account(folder, AccountRecord(core_hours=written, running=True))
        _, board, _ = ledger(sweep, store)
        assert board.meter.read().core == pytest.approx(expected, abs=0.01)
    (folder.path / "account.json").write_text("{")
    _, board, _ = ledger(sweep, store)
    assert board.meter.read().core == pytest.approx(1.0, abs=0.01)
    # A driver that ended in order has counted everything.
    write_account(folder, AccountRecord(core_hours=0.5))
    _, board, _ = ledger(sweep, store)
    assert board.meter.read().core == 0.5


def test_a_budget_that_is_used_up_is_a_state_until_it_is_raised(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = declared(tmp_path, store, budget={"core_hours": 2})
    folder = store.sweep("tiny")
    write_account(folder, AccountRecord(core_hours=2.5, planned_core_hours=3.0))
    books, _, _ = ledger(sweep, store)
    assert books.reached()
    books.close(left=True)
    account = read_account(folder)
    assert account.stopped == "budget"
    assert account.reason == "budget of 2 core-hours used up: 0 of 4 trials finished"
    assert status_command("tiny", store.root, watch=False, as_json=False) == 1
    shown = capsys.readouterr().out
    assert "tiny: budget used up" in shown
    assert "core-hours: 3 planned, 2.5 spent, budget 2" in shown
    assert "budget.core_hours=3" in " ".join(shown.split())
    assert status_command("tiny", store.root, watch=False, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["stopped"] == "budget"
    list_command(None, store.root, ListOptions(as_json=True))
    assert json.loads(capsys.readouterr().out)[0]["stopped"] == "budget"
    raised = load(tmp_path, budget={"core_hours": 3.75})
    again, _, _ = ledger(raised, store)
    assert not again.reached()
    again.close(left=True)
    assert read_account(folder).stopped == ""


def test_the_advice_replaces_the_budget_of_the_command(tmp_path: Path) -> None:
    spec = load(tmp_path, budget={"core_hours": 40}).spec
    account = AccountRecord(core_hours=40.1, stopped="budget", reason="used up")
    command = "care sweep run s.yaml budget.core_hours=40 --store 'my runs'"
    advice = describe_stopped(account, spec, command)
    assert advice.endswith("care sweep run s.yaml --store 'my runs' budget.core_hours=60")


def test_failures_of_earlier_runs_do_not_count(store: Store, tmp_path: Path) -> None:
    sweep = declared(tmp_path, store, max_failures=1)
    for seed in (0, 1):
        fabricate(store, sweep.trial({WEIGHT: 0}, seed), State.FAILED, 1)
    books, board, plan = ledger(sweep, store)
    new = [trial.trial_id for trial in plan.missing()]
    assert not books.reached()
    board.report(new[0], State.FAILED, error="broke")
    assert not books.reached(), "one is allowed"
    called: list[int] = []
    books.on_reached(lambda: called.append(1))
    board.report(new[1], State.FAILED, error="broke")
    assert books.reached()
    assert books.reached()
    assert called == [1]
    reason = describe_failures(sweep.spec, board.failed.values())
    assert reason == ("stopped after 2 failed trials (max_failures: 1): λ=0.1 seed=0, λ=0.1 seed=1")


def test_a_superseded_driver_writes_no_account(store: Store, tmp_path: Path) -> None:
    sweep = declared(tmp_path, store, budget={"core_hours": 2})
    claim = Claim.take(store.sweep("tiny").path)
    assert claim
    plan = make_plan(sweep, store)
    board = Board(sweep.spec.metric, plan.wanted)
    board.plan(plan, lambda _: None)
    folder = SweepFolder(store.sweep("tiny").path, claim)
    books = Ledger(plan, store, folder, board, RESOURCES, 1)
    board.meter.begin("a", 1)
    claim.release()
    books.look()
    books.close(left=True)
    assert not os.path.lexists(folder.path / "account.json")


class Machines(Pool):
    """Machines that wait for another driver only after an interrupt."""

    def __init__(self) -> None:
        self.waiting: bool | None = None

    def end(self, *, interrupted: bool) -> None:
        self.waiting = interrupted


@pytest.mark.parametrize(("spent", "waiting"), [(2.5, False), (0.0, True)])
def test_no_machine_waits_after_a_limit_also_if_its_job_ends(
    store: Store, tmp_path: Path, spent: float, waiting: bool
) -> None:
    """Otherwise the workers of a cluster would idle, and its head would be requeued."""
    sweep = declared(tmp_path, store, budget={"core_hours": 2})
    write_account(store.sweep("tiny"), AccountRecord(core_hours=spent))
    machines, interrupt = Machines(), Interrupt(signals=())

    @contextlib.contextmanager
    def ends(_: Board) -> Iterator[None]:
        interrupt.request()
        yield

    outcome = SweepRun(sweep, store, machines, RunOptions(report=False))(interrupt, ends)
    assert machines.waiting is waiting
    assert outcome.in_a_word(interrupt) == ("interrupted" if waiting else "budget")
