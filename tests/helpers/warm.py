"""Run ``care`` in processes that are forked from one that has imported the large libraries.

Most of a short command's time is the import of torch, pandas and MLflow, and the tests run hundreds
of commands. Here one process imports the libraries, once for all. Each command is still a process
of its own, with its own arguments, folder, environment, limits and exit status. It imports our code
itself, and Ray.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TextIO

from tests.helpers.paths import ROOT

# Ray is not among them: it reads its settings from the environment when it is imported.
_LIBRARIES = (
    "care.system.torchvision",  # the only module that may import torchvision
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna",
    "pandas",
    "pydantic",
    "rich.console",
    "scipy.special",
    "sklearn.datasets",
    "typer",
    "yaml",
)
_OURS = ("care", "sweeps", "analysis")
# What Python and the libraries read when they start; with other values a command starts afresh.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "OMP_", "MKL_", "OPENBLAS_", "TORCH", "CUDA_", "MLFLOW_",
                  "MPL", "HOME", "XDG_", "LD_")  # fmt: skip
_LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS)
_LARGEST_REQUEST = 2**20
_PROGRAM = "from tests.helpers.warm import serve; serve({})"

_lock = threading.Lock()
_kept: list[ModuleType] = []  # torch forgets what a module of ours registered if it is freed


def can_fork() -> bool:
    """Check whether Python and the libraries would start with the variables that they started with."""
    with _lock:
        return _settings(os.environ) == _server()[1]


def fork(
    arguments: Sequence[str], folder: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run ``care`` in a forked process to its end.

    Raises:
        TimeoutExpired: It ran longer than ``seconds``, and was killed.
    """
    request = {
        "arguments": list(arguments),
        "folder": str(folder),
        "environment": dict(os.environ),
        "mask": _mask(),
        "limits": [resource.getrlimit(limit) for limit in _LIMITS],
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipes = [os.pipe(), os.pipe()]
    with _lock:
        files = [*(write for _, write in pipes), theirs.fileno()]
        socket.send_fds(_server()[0], [json.dumps(request).encode()], files)
        theirs.close()
        for _, write in pipes:
            os.close(write)
    return _wait(arguments, ours, [read for read, _ in pipes], seconds)


def _wait(
    arguments: Sequence[str], status: socket.socket, pipes: list[int], seconds: float
) -> subprocess.CompletedProcess[str]:
    texts = ["", ""]

    def read(index: int) -> None:
        with open(pipes[index]) as file:  # noqa: PTH123 - a pipe
            texts[index] = file.read()

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(pipes))]
    for thread in threads:
        thread.start()
    with status:
        pid = int(status.recv(64))
        status.settimeout(seconds)
        try:
            code = os.waitstatus_to_exitcode(int(status.recv(64)))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["care", *arguments], seconds) from None
        finally:
            for thread in threads:
                thread.join(seconds)
    return subprocess.CompletedProcess(["care", *arguments], code, *texts)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


def _mask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@functools.cache
def _server() -> tuple[socket.socket, dict[str, str], subprocess.Popen[bytes]]:
    """Start the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    command = [sys.executable, "-c", _PROGRAM.format(number)]
    started = subprocess.Popen(command, cwd=ROOT, pass_fds=[number])
    theirs.close()
    return ours, _settings(os.environ), started


def serve(number: int) -> None:
    """Fork a process for each request at a socket, until its other end is closed."""
    requests = socket.socket(fileno=number)
    _import_libraries()
    while True:
        message, files, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, 3)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            _run_and_report(json.loads(message), *files)
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _import_libraries() -> None:
    """Import them as a command would, and forget our own modules that this imports."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as sweeps.cli.main sets it
    from sweeps.tracking.database import quiet_environment

    quiet_environment()
    gc.disable()
    for name in _LIBRARIES:
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] in _OURS]
    _kept.extend(map(sys.modules.pop, ours))
    gc.freeze()
    gc.enable()


def _run_and_report(request: dict[str, Any], *files: int) -> NoReturn:
    """Run a command in a child, and send the child's number and then its status."""
    pid = os.fork()
    if pid == 0:
        _run(request, *files)
    output, errors, reply = files
    os.close(output)
    os.close(errors)
    with socket.socket(fileno=reply) as client:
        client.send(str(pid).encode())
        client.send(str(os.waitpid(pid, 0)[1]).encode())
    os._exit(0)


def _run(request: dict[str, Any], output: int, errors: int, reply: int) -> NoReturn:
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for file in (output, errors, reply):
        os.close(file)
    sys.stdout = _open_pipe(1, sys.stdout, by_line=False)
    sys.stderr = _open_pipe(2, sys.stderr, by_line=True)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["mask"])
    for limit, (soft, _) in zip(_LIMITS, request["limits"], strict=True):
        resource.setrlimit(limit, (soft, resource.getrlimit(limit)[1]))
    sys.argv = ["-c", *request["arguments"]]
    os._exit(_call_main())


def _open_pipe(number: int, stream: TextIO, *, by_line: bool) -> TextIO:
    """Open a pipe as Python does at its start, with the encoding of another stream."""
    raw = open(number, "wb", closefd=False)  # noqa: SIM115 - a pipe, open to the end
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=by_line)


def _call_main() -> int:
    """Run a command to its end, and do what Python does then, but free no module: it takes long."""
    status = 0
    try:
        from sweeps.cli.main import main

        main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - Python prints any
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status
