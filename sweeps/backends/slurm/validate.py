"""Compare a cluster file with the partitions of the cluster, before anything is submitted."""

from __future__ import annotations

from collections.abc import Sequence

from care.errors import ConfigError, Problem, nearest
from sweeps.backends.slurm.commands import Partition
from sweeps.backends.slurm.config import ClusterConfig, JobConfig


def check_cluster(cluster: ClusterConfig, partitions: Sequence[Partition], source: str) -> None:
    """Refuse jobs that no node can hold.

    Args:
        cluster: The cluster file.
        partitions: The partitions of sinfo.
        source: Name of the file, for the message.

    Raises:
        ConfigError: Names each wrong field, what there is, and the nearest name.
    """
    problems = _problems(cluster, cluster.gpus, partitions, "")
    problems += _problems(cluster.head_job(), 0, partitions, "head.")
    if problems:
        raise ConfigError(source, problems)


def _problems(
    job: JobConfig, gpus: int, partitions: Sequence[Partition], prefix: str
) -> list[Problem]:
    named = {name: [kind for kind in partitions if _named(kind, name)] for name in job.partitions}
    unknown = [name for name, kinds in named.items() if not kinds]
    if unknown:
        return [_unknown_partition(name, partitions, prefix) for name in unknown]
    if not any(kind.up for kinds in named.values() for kind in kinds):
        up = sorted({kind.name for kind in partitions if kind.up})
        allowed = f"allowed: a partition that is up ({', '.join(up) or 'none is'})"
        return [Problem(f"{prefix}partition", job.partition, allowed)]
    # Many sites refuse a job that one of its partitions cannot hold; elsewhere it waits there.
    problems = [found for kinds in named.values() for found in _limits(job, gpus, kinds, prefix)]
    features = {feature for kinds in named.values() for kind in kinds for feature in kind.features}
    if job.constraint and job.constraint.isidentifier() and job.constraint not in features:
        names = ", ".join(sorted(features)) or "none: this partition's nodes have no features"
        close = nearest(job.constraint, features)
        problems.append(Problem(f"{prefix}constraint", job.constraint, f"allowed: {names}", close))
    return problems


def _named(kind: Partition, name: str | None) -> bool:
    return kind.default if name is None else kind.name == name


def _unknown_partition(name: str | None, partitions: Sequence[Partition], prefix: str) -> Problem:
    names = sorted({kind.name for kind in partitions})
    if name is None:
        allowed = f"allowed: one of {', '.join(names)}; this cluster has no default partition"
        return Problem(f"{prefix}partition", name, allowed)
    return Problem(f"{prefix}partition", name, f"allowed: {', '.join(names)}", nearest(name, names))


def _limits(job: JobConfig, gpus: int, kinds: Sequence[Partition], prefix: str) -> list[Problem]:
    """List the fields that exceed a partition's largest node or its time limit."""
    where = f"a node of partition {kinds[0].name}"
    problems = []
    most_gpus = max(kind.gpus for kind in kinds)
    if gpus > most_gpus:
        problems.append(Problem("gpus", gpus, f"allowed: at most {most_gpus}, those of {where}"))
    most_cpus = max(kind.cpus for kind in kinds if kind.gpus >= min(gpus, most_gpus))
    if job.cpus > most_cpus:
        allowed = f"allowed: at most {most_cpus}, those of {where}"
        problems.append(Problem(f"{prefix}cpus", job.cpus, allowed))
    most_memory = max(kind.memory_mb for kind in kinds) / 1024
    if job.memory_gb and job.memory_gb > most_memory:
        allowed = f"allowed: at most {most_memory:.1f}, the memory of {where}"
        problems.append(Problem(f"{prefix}memory_gb", job.memory_gb, allowed))
    limits = [kind.minutes for kind in kinds]
    longest = None if None in limits else max(limit for limit in limits if limit is not None)
    if longest is not None and job.time > longest:
        allowed = f"allowed: at most {longest} minutes, the limit of partition {kinds[0].name}"
        problems.append(Problem(f"{prefix}time", job.time, allowed))
    return problems
