"""Checks that srun runs on each node: ``python -m sweeps.doctor.node_check FOLDER …``.

Of two nodes, the first listens and writes its address to the store; the second connects to it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from care.system.files import write_json
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.network import address_of

_CONNECT_SECONDS = 20.0
_COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")  # what the driver calls


def main(folder: Path, scratch: str, interface: str | None) -> None:
    """Check this node and write its report to ``folder/node-RANK.json``.

    Args:
        folder: Folder in the store, with a file ``marker``.
        scratch: The node's own folder for temporary files.
        interface: Network interface to listen on; None for the default.
    """
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    report: dict[str, Any] = {"node": socket.gethostname(), "shared": (folder / "marker").exists()}
    report["scratch"] = _check_scratch(scratch)
    allocation = Allocation.of_this_job()
    report["cpus"], report["gpus"] = allocation.cpus, allocation.gpus
    report["torch"] = _check_torch(allocation.gpus)
    report["python"], report["ray"] = platform.python_version(), _version("ray")
    report["slurm"] = _check_slurm()
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        report["connection"] = _listen(folder, interface) if rank == 0 else _connect(folder)
    write_json(folder / f"node-{rank}.json", report)


def _check_slurm() -> str:
    """Return the reason why Python here cannot call SLURM; empty if it can."""
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        return f"does not see {', '.join(missing)}"
    try:
        commands.run("squeue", "--noheader", "--states=SUSPENDED")
    except commands.SlurmError as error:
        return f"cannot call SLURM: {str(error).partition(chr(10))[0]}"
    return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _check_scratch(folder: str) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return str(error)


def _check_torch(gpus: int) -> str:
    """Return the reason why torch cannot use the job's GPUs; empty if it can."""
    try:
        import torch

        seen = torch.accelerator.device_count()
        if gpus and torch.version.cuda and seen < gpus:
            return f"SLURM gave {gpus} GPUs, torch sees {seen}"
    except (ImportError, OSError) as error:
        return str(error)
    return ""


def _listen(folder: Path, interface: str | None) -> str:
    with socket.create_server((address_of(interface), 0)) as server:
        server.settimeout(_CONNECT_SECONDS)
        host, port = server.getsockname()[:2]
        write_json(folder / "address.json", [host, port])
        try:
            server.accept()[0].close()
        except OSError as error:
            return f"no node reached {host}:{port} ({error})"
    return ""


def _connect(folder: Path) -> str:
    end = time.monotonic() + _CONNECT_SECONDS
    reason = "the other node did not write its address"
    while time.monotonic() < end:
        try:
            host, port = json.loads((folder / "address.json").read_text())
            socket.create_connection((host, port), timeout=3).close()
        except FileNotFoundError:
            time.sleep(0.2)
        except OSError as error:
            reason = str(error)
            time.sleep(0.5)
        else:
            return ""
    return reason


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None)
