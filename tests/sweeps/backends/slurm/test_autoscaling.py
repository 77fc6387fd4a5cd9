"""How many workers there should be, and which may go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweeps.backends.slurm.autoscaling import (
    Change,
    StuckJobs,
    Volunteers,
    change,
    slots_of,
    wanted,
)
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.state_files import Workers, WorkerState, WorkerStatus

RANGES = st.tuples(st.integers(0, 5), st.integers(1, 20)).map(
    lambda pair: Workers(least=min(pair), most=max(pair))
)
STATES = st.sampled_from(["PENDING", "RUNNING", "SUSPENDED", "COMPLETING"])


@given(st.integers(0, 1000), st.integers(1, 8), RANGES)
def test_workers_are_as_many_as_there_is_work_for(
    left: int, per_worker: int, workers: Workers
) -> None:
    target = wanted(left, per_worker, workers)
    if left == 0:
        assert target == 0
    else:
        assert workers.least <= target <= workers.most
        if workers.least < target < workers.most:
            assert (target - 1) * per_worker < left <= target * per_worker


@given(
    st.integers(0, 12),
    st.lists(st.tuples(STATES, st.floats(0, 100)), max_size=12),
    st.floats(1, 50),
)
def test_only_idle_workers_and_waiting_jobs_go(
    target: int, states: list[tuple[str, float]], patience: float
) -> None:
    jobs = [QueuedJob(str(n), state, "", "") for n, (state, _) in enumerate(states)]
    workers = {
        str(n): WorkerStatus(at=0.0, state=WorkerState.RUNNING, idle=idle)
        for n, (_, idle) in enumerate(states)
    }
    todo = change(target, jobs, workers, patience)
    live = [job.job_id for job in jobs if job.state != "COMPLETING"]
    pending = {job.job_id for job in jobs if job.state == "PENDING"}
    running = {job.job_id for job in jobs if job.state == "RUNNING"}
    idle = {n for n in running if workers[n].idle >= patience}
    assert set(todo.cancel) <= pending
    assert set(todo.release) <= idle
    after = len(live) + todo.submit - len(todo.cancel) - len(todo.release)
    assert todo.submit == max(0, target - len(jobs))
    if len(live) >= target:
        assert after >= target
        assert after == target or set(todo.cancel) | set(todo.release) == pending | idle


def test_no_job_is_submitted_for_what_volunteers_train() -> None:
    range_ = Workers(least=1, most=8)
    assert wanted(8, 2, range_, taken=4) == 2
    assert wanted(8, 2, range_, taken=20) == 1, "the least is of jobs"
    assert wanted(0, 2, range_, taken=20) == 0
    busy = WorkerStatus(at=0.0, state=WorkerState.RUNNING, joined=True, slots=4, idle=1.0)
    assert slots_of(busy, 60.0) == 4
    assert slots_of(busy.model_copy(update={"idle": 61.0}), 60.0) == 0, "no trial fits it"


def test_a_killed_volunteer_is_one_whose_state_stays_the_same() -> None:
    job = WorkerStatus(at=0.0, state=WorkerState.RUNNING)
    killed = job.model_copy(update={"joined": True})
    volunteers = Volunteers()
    for now in range(0, 60, 10):
        living = job.model_copy(update={"joined": True, "at": float(now), "node": "lives"})
        states = {"1": job, "ws-1": killed, "ws-2": living}
        found = [worker.node for worker in volunteers.living(states, 1000.0 + now)]
        assert found == (["", "lives"] if now < 30 else ["lives"])
    assert volunteers.silent == ["ws-1"]


def test_a_requeued_worker_is_not_replaced_while_its_processes_end() -> None:
    job = QueuedJob("1", "COMPLETING", "n1", "None")
    assert change(1, [job], {}, 60) == Change()
    assert change(1, [QueuedJob("1", "COMPLETED", "n1", "None")], {}, 60) == Change(submit=1)


def test_a_job_that_completes_without_end_is_replaced() -> None:
    stuck = StuckJobs()
    jobs = [QueuedJob("1", "COMPLETING", "n1", "None"), QueuedJob("2", "RUNNING", "n2", "None")]
    requeued = QueuedJob("1", "PENDING", "", "BeginTime")
    assert stuck.leave_out(jobs, 0.0) == jobs
    assert stuck.leave_out(jobs, 119.0) == jobs
    assert stuck.leave_out(jobs, 120.0) == jobs[1:]
    assert stuck.leave_out([requeued], 130.0) == [requeued]
    assert stuck.leave_out(jobs, 140.0) == jobs, "the time before its requeue was counted"


def test_the_worker_that_waits_longest_keeps_its_place() -> None:
    jobs = [QueuedJob(str(number), "PENDING", "", "Priority") for number in range(3)]
    assert change(1, jobs, {}, 60).cancel == ("2", "1")


def test_a_worker_that_has_not_joined_is_not_idle() -> None:
    jobs = [QueuedJob("1", "RUNNING", "n1", "None")]
    workers = {"1": WorkerStatus(at=0.0, state=WorkerState.WAITING, idle=1000.0)}
    assert change(0, jobs, workers, 60).release == ()
