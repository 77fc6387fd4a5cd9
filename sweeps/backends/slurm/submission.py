"""Submit jobs through submitit."""

from __future__ import annotations

import os
from typing import Any, Protocol

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from sweeps.backends.slurm import commands
from sweeps.backends.slurm.config import JobConfig
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
        request: The submission.
        job: Function that the job calls.

    Returns:
        Its identity in SLURM.

    Raises:
        SlurmError: SLURM refused; quotes its message.
    """
    executor = _executor(folder, request, request.cluster.head_job(), "head")
    return _submit(lambda: [executor.submit(job, *_place(folder))])[0]


def submit_workers(folder: PoolFolder, request: Request, count: int, job: Job) -> list[str]:
    """Submit workers, in arrays as long as SLURM allows.

    Args:
        folder: The sweep's files.
        request: The submission.
        count: Number of workers.
        job: Function that each job calls.

    Returns:
        Their identities in SLURM.

    Raises:
        SlurmError: SLURM refused; quotes its message.
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
    """Remove the variables of this process's job, which sbatch and srun would obey."""
    for name in list(os.environ):
        if name.startswith(_INHERITED) and name not in _KEPT:
            del os.environ[name]


def _place(folder: PoolFolder) -> tuple[str, str]:
    """Return the store's root and the sweep's name, by which a job opens both."""
    return str(folder.store.root), folder.name


def _submit(action: Any) -> list[str]:
    try:
        return [str(job.job_id) for job in action()]
    except FailedJobError as error:
        lines = str(error).strip().splitlines()
        message = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
        raise commands.SlurmError(message.strip()) from error


def _executor(folder: PoolFolder, request: Request, job: JobConfig, role: Any) -> SlurmExecutor:
    cluster = request.cluster
    options = {"requeue": True, **job.options}
    executor = SlurmExecutor(folder=folder.jobs, python=job.python_command)
    executor.update_parameters(
        **job.sbatch_options(),
        job_name=folder.job_name(role),
        time=job.time,
        nodes=1,
        ntasks_per_node=1,
        setup=job.shell_setup(request.code),
        # Since SLURM 22.05 srun does not inherit this option from sbatch.
        srun_args=[f"--cpus-per-task={job.cpus}", *job.srun_arguments()],
        signal_delay_s=cluster.grace_seconds,
        stderr_to_stdout=True,
        additional_parameters={k: value for k, value in options.items() if value is not False},
    )
    return executor
