"""CPU and memory limits of control groups, in the files that the kernel shows them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from care.system.cgroup import cpu_limit, free_memory, memory_limit, oom_kills

MIB = 1024**2


class Machine:
    """A machine of 24 GiB, of which 20 are free, with groups as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self._sys = folder / "proc", folder / "sys"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "meminfo").write_text(
            f"MemTotal: {24 * 1024**2} kB\nMemAvailable: {20 * 1024**2} kB\nHugePages_Total: 0\n"
        )
        (self.proc / "vmstat").write_text("pgfault 12\noom_kill 3\n")
        self._mounts: list[str] = []
        self._paths: list[str] = []

    def mount(self, name: str, options: str, *, root: str = "/", path: str = "/") -> Path:
        """Mount a hierarchy in which this process is in the group ``path``."""
        point = self._sys / name
        point.mkdir(parents=True, exist_ok=True)
        kind = "cgroup2" if name == "unified" else "cgroup"
        number = len(self._mounts)
        controllers = "" if kind == "cgroup2" else options.removeprefix("rw,")
        self._mounts.append(
            f"{number} 1 0:{number} {root} {point} rw shared:9 - {kind} x {options}"
        )
        self._paths.append(f"{number}:{controllers}:{path}")
        (self.proc / "self" / "mountinfo").write_text("\n".join(self._mounts) + "\n")
        (self.proc / "self" / "cgroup").write_text("\n".join(self._paths) + "\n")
        return point


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def group(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


def test_a_machine_without_groups_has_no_limits(machine: Machine) -> None:
    assert cpu_limit(machine.proc) is None
    assert memory_limit(machine.proc) is None
    assert free_memory(machine.proc) == 20 * 1024 * MIB
    assert oom_kills(machine.proc) == 3


def test_without_procfs_nothing_is_known(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) is None
    assert memory_limit(tmp_path) is None
    assert free_memory(tmp_path) is None
    assert oom_kills(tmp_path) == 0


def test_version_2_has_the_smallest_limit_of_all_groups_above(machine: Machine) -> None:
    top = machine.mount("unified", "rw", path="/user.slice/job.scope")
    group(top / "user.slice", cpu__max="150000 100000", memory__max=2048 * MIB)
    group(top / "user.slice", memory__current=1024 * MIB, memory__stat=f"inactive_file {24 * MIB}")
    group(top / "user.slice" / "job.scope", cpu__max="max 100000", memory__max="max")
    assert cpu_limit(machine.proc) == 1.5
    assert memory_limit(machine.proc) == 2048 * MIB
    assert free_memory(machine.proc) == 1048 * MIB


def test_version_1_has_a_hierarchy_for_each_controller(machine: Machine) -> None:
    cpu = machine.mount("cpu,cpuacct", "rw,cpu,cpuacct", path="/job")
    memory = machine.mount("memory", "rw,memory", path="/job/step")
    group(cpu / "job", cpu__cfs_quota_us=100000, cpu__cfs_period_us=100000)
    group(cpu, cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    unlimited = 9223372036854771712
    group(memory, memory__limit_in_bytes=unlimited, memory__usage_in_bytes=MIB)
    group(memory / "job", memory__limit_in_bytes=900 * MIB, memory__usage_in_bytes=500 * MIB)
    group(memory / "job", memory__stat=f"total_inactive_file {100 * MIB}\ncache {300 * MIB}")
    group(memory / "job" / "step", memory__limit_in_bytes=unlimited)
    assert cpu_limit(machine.proc) == 1.0
    assert memory_limit(machine.proc) == 900 * MIB
    assert free_memory(machine.proc) == 500 * MIB


def test_a_container_sees_its_own_group_as_the_top(machine: Machine) -> None:
    """Docker mounts the container's group; the process' path names it from the host's top."""
    top = machine.mount("unified", "rw", root="/docker/1a2b", path="/docker/1a2b")
    group(top, cpu__max="50000 100000", memory__max=512 * MIB)
    assert cpu_limit(machine.proc) == 0.5
    assert memory_limit(machine.proc) == 512 * MIB


def test_a_group_outside_of_the_namespace_counts_as_the_top(machine: Machine) -> None:
    top = machine.mount("unified", "rw", root="/docker/1a2b", path="/../other")
    group(top, cpu__max="200000 100000")
    assert cpu_limit(machine.proc) == 2.0


def test_more_in_use_than_allowed_leaves_nothing(machine: Machine) -> None:
    top = machine.mount("unified", "rw")
    group(top, memory__max=100 * MIB, memory__current=120 * MIB)
    assert free_memory(machine.proc) == 0
