"""Call SLURM's commands, each with a time limit for a controller that does not answer.

Neither ``sacct`` nor a database is needed.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from care.errors import CareError
from sweeps.backends.slurm.durations import parse_duration

_SECONDS = 30.0
_START = re.compile(r"to start at (\d{4}-\d\d-\d\dT[\d:]+)")
_PENDING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
# Stopped processes, which may continue at any time.
_SUSPENDED = ("SUSPENDED", "STOPPED")
_RUNNING = ("RUNNING", "RESIZING", "SIGNALING")
# Ended jobs, which squeue still lists for a while.
_OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED", "LAUNCH_FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "RECONFIG_FAIL", "REVOKED", "STAGE_OUT", "TIMEOUT"),
)


class SlurmError(CareError):
    """A command of SLURM failed or does not exist."""


@dataclass(frozen=True)
class QueuedJob:
    """A job, or one task of an array, in the queue.

    Attributes:
        job_id: ``123`` or ``123_4``.
        state: SLURM's state: ``PENDING``, ``RUNNING``, ``COMPLETING``, …
        node: Its node, or an empty string.
        reason: SLURM's reason why it waits.
    """

    job_id: str
    state: str
    node: str
    reason: str

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.state in _RUNNING

    @property
    def suspended(self) -> bool:
        """Whether it keeps its share of the node while its processes are stopped."""
        return self.state in _SUSPENDED

    @property
    def present(self) -> bool:
        """Whether it runs, or may run again without a new submission.

        True for a pre-empted job in its grace time, for a requeued one, and for states of a newer
        SLURM that are unknown here. Not known of a job that is ``completing``.
        """
        return self.state not in _OVER

    @property
    def completing(self) -> bool:
        """Whether SLURM ends its processes, after which it is over or waits in the queue again."""
        return self.state == "COMPLETING"

    @property
    def held_back(self) -> bool:
        """Whether it waits only for its begin time, as after a requeue."""
        return self.pending and self.reason == "BeginTime"

    @property
    def pending(self) -> bool:
        """Whether it waits to run, for the first time or again."""
        return self.state in _PENDING


@dataclass(frozen=True)
class Partition:
    """One kind of node in a partition, as in sinfo.

    Attributes:
        name: The partition.
        default: Whether it gets the jobs that name no partition.
        up: Whether it takes jobs.
        minutes: Longest wall time; None for no limit.
        cpus: Cores of a node.
        memory_mb: Memory of a node.
        gpus: GPUs of a node.
        features: Allowed values of ``constraint``.
        nodes: Number of nodes of this kind.
    """

    name: str
    default: bool
    up: bool
    minutes: int | None
    cpus: int
    memory_mb: int
    gpus: int
    features: tuple[str, ...]
    nodes: int


def available() -> bool:
    """Check whether this machine has SLURM's commands."""
    return shutil.which("sbatch") is not None and shutil.which("squeue") is not None


def run(*command: str) -> str:
    """Run a command and return its output.

    Raises:
        SlurmError: It failed, took too long or does not exist; quotes its message.
    """
    return _ask(command).stdout


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except FileNotFoundError as error:
        raise SlurmError(f"{command[0]}: no such command; is this a SLURM node?") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]}: no answer within {_SECONDS:.0f} s") from error
    if done.returncode:
        message = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise SlurmError(f"{command[0]}: {message}")
    return done


def expected_start(options: Mapping[str, str | int], minutes: int) -> datetime | None:
    """Ask the queue when a job would start (``sbatch --test-only``); nothing is submitted.

    Args:
        options: Options of sbatch by name, with underscores.
        minutes: Wall time of the job.

    Returns:
        The local time; None if the answer has no time.

    Raises:
        SlurmError: The queue refuses such a job, or does not answer.
    """
    named = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = ["sbatch", "--test-only", f"--time={minutes}", *named, "--wrap=true"]
    found = _START.search(_ask(command).stderr)  # not standard output
    return datetime.fromisoformat(found[1]).astimezone() if found else None


def jobs_named(name: str) -> list[QueuedJob]:
    """List this user's jobs of that name, each task of an array separately."""
    form = "%i|%T|%N|%r"
    lines = run(
        "squeue", "--noheader", "--array", f"--user={os.getuid()}", f"--name={name}",
        f"--format={form}",
    )  # fmt: skip
    return [QueuedJob(*map(str.strip, line.split("|", 3))) for line in lines.splitlines() if line]


def cancel(job_ids: list[str]) -> None:
    """Cancel jobs; ignore those that have ended."""
    if job_ids:
        run("scancel", "--quiet", *job_ids)


def requeue(job_id: str) -> None:
    """Put a running job back into the queue, which ends its processes."""
    run("scontrol", "requeue", job_id)


def start_now(job_id: str) -> None:
    """Clear the begin time of a requeued job, which SLURM sets two minutes ahead."""
    run("scontrol", "update", f"JobId={job_id}", "StartTime=now")


def partitions() -> list[Partition]:
    """List the partitions of the cluster, once for each kind of node."""
    form = "%R|%P|%a|%l|%c|%m|%G|%f|%D"
    lines = run("sinfo", "--noheader", f"--format={form}").splitlines()
    return [_partition(line) for line in lines if line]


def _partition(line: str) -> Partition:
    name, starred, up, limit, cpus, memory, gres, features, nodes = line.split("|")
    seconds = parse_duration(limit)
    return Partition(
        name,
        starred.endswith("*"),
        up == "up",
        None if seconds is None else seconds // 60,
        _number(cpus),
        _number(memory),
        count_gpus(gres),
        tuple(feature for feature in features.split(",") if feature != "(null)"),
        _number(nodes),
    )


def _number(text: str) -> int:
    """Parse ``8`` and ``8+``."""
    return int(text.strip().rstrip("+") or 0)


def count_gpus(gres: str) -> int:
    """Count the GPUs of ``gpu:a100:4(S:0-1)``, ``gpu:2,lustre:1`` or ``(null)``."""
    count = 0
    for entry in gres.split(","):
        parts = entry.partition("(")[0].split(":")
        if parts[0] == "gpu":
            count += int(parts[-1]) if parts[-1].isdigit() else 1
    return count


@functools.cache
def max_array_size() -> int:
    """Return the number of tasks that one array may have; 1 if it is unknown."""
    for line in run("scontrol", "show", "config").splitlines():
        field, _, value = line.partition("=")
        if field.strip() == "MaxArraySize":
            return max(1, int(value) - 1)  # the limit of the highest index
    return 1
