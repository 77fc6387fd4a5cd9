"""The price of a plan, from fabricated stores and from measured steps."""

from __future__ import annotations

import itertools
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.config import TrialConfig
from care.config.cost import training_flops
from care.trials.identity import trial_id
from care.trials.state import RecordedState, State
from sweeps.backends.slurm.state_files import Workers
from sweeps.cli.price import PriceOptions, PriceView
from sweeps.plan import make_plan
from sweeps.price import PastTrials, Price, longest_epoch, price_of, schedule
from sweeps.process.terminal import make_console
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, fabricate, load

HERE = {"hostname": socket.gethostname()}


def past(store: Store, config: TrialConfig, seconds: list[float], **provenance: Any) -> None:
    """Fabricate a trial whose evaluation took no time."""
    epochs = len(seconds)
    whole = epochs == config.training.epochs
    state: RecordedState = State.FINISHED if whole else State.PAUSED
    fabricate(
        store,
        config,
        state,
        epochs,
        seconds=seconds,
        finished_at=time.time() + 60,
        provenance={**HERE, **provenance},
    )


def price(sweep: Sweep, store: Store, side_by_side: int = 1, threads: int = 1) -> Price:
    return price_of(make_plan(sweep, store), PastTrials(store, 0, threads), side_by_side)


def test_an_epoch_takes_as_long_as_in_trials_of_equal_cost(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    """The first epoch, which warms up, is left out; λ = 0 takes two passes instead of four."""
    past(store, configs[1], [90, 5, 7])
    past(store, configs[0], [50, 2])
    found = price(sweep, store)
    assert found.seconds == pytest.approx(1 * 2 + 4 * 3 * 6, abs=0.1)
    assert found.core_hours == pytest.approx((2 + 4 * 18) / 3600, abs=1e-4)
    assert found.seed_seconds == pytest.approx(3 * 2 + 5 * 3 * 6, abs=0.1)
    assert found.gpu_hours == 0
    assert found.basis == "here"
    longest = longest_epoch(sweep, store, 1)
    assert longest == pytest.approx(6)


def test_trials_of_a_pack_share_the_seconds_of_its_epochs(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    """The wall time of an epoch includes the steps of the others in the process."""
    for config in configs[1:5]:
        past(store, config, [12, 12, 12])
    alone = price(sweep, store).seconds
    for config in configs[1:5]:
        store.trial(trial_id(config)).append_start(0, 0)  # in one process, at one time
    packed = price(sweep, store).seconds
    assert alone
    assert packed == pytest.approx(alone / 4)


def test_a_kind_without_a_past_is_estimated_by_its_operations(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    assert price(sweep, store).unknown == 6
    assert price(sweep, store).seconds is None
    past(store, configs[0], [9, 2, 2])
    found = price(sweep, store)
    flops = [training_flops(config, 1437, 16) for config in configs[:2]]
    assert found.basis == "flops"
    assert found.bytes is None
    assert found.seconds == pytest.approx(5 * 6 * flops[1] / flops[0], abs=0.1)
    assert longest_epoch(sweep, store, 1) == 2, "only of trials that were trained"


def test_trials_of_this_machine_with_as_many_threads_count_first(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    past(store, configs[1], [9, 6, 6], hostname="elsewhere")
    assert price(sweep, store).basis == "flops"  # λ = 0 has none
    past(store, configs[0], [9, 1, 1], hostname="elsewhere")
    assert price(sweep, store).basis == "elsewhere"
    past(store, configs[2], [9, 2, 2], threads=2)
    found = price(sweep, store)
    assert found.seconds == pytest.approx(3 * 3 * 4, abs=0.1), "half the threads, twice the time"
    past(store, configs[3], [9, 3, 3])
    assert price(sweep, store).seconds == pytest.approx(2 * 3 * 3, abs=0.1)


def test_trials_on_another_device_do_not_count(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    for config in configs[:2]:
        past(store, config, [9, 2, 2], device="cuda")
    assert price(sweep, store).unknown == 4


def test_the_evaluation_and_the_disk_count(
    sweep: Sweep, store: Store, configs: list[TrialConfig]
) -> None:
    for config in configs[:2]:
        fabricate(
            store,
            config,
            State.FINISHED,
            3,
            seconds=[1, 1, 1],
            finished_at=time.time() - 3 - 10,
            provenance=HERE,
        )
        (store.trial(trial_id(config)).path / "big").write_bytes(bytes(100_000))
    found = price(sweep, store)
    assert found.seconds == pytest.approx(4 * (3 + 10), abs=2)
    assert found.bytes is not None
    assert 4 * 100_000 < found.bytes < 4 * 130_000


def test_what_optuna_will_suggest_counts(
    tmp_path: Path, store: Store, configs: list[TrialConfig]
) -> None:
    search = {"name": "optuna", "trials": 2}
    searched = load(tmp_path, axes={WEIGHT: {"low": 0.1, "high": 1}}, search=search)
    assert price(searched, store).unknown == 4
    past(store, configs[1], [9, 2, 2])
    found = price(searched, store, 2)
    assert found.seconds == pytest.approx(2 * 2 * 3 * 2, abs=0.1)
    assert found.wall_seconds == pytest.approx(2 * 3 * 2, abs=0.1)
    assert found.seed_seconds == pytest.approx(2 * 3 * 2, abs=0.1)


def test_nothing_left_costs_nothing(sweep: Sweep, store: Store, configs: list[TrialConfig]) -> None:
    for config in configs:
        past(store, config, [1, 1, 1])
    found = price(sweep, store)
    assert (found.trials, found.seconds, found.wall_seconds, found.bytes) == (0, 0, 0, 0)
    assert found.seed_seconds == pytest.approx(6 * 3, abs=0.1)


@given(st.lists(st.floats(0, 100), max_size=7), st.integers(1, 4))
def test_a_schedule_ends_as_a_queue_would(seconds: list[float], places: int) -> None:
    """Against a simulation in time: a free place takes the next trial."""
    queue, running, now = list(seconds), list[float](), 0.0
    while queue or running:
        while queue and len(running) < places:
            running.append(now + queue.pop(0))
        now = min(running)
        running.remove(now)
    assert schedule(seconds, places) == pytest.approx(now)


def test_a_schedule_is_no_shorter_than_its_bounds() -> None:
    for order in itertools.permutations([5.0, 3.0, 3.0, 1.0]):
        assert max(5, 12 / 2) <= schedule(order, 2) <= 12 / 2 + 5 / 2
    assert schedule([], 3) == 0


def test_the_first_steps_are_measured_and_nothing_is_kept(tmp_path: Path, store: Store) -> None:
    sweep = load(tmp_path, axes={WEIGHT: [0, 0.1], SPLITS: [4, 8]}, seeds=2)
    plan = make_plan(sweep, store)
    before = sorted(tmp_path.rglob("*"))
    known = PastTrials(store, 0, 1)
    assert known.measure(plan, seconds=0.2) == 2, "λ = 0 and the others"
    assert known.measure(plan, seconds=0.2) == 0
    assert sorted(tmp_path.rglob("*")) == before
    found = price_of(plan, known, 2)
    assert found.basis == "measured"
    assert found.seconds
    assert found.bytes


def test_measuring_needs_the_data(tmp_path: Path, store: Store) -> None:
    sweep = load(tmp_path, overrides={"data.name": "cifar10", "runtime.data_root": str(tmp_path)})
    with pytest.raises(Exception, match=r"could not be measured: .*cifar"):
        PastTrials(store, 0, 1).measure(make_plan(sweep, store), seconds=0.2)


def test_a_cluster_has_its_own_price(
    sweep: Sweep, store: Store, configs: list[TrialConfig], tmp_path: Path
) -> None:
    for config in configs[:2]:
        past(store, config, [1800, 1800, 1800])
    file = tmp_path / "cluster.yaml"
    file.write_text(json.dumps({"cpus": 2, "price": {"core_hour": 0.5, "currency": "CHF"}}))
    options = PriceOptions(cluster=file, workers=Workers(least=1, most=2))
    view = PriceView(make_plan(sweep, store), store, options, make_console())
    lines = "\n".join(view.lines())
    assert view.price.side_by_side == 4
    assert "6 core-hours (3.00 CHF)" in lines
    assert "after 1 h 30 min with 4 side by side on 2 workers" in lines
    assert view.as_json()["money"] == pytest.approx(3.0, abs=0.01)
