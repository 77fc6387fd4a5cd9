"""What a node says of itself; run there by srun: ``python -m sweeps.doctor.probe FOLDER``.

Two of them meet: one listens and writes where, the other one connects.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from care.system.files import write_json
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.network import address_of

_SECONDS = 20.0


def main(folder: Path, scratch: str, interface: str | None) -> None:
    """Write what this node sees to ``folder``."""
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    found: dict[str, Any] = {"node": socket.gethostname(), "shared": (folder / "marker").exists()}
    found["scratch"] = _writable(scratch)
    given = Allocation.of_this_job()
    found["cpus"], found["gpus"] = given.cpus, given.gpus
    found["torch"] = _torch(given.gpus)
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        found["connection"] = _listen(folder, interface) if rank == 0 else _connect(folder)
    write_json(folder / f"node-{rank}.json", found)


def _writable(folder: str) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return str(error)


def _torch(gpus: int) -> str:
    """What is wrong with torch here, if anything."""
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
        server.settimeout(_SECONDS)
        host, port = server.getsockname()[:2]
        write_json(folder / "address.json", [host, port])
        try:
            server.accept()[0].close()
        except OSError as error:
            return f"nobody reached {host}:{port} ({error})"
    return ""


def _connect(folder: Path) -> str:
    end = time.monotonic() + _SECONDS
    reason = "the other node did not say where it listens"
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
