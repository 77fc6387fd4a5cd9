"""``care doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from sweeps.backends.slurm import commands
from sweeps.backends.slurm.config import load_cluster
from sweeps.doctor import cluster, machine
from sweeps.doctor.finding import Finding
from sweeps.process.terminal import make_console

_STYLE = {"ok": "green", "note": "yellow", "bad": "red"}


def doctor_command(root: Path, cluster_file: Path | None, tracking_uri: str | None) -> int:
    """Check this machine and, with a cluster file, the cluster; say how to mend what is wrong.

    Returns:
        0 when nothing is bad, 1 otherwise.
    """
    console = make_console()
    bad = 0
    for finding in _findings(root, cluster_file, tracking_uri):
        bad += finding.verdict == "bad"
        style = _STYLE[finding.verdict]
        verdict = Text(f"{finding.verdict:4s}", style=style)
        console.print(verdict, f" {finding.what}: {finding.detail}", soft_wrap=True)
        if finding.mend:
            console.print(f"      → {finding.mend}", soft_wrap=True)
    return 1 if bad else 0


def _findings(root: Path, file: Path | None, tracking_uri: str | None) -> Iterator[Finding]:
    yield from machine.python()
    yield from machine.packages()
    yield from machine.torch()
    yield from machine.cores()
    yield from machine.store(root)
    yield from machine.ray()
    yield from machine.mlflow(root, tracking_uri)
    if file is None and not commands.available():
        return
    yield from cluster.slurm()
    if file is not None and commands.available():
        profile = load_cluster(file)
        yield from cluster.cluster_file(profile, str(file))
        yield from cluster.nodes(profile, root)
