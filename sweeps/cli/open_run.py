"""``care sweep run --open``: the pool of a sweep that other machines may join."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from care.errors import CareError
from care.plugins import plugin_modules
from sweeps.backends.slurm.backend import PoolBackend
from sweeps.backends.slurm.code_snapshot import take_snapshot
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.network import address_of
from sweeps.backends.slurm.open_backend import OpenBackend
from sweeps.backends.slurm.state_files import PoolFolder, Request, Workers
from sweeps.backends.slurm.status_file import StatusFile
from sweeps.cli.sweep_arguments import Opening
from sweeps.live import LiveView
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console
from sweeps.progress import Board
from sweeps.resources import Resources
from sweeps.run import RunOptions, SweepResult, SweepRun
from sweeps.store import Store


def open_pool(
    name: str,
    store: Store,
    resources: Resources,
    options: RunOptions,
    opening: Opening,
    command: str,
) -> OpenBackend:
    """Make the backend of this machine and of those that will join it.

    Args:
        name: The sweep's name.
        store: Its store.
        resources: Its share of this machine.
        options: Options of the run.
        opening: How others join.
        command: The command that resumes the run.

    Raises:
        CareError: There is no such network interface, or no network.
    """
    address = address_of(opening.interface)
    if address.startswith("127."):
        raise CareError(
            f"--open: this machine has no address but {address}, which no other machine reaches; "
            "name a network interface: --interface NAME"
        )
    folder = PoolFolder(store, name)
    cluster = ClusterConfig(
        cpus=resources.cores, gpus=resources.machine_gpus, interface=opening.interface
    )
    request = Request(
        cluster=cluster,
        workers=Workers(least=0, most=0),
        tracking_uri=options.tracking_uri,
        report=options.report,
        folder=str(Path.cwd()),
        code=str(take_snapshot(folder.path / "code")),
        command=command,
        plugins=plugin_modules(),
        store=str(folder.store.root),
        slurm=False,
    )
    return OpenBackend(folder, resources, request)


def run_open(run: SweepRun, backend: OpenBackend, interrupt: Interrupt) -> SweepResult:
    """Run a sweep on this machine and on those that join it."""
    console, folder = make_console(), backend.folder
    console.print(
        f"Machines that share {folder.store.root} may join: care worker {folder.name} "
        f"--store {folder.store.root}",
        soft_wrap=True,
    )
    backend.on_cancel = interrupt.request
    return run(interrupt, lambda board: pool_view(board, backend, console))


@contextlib.contextmanager
def pool_view(board: Board, backend: PoolBackend, console: Console) -> Iterator[None]:
    """Show a board in this terminal, and to others in ``status.json``, while entered."""
    with StatusFile(board, backend), LiveView(board, backend.folder.name, console):
        yield
