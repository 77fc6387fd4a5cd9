"""Submission through submitit."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any, Protocol

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from care import plugins
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.config import ClusterConfig, JobConfig
from sweeps.backends.slurm.state_files import PoolFolder, Request

_INHERITED = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_")
_KEPT = ("SLURM_CONF",)


class Job(Protocol):
    """A function of a module, which submitit pickles by its name and a job calls."""

    def __call__(self, store: str, name: str) -> object:
        """Run the job.

        Args:
            store: Root of the store.
            name: Name of the sweep.
        """


def submit_driver(folder: PoolFolder, request: Request, job: Job) -> str:
    """Submit the job of the driver and of Ray's head.

    Args:
        folder: The sweep's files.
        request: What to ask SLURM for.
        job: Called there.

    Returns:
        Its identity in SLURM.

    Raises:
        SlurmError: SLURM refused; says what it said.
    """
    cluster = request.cluster
    shared = cluster.model_dump(include={"partition", "account", "qos"})
    own = cluster.head.model_dump(exclude_none=True)
    head = JobConfig.model_validate({**shared, **own})
    executor = _executor(folder, request, head, "head")
    return _submit(lambda: [executor.submit(job, *_place(folder))])[0]


def submit_workers(folder: PoolFolder, request: Request, count: int, job: Job) -> list[str]:
    """Submit workers, in arrays as long as SLURM allows.

    Args:
        folder: The sweep's files.
        request: What to ask SLURM for.
        count: Number of workers.
        job: Called in each.

    Returns:
        Their identities in SLURM.

    Raises:
        SlurmError: SLURM refused; says what it said.
    """
    executor = _executor(folder, request, request.cluster, "worker")
    longest = commands.max_array_size()
    submitted: list[str] = []
    while len(submitted) < count:
        chunk = min(longest, count - len(submitted))
        stores, names = zip(*[_place(folder)] * chunk, strict=True)
        submitted += _submit(lambda: executor.map_array(job, stores, names))  # noqa: B023
    return submitted


def leave_job_environment() -> None:
    """Forget the variables of the job that this process runs in: sbatch and srun obey them."""
    for name in list(os.environ):
        if name.startswith(_INHERITED) and name not in _KEPT:
            del os.environ[name]


def _place(folder: PoolFolder) -> tuple[str, str]:
    """Root of the store and name of the sweep, for a job to find both."""
    return str(folder.path.parents[2]), folder.name


def _submit(action: Any) -> list[str]:
    try:
        return [str(job.job_id) for job in action()]
    except FailedJobError as error:
        lines = str(error).strip().splitlines()
        said = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
        raise commands.SlurmError(said.strip()) from error


def _executor(folder: PoolFolder, request: Request, job: JobConfig, role: Any) -> SlurmExecutor:
    cluster = request.cluster
    python = cluster.python or shlex.quote(sys.executable)
    executor = SlurmExecutor(folder=folder.jobs, python=python)
    asked = {
        "job_name": folder.job_name(role),
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
        "time": job.time,
        "cpus_per_task": job.cpus,
        "mem": f"{round(job.memory_gb * 1024)}MB" if job.memory_gb else None,
        "gpus_per_node": job.gpus or None if isinstance(job, ClusterConfig) else None,
    }
    executor.update_parameters(
        **{name: value for name, value in asked.items() if value is not None},
        nodes=1,
        ntasks_per_node=1,
        setup=[*_environment(request), *cluster.setup],
        # Since SLURM 22.05 srun does not take this over from sbatch.
        srun_args=[f"--cpus-per-task={job.cpus}"],
        signal_delay_s=cluster.grace_seconds,
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, **job.options},
    )
    return executor


def _environment(request: Request) -> list[str]:
    return [
        f"export PYTHONPATH={shlex.quote(request.code)}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export RAY_USAGE_STATS_ENABLED=0",
        # A cluster may be set to pass no environment on.
        f"export {plugins.VARIABLE}={shlex.quote(','.join(plugins.plugin_modules()))}",
    ]
