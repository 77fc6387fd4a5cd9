"""A SLURM cluster: its commands and limits, and what two of its nodes see."""

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
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.validate import check_cluster
from sweeps.doctor.finding import Finding, bad, note, ok

_NEEDED = ("sbatch", "squeue", "sinfo", "scontrol", "scancel", "srun")
_NODES_SECONDS = 50
_CODE = Path(__file__).parents[2]


def slurm() -> Iterator[Finding]:
    """Commands, partitions, limits."""
    missing = [command for command in _NEEDED if shutil.which(command) is None]
    if missing:
        mend = "run this on a login node of the cluster; sweeps run here with 'care sweep run'"
        yield bad("SLURM", f"not found: {', '.join(missing)}", mend)
        return
    try:
        kinds = commands.partitions()
        longest = commands.max_array_size()
        settings = commands.run("scontrol", "show", "config")
    except commands.SlurmError as error:
        yield bad("SLURM", str(error), "the controller has to answer; ask who looks after it")
        return
    names = ", ".join(sorted({f"{kind.name}{'*' if kind.default else ''}" for kind in kinds}))
    yield ok("SLURM", f"partitions {names}; arrays of up to {longest}")
    values = dict(line.partition("=")[::2] for line in settings.splitlines() if "=" in line)
    requeue = {name.strip(): value.strip() for name, value in values.items()}.get("JobRequeue")
    if requeue == "0":
        yield note("requeue", "off by default here; jobs of care ask for it themselves")


def cluster_file(cluster: ClusterConfig, source: str) -> Iterator[Finding]:
    """The cluster file held against the cluster."""
    try:
        check_cluster(cluster, commands.partitions(), source)
    except (ConfigError, commands.SlurmError) as error:
        yield bad("cluster file", str(error), f"mend {source}")
    else:
        yield ok("cluster file", source)


def nodes(cluster: ClusterConfig, store: Path) -> Iterator[Finding]:
    """What two nodes see, or one where no second is free within a minute."""
    place = store.resolve()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as folder:
        (Path(folder) / "marker").touch()
        said = _ask(cluster, Path(folder), 2)
        if not said:
            said = _ask(cluster, Path(folder), 1)
        if isinstance(said, str):
            yield note("nodes", said, "try again when the queue is shorter")
            return
        for facts in said:
            yield from _judge(facts, store, cluster)
        if len(said) < 2:
            yield note("node to node", "not tried: no second node was free", "try again later")


def _judge(facts: dict[str, Any], store: Path, cluster: ClusterConfig) -> Iterator[Finding]:
    node = f"node {facts['node']}"
    if not facts["shared"]:
        yield bad(node, f"does not see {store}", "choose a store on a disk that all nodes share")
    if facts["scratch"]:
        mend = "name a folder of the node's own as scratch in the cluster file"
        yield bad(node, f"scratch {cluster.scratch}: {facts['scratch']}", mend)
    if facts["torch"]:
        yield bad(node, f"torch: {facts['torch']}", "load the right modules under setup")
    if facts.get("connection"):
        mend = "name the right network under interface; ports above 1024 must be open between nodes"
        yield bad("node to node", facts["connection"], mend)
    if not any(facts.get(name) for name in ("scratch", "torch", "connection")) and facts["shared"]:
        reached = ", reaches the other node" if "connection" in facts else ""
        parts = f"{facts['cpus']} cores, {facts['gpus']} GPUs"
        yield ok(node, f"sees the store, {parts}, scratch and torch work{reached}")


def _ask(cluster: ClusterConfig, folder: Path, count: int) -> list[dict[str, Any]] | str:
    """What ``count`` nodes say; a reason when they say nothing, empty when they are not free."""
    asked = cluster.sbatch_options()
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    python = f'exec {cluster.python_command} -m sweeps.doctor.probe "$@"'
    script = "\n".join([*cluster.shell_setup(str(_CODE)), python])
    command = [
        *("srun", "--quiet", "--job-name=care-doctor", "--time=2", f"--nodes={count}"),
        *(f"--ntasks={count}", "--immediate=25", *options),
        *("bash", "-c", script, "probe", str(folder), cluster.scratch, cluster.interface or ""),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NODES_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {_NODES_SECONDS} s" if count == 1 else []
    found = [read_json(folder / f"node-{rank}.json") for rank in range(count)]
    if all(found):
        return [facts for facts in found if facts]
    if count > 1:
        return []
    lines = done.stderr.strip().splitlines() or ["nothing was said"]
    return lines[-1][:200]
