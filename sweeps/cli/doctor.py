"""``care doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from care.system.redaction import redact
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.config import load_cluster
from sweeps.doctor import cluster, machine
from sweeps.doctor.finding import Finding
from sweeps.doctor.tracking import check_tracking
from sweeps.process.terminal import make_console

_STYLE = {"ok": "green", "note": "yellow", "bad": "red"}


def doctor_command(root: Path, cluster_file: Path | None, tracking_uri: str | None) -> int:
    """Check this machine and, with a cluster file, the cluster; print how to fix problems.

    Returns:
        0 if no finding is bad, 1 otherwise.
    """
    console = make_console()
    bad = 0
    for finding in _run_checks(root, cluster_file, tracking_uri):
        bad += finding.verdict == "bad"
        style = _STYLE[finding.verdict]
        verdict = Text(f"{finding.verdict:4s}", style=style)
        console.print(verdict, redact(f" {finding.subject}: {finding.detail}"), soft_wrap=True)
        if finding.fix:
            console.print(redact(f"      → {finding.fix}"), soft_wrap=True)
    return 1 if bad else 0


def _run_checks(root: Path, file: Path | None, tracking_uri: str | None) -> Iterator[Finding]:
    yield from machine.check_python()
    yield from machine.check_packages()
    yield from machine.check_torch()
    yield from machine.check_cores()
    yield from machine.check_store(root)
    yield from machine.check_access(root)
    yield from machine.check_ray()
    if tracking_uri:
        yield from check_tracking(root, tracking_uri)
    else:
        yield from machine.check_mlflow(root)
    if file is None and not commands.available():
        return
    yield from cluster.check_slurm()
    if file is not None and commands.available():
        config = load_cluster(file)
        yield from cluster.check_cluster_file(config, str(file))
        yield from cluster.check_nodes(config, root)
