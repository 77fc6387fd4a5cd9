"""Checks of a SLURM cluster: its commands, its partitions and two of its nodes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from care.errors import ConfigError
from care.system.files import read_json
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.code_snapshot import take_snapshot
from sweeps.backends.slurm.config import ClusterConfig, JobConfig
from sweeps.backends.slurm.job_output import find_reason
from sweeps.backends.slurm.validate import check_cluster
from sweeps.doctor.finding import Finding, bad, note, ok
from sweeps.store_access import make_root

_COMMANDS = ("sbatch", "squeue", "sinfo", "scontrol", "scancel", "srun")
_NODES_SECONDS = 50
_BUSY = ("Unable to allocate resources", "Requested node configuration", "Job violates")
_FIX_PYTHON = "correct python and setup in the cluster file; a container must see the store"


class _FailedCheck(Exception):  # noqa: N818
    """Python did not start on a node; holds the reason."""


def check_slurm() -> Iterator[Finding]:
    """Check the commands, the controller and the partitions."""
    missing = [command for command in _COMMANDS if shutil.which(command) is None]
    if missing:
        fix = "run this on a login node of the cluster; sweeps run here with 'care sweep run'"
        yield bad("SLURM", f"not found: {', '.join(missing)}", fix)
        return
    try:
        partitions = commands.partitions()
        longest = commands.max_array_size()
        settings = commands.run("scontrol", "show", "config")
    except commands.SlurmError as error:
        yield bad("SLURM", str(error), "the controller must answer; ask the cluster's admins")
        return
    names = {f"{partition.name}{'*' if partition.default else ''}" for partition in partitions}
    yield ok("SLURM", f"partitions {', '.join(sorted(names))}; arrays of up to {longest}")
    values = dict(line.partition("=")[::2] for line in settings.splitlines() if "=" in line)
    requeue = {name.strip(): value.strip() for name, value in values.items()}.get("JobRequeue")
    if requeue == "0":
        yield note("requeue", "off by default here; jobs of care ask for it themselves")


def check_cluster_file(cluster: ClusterConfig, source: str) -> Iterator[Finding]:
    """Check the cluster file against the cluster's partitions."""
    try:
        check_cluster(cluster, commands.partitions(), source)
    except (ConfigError, commands.SlurmError) as error:
        yield bad("cluster file", str(error), f"edit {source}")
    else:
        yield ok("cluster file", source)


def check_nodes(cluster: ClusterConfig, store: Path) -> Iterator[Finding]:
    """Run checks on two nodes, or on one if no second is free within a minute."""
    parent = store.resolve()
    make_root(parent)
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=parent) as folder:
        (Path(folder) / "marker").touch()
        check = _NodeCheck(cluster, Path(folder))
        try:
            reports = check.run(cluster, 2) or check.run(cluster, 1)
        except _FailedCheck as failure:
            yield bad("nodes", str(failure), _FIX_PYTHON)
            return
        if isinstance(reports, str):
            yield note("nodes", reports, "try again when the queue is shorter")
            return
        for facts in reports:
            yield from _judge(facts, store, cluster)
        if len(reports) < 2:
            yield note("node to node", "not tried: no second node was free", "try again later")
        yield from _check_head(check, cluster, reports[0])


def _check_head(
    check: _NodeCheck, cluster: ClusterConfig, worker: dict[str, Any]
) -> Iterator[Finding]:
    """Check the Python of the driver job: it calls SLURM, and its Ray must be that of workers."""
    head, facts = cluster.head_job(), worker
    if (head.python, head.setup, head.srun) != (cluster.python, cluster.setup, cluster.srun):
        try:
            reports = check.run(head, 1)
        except _FailedCheck as failure:
            yield bad("head", str(failure), _FIX_PYTHON.replace("python and setup", "head.python"))
            return
        if isinstance(reports, str):
            yield note("head", reports, "try again when the queue is shorter")
            return
        facts = reports[0]
    if facts["slurm"]:
        fix = "bind SLURM's commands into the container, or name another Python as head.python"
        yield bad("head", f"its Python {facts['slurm']}", fix)
    for name in ("python", "ray"):
        if facts[name] != worker[name]:
            found = f"{name} {facts[name] or 'none'}, workers have {worker[name] or 'none'}"
            yield bad("head", found, "the head and the workers need equal versions")


def _judge(facts: dict[str, Any], store: Path, cluster: ClusterConfig) -> Iterator[Finding]:
    node = f"node {facts['node']}"
    if not facts["shared"]:
        yield bad(node, f"does not see {store}", "choose a store on a disk that all nodes share")
    if facts["scratch"]:
        fix = "name a folder of the node's own as scratch in the cluster file"
        yield bad(node, f"scratch {cluster.scratch}: {facts['scratch']}", fix)
    if facts["torch"]:
        yield bad(node, f"torch: {facts['torch']}", "load the right modules under setup")
    if facts.get("connection"):
        fix = "name the right network under interface; ports above 1024 must be open between nodes"
        yield bad("node to node", facts["connection"], fix)
    if not any(facts.get(name) for name in ("scratch", "torch", "connection")) and facts["shared"]:
        reached = ", reaches the other node" if "connection" in facts else ""
        parts = f"{facts['cpus']} cores, {facts['gpus']} GPUs"
        yield ok(node, f"sees the store, {parts}, scratch and torch work{reached}")


class _NodeCheck:
    """Runs :mod:`sweeps.doctor.node_check` on some nodes, with a copy of this code.

    Args:
        cluster: The cluster file.
        folder: Folder in the store for the copy and the nodes' reports.
    """

    def __init__(self, cluster: ClusterConfig, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self._code = str(take_snapshot(folder / "code"))

    def run(self, job: JobConfig, count: int) -> list[dict[str, Any]] | str:
        """Check as many nodes.

        Returns:
            Each node's report; empty if two nodes were wanted and are not free; the reason if the
            only node was not free.

        Raises:
            _FailedCheck: Python did not start, or ended without a report.
        """
        for report in self._folder.glob("*.json"):
            report.unlink()
        command = self._command(job, count)
        try:
            srun = subprocess.run(command, capture_output=True, text=True, timeout=_NODES_SECONDS)
        except subprocess.TimeoutExpired:
            return f"no answer within {_NODES_SECONDS} s" if count == 1 else []
        reports = [read_json(self._folder / f"node-{rank}.json") for rank in range(count)]
        if all(reports):
            return [facts for facts in reports if facts]
        lines = srun.stderr.strip().splitlines() or ["srun printed no reason"]
        started = not any(word in srun.stderr for word in _BUSY)
        if started and srun.returncode and (reason := find_reason(lines)):
            raise _FailedCheck(reason)
        return lines[-1][:200] if count == 1 else []

    def _command(self, job: JobConfig, count: int) -> list[str]:
        requested = job.sbatch_options()
        options = [f"--{name.replace('_', '-')}={value}" for name, value in requested.items()]
        check = f'{job.python_command} -m sweeps.doctor.node_check "$@"'
        script = "\n".join([*job.shell_setup(self._code), f"exec {check}"])
        arguments = [str(self._folder), self._cluster.scratch, self._cluster.interface or ""]
        return [
            *("srun", "--quiet", "--job-name=care-doctor", "--time=2", f"--nodes={count}"),
            *(f"--ntasks={count}", "--immediate=25", *options, *job.srun_arguments()),
            *("bash", "-c", script, "node_check", *arguments),
        ]
