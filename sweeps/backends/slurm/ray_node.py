"""Start and stop Ray on one node, in its own session and folder, with free ports and a token.

Ray's own stop command is never called: it would end every Ray on the node, also of other users.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from care.errors import CareError
from care.system.permissions import open_file
from care.system.process import all_processes
from sweeps.backends.ray_environment import set_ray_environment
from sweeps.backends.scratch import folder_for_ray, make_scratch, remove_scratch
from sweeps.backends.slurm.allocation import Allocation
from sweeps.tune.node import Node

_START_SECONDS = 120.0
_STOP_SECONDS = 3.0  # the trials have checkpointed before
_OBJECT_STORE_BYTES = 128 * 1024**2
_LEFT_FOR_RAY = 0.9  # share of the job's memory that Ray may hand out to trials

# Two Rays of one node must not share a port, and a free port may be taken before Ray binds it.
# With port 0 each server of Ray binds a free port itself and publishes it.
_ANY_PORT = (
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "metrics-export-port",
    "min-worker-port",
    "max-worker-port",
)
# Ray's command line without the commands of these modules, which it allows to be missing. Importing
# them takes longer than the rest: a second of each node's start.
#
# The kernel ends Ray's first process, and Ray the others, when their keeper is killed.
_RAY = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit("its keeper has ended")
for name in ("ray.util.state.state_cli", "ray.dashboard.modules.job.cli", "ray.serve.scripts"):
    sys.modules[name] = None
from ray.scripts.scripts import main
main()
"""
_ADDRESS_FILE = "ray_current_cluster"  # of a head, in its folder, once it is up


class RayNode:
    """Ray on this node, while entered.

    Args:
        scratch: Local folder of the node.
        address: Address of this node.
        token: File of Ray's token.
        log: File for the output of Ray's processes.
        code: Folder that trials import from; empty if PYTHONPATH names it already.

    Attributes:
        node: Files through which trials of this node are paused.
    """

    def __init__(self, scratch: str, address: str, token: Path, log: Path, code: str = "") -> None:
        self._scratch, self._address, self._token, self._log = scratch, address, token, log
        self._code = code
        self._process: subprocess.Popen[bytes] | None = None
        self.node: Node

    def __enter__(self) -> Self:
        set_ray_environment(self._token)
        self._folder = make_scratch(Path(self._scratch))
        self.node = Node(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        remove_scratch(self._folder)

    def start_head(self) -> str:
        """Start a head, which runs no trials, and wait until it is up.

        Returns:
            Its address, ``host:port``.

        Raises:
            CareError: The head did not start; names its log.
        """
        folder = folder_for_ray(self._folder)
        arguments = ["--head", "--port=0", "--num-cpus=0", "--num-gpus=0", "--no-monitor"]
        self._start([*arguments, "--include-dashboard=false", f"--temp-dir={folder}"], {})
        end = time.monotonic() + _START_SECONDS
        while self.running and time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                if address := (folder / _ADDRESS_FILE).read_text().strip():
                    return address
            time.sleep(0.1)
        raise CareError(f"Ray's head did not start; its log: {self._log}")

    def start_worker(self, head: str, given: Allocation) -> None:
        """Join a head with the resources of this job."""
        arguments = [f"--address={head}", f"--num-cpus={given.cpus}", f"--num-gpus={given.gpus}"]
        if given.memory_bytes:
            arguments.append(f"--memory={int(given.memory_bytes * _LEFT_FOR_RAY)}")
        arguments.append(f"--temp-dir={folder_for_ray(self._folder)}")
        self._start(arguments, given.devices)

    @property
    def running(self) -> bool:
        """Whether Ray runs."""
        return self._process is not None and self._process.poll() is None

    def explain_end(self) -> str:
        """Explain why Ray may have ended by itself."""
        return (
            f"its log: {self._log}; the head must reach {self._address}, on every port, and may "
            "not if a firewall lies between"
        )

    def stop(self) -> None:
        """End Ray and all its processes, if it runs."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while _of_session(self._process.pid) and time.monotonic() < end:
            self._process.poll()
            time.sleep(0.1)
        for pid in _of_session(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _start(self, arguments: list[str], devices: dict[str, str]) -> None:
        command = [
            *(sys.executable, "-c", _RAY, str(os.getpid()), "start", "--block"),
            *arguments,
            f"--node-ip-address={self._address}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            "--include-log-monitor=false",  # it copies the workers' logs to the driver
            *(f"--{name}=0" for name in _ANY_PORT),
        ]
        environment = {**os.environ, **devices}
        if "HIP_VISIBLE_DEVICES" in devices:
            environment.pop("ROCR_VISIBLE_DEVICES", None)
        environment.update(self.node.environment)
        if self._code:
            path = (self._code, environment.get("PYTHONPATH", ""))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        descriptor = open_file(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(descriptor, "ab") as log:
            # Its own session marks the processes that must be ended later.
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )


def _of_session(session: int) -> list[int]:
    """List the living processes of a session; a raylet's children may have other groups."""
    return [each.pid for each in all_processes() if each.session == session and not each.dead]
