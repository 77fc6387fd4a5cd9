"""Read this process's CPU and memory limits from control groups, version 1 and 2.

A container, a SLURM job or a systemd slice may get fewer cores and less memory than the machine
has. Neither the CPU affinity nor /proc/meminfo shows these limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class _Names(NamedTuple):
    """Names of the memory controller's files, and of the page cache in its statistics."""

    limit: str
    used: str
    reclaimable: str


_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")


def cpu_limit(proc: Path = _PROC) -> float | None:
    """Read the CPU quota of this process.

    Args:
        proc: Mount point of procfs.

    Returns:
        The smallest quota of the process's groups in cores, e.g. 1.5; None without a quota.
    """
    quotas = [_quota(folder) for folder, _ in _groups("cpu", proc)]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(proc: Path = _PROC) -> int | None:
    """Read the memory limit of this process's groups in bytes; None without a limit."""
    limits = [_number(folder / names.limit) for folder, names in _groups("memory", proc)]
    total = _meminfo(proc).get("MemTotal")
    # Version 1 writes "no limit" as a number near 2**63.
    known = [limit for limit in limits if limit is not None and (not total or limit < total)]
    return min(known, default=None)


def free_memory(proc: Path = _PROC) -> int | None:
    """Read the memory that this process may still use without swapping or being killed.

    Returns:
        Bytes: the minimum over the machine and each group with a limit. Page cache that the kernel
        can drop counts as free. None without procfs.
    """
    free = [_meminfo(proc).get("MemAvailable")]
    for folder, names in _groups("memory", proc):
        limit, used = _number(folder / names.limit), _number(folder / names.used)
        if limit is not None and used is not None:
            cache = _table(folder / "memory.stat").get(names.reclaimable, 0)
            free.append(max(0, limit - max(0, used - cache)))
    return min((value for value in free if value is not None), default=None)


def oom_kills(proc: Path = _PROC) -> int:
    """Count the processes killed for lack of memory since the machine started.

    Kills by the limit of a control group are included.
    """
    return _table(proc / "vmstat").get("oom_kill", 0)


def _groups(controller: str, proc: Path) -> Iterator[tuple[Path, _Names]]:
    """Yield the folders of this process's groups, innermost first, for one controller."""
    paths = _paths(proc)
    for mount, root, kind, controllers in _mounts(proc):
        if kind == "cgroup2":
            names, path = _VERSION_2, paths.get("")
        elif controller in controllers:
            names, path = _VERSION_1, paths.get(controller)
        else:
            continue
        if path is None:
            continue
        inside = _relative(path, root)
        folder = mount / inside
        for _ in range(len(inside.parts) + 1):
            yield folder, names
            folder = folder.parent


def _relative(path: str, root: str) -> Path:
    """Make a group's path relative to the mount's root, which in a container is not ``/``."""
    try:
        return Path(path).relative_to(root)
    except ValueError:  # the group is not mounted here
        return Path()


def _paths(proc: Path) -> dict[str, str]:
    """Map each controller of version 1 to this process's group; version 2 has the key ``""``."""
    paths: dict[str, str] = {}
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def _mounts(proc: Path) -> Iterator[tuple[Path, str, str, list[str]]]:
    """Yield mount point, root, file system and options of each mounted hierarchy."""
    for line in _lines(proc / "self" / "mountinfo"):
        location, _, source = line.partition(" - ")
        kind, *_, options = source.split()
        if kind in ("cgroup", "cgroup2"):
            root, mount = location.split()[3:5]
            yield Path(mount), root, kind, options.split(",")


def _quota(folder: Path) -> float | None:
    numbers = _lines(folder / "cpu.max")
    if numbers:
        quota, period = numbers[0].split()
        return None if quota == "max" else int(quota) / int(period)
    limit, length = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return limit / length if limit and length and limit > 0 else None


def _meminfo(proc: Path) -> dict[str, int]:
    """Read /proc/meminfo, in bytes."""
    rows = (line.split() for line in _lines(proc / "meminfo"))
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3}


def _table(path: Path) -> dict[str, int]:
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def _number(path: Path) -> int | None:
    """Read a file with one number; None without the file, or for ``max``."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].lstrip("-").isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
