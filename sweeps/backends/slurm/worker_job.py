"""Run a worker job: join the sweep's Ray with a share of a node until no work is left."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sweeps.backends.slurm import commands
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.code_snapshot import check_code
from sweeps.backends.slurm.keeper import Keeper
from sweeps.backends.slurm.network import address_of
from sweeps.backends.slurm.preemption import Deadline, end_of_this_job, this_job
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import PoolFolder
from sweeps.store import Store


def run_worker(store: str, name: str) -> None:
    """Run the job: leave when no work is left, requeue when the wall time is almost over."""
    folder = PoolFolder(Store(Path(store)), name)
    request = folder.request()
    check_code(request.code)
    cluster = request.cluster
    deadline = Deadline(end_of_this_job(), cluster.grace_seconds)
    deadline.watch_signals()
    job_id = this_job()
    ray_log = folder.jobs / f"ray-worker-{job_id}.log"
    with RayNode(cluster.scratch, address_of(cluster.interface), folder.token, ray_log) as ray:
        keeper = Keeper(folder, job_id, ray, deadline, cluster, Allocation.of_this_job())
        keeper.run()
    if deadline.passed == "time" and folder.head().left and not folder.request().cancel:
        # If requeueing is not allowed, the head submits another worker.
        with contextlib.suppress(commands.SlurmError):
            commands.requeue(job_id)
