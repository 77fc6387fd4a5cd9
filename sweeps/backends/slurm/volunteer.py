"""Join a sweep's running pool from any machine that shares its store, and leave again.

The keeper is that of a worker's job. What differs is checked first: a job gets its code, its
resources and its paths from the submission, a volunteer has its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from care.errors import CareError, ConfigError, Problem
from care.trials.records import StoreRecord, read_record
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.code_snapshot import needed_versions
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.keeper import Keeper
from sweeps.backends.slurm.network import address_towards, answers
from sweeps.backends.slurm.preemption import Deadline, end_of_this_job
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, Request
from sweeps.process.signals import Interrupt
from sweeps.resources import count_gpus
from sweeps.store import Store

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_ALIVE_SECONDS = 20.0  # the head writes its status every two seconds


def wait_for_head(folder: PoolFolder, request: Request, interrupt: Interrupt) -> Head | None:
    """Wait until a head runs, and for a sign of life of it in this folder.

    Returns:
        The head; None when interrupted.

    Raises:
        CareError: The sweep does not run, or this folder is not the one that its head writes.
    """
    start, waiting = time.monotonic(), False
    while not interrupt.requested:
        head, request = folder.head(), folder.request()
        if request.cancel or head.state == HeadState.ENDED:
            why = "is cancelled" if request.cancel else "has ended"
            raise CareError(f"{folder.name} {why}. Start it, then join: {request.command}")
        if head.state == HeadState.RUNNING:
            return head if _shows_life(folder, request, interrupt) else None
        if not waiting:
            _log.info("%s has no head yet; waiting for it. Ctrl-C ends the wait.", folder.name)
            waiting = True
        if time.monotonic() - start > request.cluster.wait_seconds:
            raise CareError(
                f"{folder.name} had no head for {request.cluster.wait_seconds} s (wait_seconds). "
                f"See care sweep status {folder.name}; to start it: {request.command}"
            )
        time.sleep(_LOOK_SECONDS)
    return None


def _shows_life(folder: PoolFolder, request: Request, interrupt: Interrupt) -> bool:
    """Check that the head's status changes here: in a copy of the store it does not.

    Returns:
        False when interrupted.
    """
    first, end = folder.status(), time.monotonic() + _ALIVE_SECONDS
    while not interrupt.requested:
        status = folder.status()
        if status and (first is None or status.at != first.at):
            return True
        if time.monotonic() > end:
            node = f" on {first.node}" if first else ""
            raise CareError(
                f"{folder.path}/status.json has not changed for {_ALIVE_SECONDS:.0f} s, though the "
                f"head{node} writes it every two. Either that head was killed, then start another: "
                f"{request.command}. Or this folder is a copy, then name the store itself: --store"
            )
        time.sleep(_LOOK_SECONDS)
    return False


def find_same_store(folder: PoolFolder) -> PoolFolder:
    """Open the pool by the path of its submission, which trials get in messages.

    Raises:
        CareError: There is another store here at that path, or none.
    """
    here, there = folder.store.root, Path(folder.request().store)
    if here == there:
        return folder
    ours, theirs = _store_uuid(here), _store_uuid(there)
    if theirs and ours == theirs:
        return PoolFolder(Store(there), folder.name)
    found = "another store" if theirs else "no store"
    raise CareError(
        f"{folder.name} was submitted with the store at {there}, and its trials get paths below "
        f"that. On this machine {found} is there, and this one at {here}. Give it the same path, "
        f"e.g. by a link: mkdir -p {there.parent} && ln -s {here} {there}"
    )


def _store_uuid(root: Path) -> str:
    """Read the identity of a store; empty if none is there."""
    with contextlib.suppress(CareError, OSError):
        record = read_record(root / "store.json", StoreRecord)
        return (record and record.uuid) or ""
    return ""


def check_versions(head: Head) -> None:
    """Refuse a Python, Ray or torch that differs from the head's.

    Raises:
        CareError: Names the versions that differ.
    """
    own = needed_versions()
    if differing := [text for text in head.versions if text not in own]:
        raise CareError(
            f"the head has {', '.join(head.versions)}, and this machine {', '.join(own)}. Use an "
            f"environment with {', '.join(differing)}; this one is {sys.prefix}"
        )


def check_reachable(head: Head) -> None:
    """Refuse a head that this machine cannot reach.

    Raises:
        CareError: Names its address and port.
    """
    if not answers(head.address):
        host, _, port = head.address.rpartition(":")
        raise CareError(
            f"the head does not answer at {host}, port {port}. This machine must reach it, and the "
            "head this machine, on every port: check the network and firewalls between them"
        )


def check_place(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a shell of an allocation that is not on its node, as after ``salloc`` at many sites.

    Raises:
        CareError: Gives the command that starts it there.
    """
    if environment.get("SLURM_JOB_ID") and "SLURMD_NODENAME" not in environment:
        raise CareError(
            f"this shell belongs to SLURM's job {environment['SLURM_JOB_ID']} on "
            f"{environment.get('SLURM_JOB_NODELIST', 'a node')}, but runs on {socket.gethostname()}"
            ", outside of the allocation. Start the worker in it: srun --pty care worker …"
        )


def offer(head: Head, cores: int | None, gpus: int | None) -> Allocation:
    """Choose this machine's share for trials: the allocation, or what is visible, or less.

    Args:
        head: Head whose trials it is for.
        cores: Cores to give; None for all.
        gpus: GPUs to give; None for all.

    Raises:
        ConfigError: There are fewer, or no trial fits.
    """
    all_gpus = count_gpus() if head.gpus and gpus != 0 else 0
    present = Allocation.of_this_job() if _in_job() else Allocation.of_this_machine(all_gpus)
    _check("--cores", cores, present.cpus, "cores")
    _check("--gpus", gpus, present.gpus, "GPUs")
    given = present.part(cores or present.cpus, present.gpus if gpus is None else gpus)
    if not head.gpus:
        given = given.part(given.cpus, 0)
    if not head.slots(given.cpus, given.gpus):
        needed = f"{head.threads} of the cores and {head.gpus:g} of the GPUs"
        raise CareError(
            f"a trial of this sweep needs {needed}; this worker would have {given.cpus} and "
            f"{given.gpus}. It has not joined"
        )
    return given


def _in_job() -> bool:
    return "SLURM_JOB_ID" in os.environ


def _check(option: str, wanted: int | None, present: int, what: str) -> None:
    if wanted is not None and wanted > present:
        allowed = f"allowed: at most {present}, the {what} of this machine or allocation"
        raise ConfigError("care worker", [Problem(option, wanted, allowed)])


@contextlib.contextmanager
def only_worker(*, whole: bool) -> Iterator[None]:
    """Hold this machine, or this allocation, for one worker while entered.

    Args:
        whole: Whether the worker takes all of it; one that takes a named part may be the second.

    Raises:
        CareError: Another worker has it.
    """
    # A name of the kernel's, without a file: it is free again once its holder is killed.
    name = f"\0care-worker-{os.geteuid()}-{os.environ.get('SLURM_JOB_ID', '')}"
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(name)
        except OSError as error:
            if whole:
                raise CareError(
                    "another worker has this machine already. Start a second one with its part "
                    "of the cores, and of the GPUs: --cores N --gpus N"
                ) from error
        yield


def run_volunteer(folder: PoolFolder, head: Head, given: Allocation, interrupt: Interrupt) -> None:
    """Train trials here until the sweep ends, this job's time is over, or a signal arrives."""
    cluster = folder.request().cluster
    deadline = Deadline(end_of_this_job() if _in_job() else None, cluster.grace_seconds)
    interrupt.on_request(deadline.end)
    name = f"{socket.gethostname()}-{os.getpid()}"
    log = folder.jobs / f"ray-worker-{name}.log"
    try:
        with RayNode(_scratch(cluster), address_towards(head.address), folder.token, log) as ray:
            Keeper(folder, name, ray, deadline, cluster, given, joined=True).run()
    finally:
        folder.remove_worker(name)


def _scratch(cluster: ClusterConfig) -> str:
    """Return the pool's local folder, or /tmp where this machine has no such folder."""
    return cluster.scratch if os.access(cluster.scratch, os.W_OK | os.X_OK) else "/tmp"
