"""``care worker``: let this machine train trials of a sweep that runs elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from care.errors import CareError
from care.plugins import VARIABLE
from care.system.claim import holder
from care.system.permissions import user_of
from sweeps.backends.slurm.code_snapshot import check_code, is_running_code
from sweeps.backends.slurm.state_files import HeadState, PoolFolder, Request
from sweeps.backends.slurm.volunteer import (
    check_place,
    check_reachable,
    check_versions,
    find_same_store,
    offer,
    only_worker,
    run_volunteer,
    wait_for_head,
)
from sweeps.cli.data import prepare_data
from sweeps.cli.sweep import check_devices
from sweeps.inventory import find_sweep_folder
from sweeps.plan import plan_configs
from sweeps.process.logging import show_log
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store
from sweeps.sweep_command import format_command

_START = "from sweeps.cli.main import main; main()"
_COMMAND = "sweeps/cli/worker.py"


def worker_command(name: str, root: Path, cores: int | None, gpus: int | None) -> int:
    """Join a running sweep with this machine, until it ends or a signal arrives.

    Args:
        name: The sweep's name or YAML file.
        root: Folder of the store.
        cores: Cores to give; None for all.
        gpus: GPUs to give; None for all.

    Returns:
        0, also after Ctrl-C or SIGTERM.

    Raises:
        CareError: The sweep or this machine does not allow it; nothing was joined.
    """
    show_log(console := make_console())
    folder = _find_pool(name, root)
    check_place()
    folder = find_same_store(folder)
    request = folder.request()
    if not is_running_code(request.code):
        _run_submitted_code(request, folder)
    with Interrupt() as interrupt:
        head = wait_for_head(folder, request, interrupt)
        if head is None:
            console.print("Stopped; it had not joined.")
            return 0
        check_versions(head)
        check_reachable(head)
        given = offer(head, cores, gpus)
        with only_worker(whole=cores is None):
            _prepare(folder, request, console)
            run_volunteer(folder, head, given, interrupt)
    console.print(_describe_end(folder), soft_wrap=True)
    return 0


def _find_pool(name: str, root: Path) -> PoolFolder:
    """Find the pool of a sweep that others may join.

    Raises:
        ConfigError: No sweep of this name was started.
        CareError: The sweep has no pool, or another user's.
    """
    store = Store(root)
    sweep = find_sweep_folder(name, store)
    folder = PoolFolder(store, sweep.name)
    if not folder.submitted:
        running = holder(sweep.path)
        where = f"is run by {running}, for that machine alone" if running else "does not run"
        command = format_command(sweep.declaration())
        raise CareError(
            f"{sweep.name} {where}. Start it for others to join: {command} --open, or on a "
            "cluster with care sweep submit"
        )
    owner = folder.path.stat().st_uid if not folder.foreign else -1
    if owner != os.geteuid():
        raise CareError(
            f"{sweep.name}: {user_of(folder.path)} submitted this sweep, and Ray's token is theirs "
            "alone; only they can let a machine join it"
        )
    return folder


def _run_submitted_code(request: Request, folder: PoolFolder) -> None:
    """Replace this process by this command in the code that the sweep was submitted with.

    Raises:
        CareError: That code has no such command, or Python does not import it.
    """
    code = Path(request.code)
    if not (code / _COMMAND).exists():
        raise CareError(
            f"{folder.name} was submitted with an earlier care, which lets no machine join. Submit "
            f"it again once it has ended: {request.command}"
        )
    before = os.environ.get("PYTHONPATH", "")
    if before.partition(os.pathsep)[0] == str(code):
        check_code(str(code))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(code), before)))
    os.environ[VARIABLE] = ",".join(request.plugins)
    os.environ["PYTHONSAFEPATH"] = "1"
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-c", _START, *sys.argv[1:]])


def _prepare(folder: PoolFolder, request: Request, console: Console) -> None:
    """Check devices, and prepare the data of all trials: else they would fail here one by one."""
    sweep = restore_sweep(folder.store.sweep(folder.name).declaration())
    configs = [sweep.base_config(), *(config for _, config in plan_configs(sweep, folder.store))]
    check_devices(configs)
    resolved = []
    for config in configs:
        data_root = str(Path(request.folder, config.runtime.data_root))
        runtime = config.runtime.model_copy(update={"data_root": data_root})
        resolved.append(config.model_copy(update={"runtime": runtime}))
    prepare_data(resolved, console)


def _describe_end(folder: PoolFolder) -> str:
    if folder.request().cancel:
        return f"{folder.name} is cancelled; this machine has left it."
    if folder.head().state == HeadState.ENDED:
        return f"{folder.name} has ended; this machine has left it."
    return f"This machine has left {folder.name}; nothing is lost, its trials resume elsewhere."
