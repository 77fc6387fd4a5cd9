"""Sharing out a machine: every core used, none used twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.errors import Problem
from sweeps import resources
from sweeps.resources import Resources, split_this_machine
from sweeps.spec.schema import ResourcesConfig


@contextlib.contextmanager
def machine(cores: int, gpus: int = 0) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "available_cores", lambda: cores)
        patch.setattr(resources, "count_gpus", lambda: gpus)
        yield


@given(cores=st.integers(1, 256), trials=st.integers(0, 1000))
def test_trials_times_threads_fill_the_cores(cores: int, trials: int) -> None:
    with machine(cores):
        share = split_this_machine(ResourcesConfig(), trials)
    assert share.threads * share.concurrency <= cores
    # With one trial's threads more, not all of them would fit.
    assert (share.threads + 1) * min(cores, max(1, trials)) > cores
    assert share.concurrency >= min(cores, max(1, trials))


@given(cores=st.integers(1, 64), gpus=st.integers(1, 8), part=st.sampled_from([0.25, 0.5, 1.0]))
def test_gpus_are_not_given_out_twice(cores: int, gpus: int, part: float) -> None:
    with machine(cores, gpus):
        share = split_this_machine(ResourcesConfig(gpus=part), 1000)
    assert share.concurrency * share.gpus <= gpus
    assert share.concurrency * share.threads <= cores
    assert share.concurrency >= 1


def test_threads_as_asked() -> None:
    with machine(8):
        share = split_this_machine(ResourcesConfig(threads=3), 100)
    assert (share.threads, share.concurrency) == (3, 2)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (ResourcesConfig(threads=9), "resources.threads", 9),
        (ResourcesConfig(gpus=2), "resources.gpus", 2.0),
    ],
)
def test_more_than_there_is(
    refused: Callable[..., Problem], config: ResourcesConfig, field: str, value: float
) -> None:
    with machine(8, 1):
        problem = refused(split_this_machine, config, 10)
    assert (problem.field, problem.value) == (field, value)
    assert "of this machine" in problem.allowed


@pytest.mark.parametrize(
    ("resources", "parts"),
    [
        (Resources(cores=8, threads=2, gpus=0.0, machine_gpus=0), [(2, 0.0), (4, 0.0), (8, 0.0)]),
        (Resources(cores=8, threads=1, gpus=0.25, machine_gpus=2), [(1, 0.25), (2, 0.5), (4, 1.0)]),
        (Resources(cores=8, threads=1, gpus=0.4, machine_gpus=1), [(1, 0.4), (2, 0.8), (3, 1.0)]),
        (Resources(cores=8, threads=4, gpus=2.0, machine_gpus=4), [(4, 2.0)]),
    ],
)
def test_less_packing_ends_where_a_trial_is_alone(
    resources: Resources, parts: list[tuple[int, float]]
) -> None:
    shares = [1]
    while shares[-1] < resources.largest_share:
        shares.append(min(2 * shares[-1], resources.largest_share))
    assert [resources.request(share) for share in shares] == parts
