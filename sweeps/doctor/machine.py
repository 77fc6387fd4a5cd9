"""Checks of this machine: Python, packages, torch, cores, disk, Ray, MLflow."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from care.system.cores import available_cores
from care.system.permissions import STORE
from care.system.redaction import redact
from care.trials.records import StoreRecord, read_record
from sweeps.doctor.finding import Finding, bad, note, ok
from sweeps.store_access import open_entries

_INSTALL = "make setup, or pip install --constraint constraints.txt --editable ."
_CLOSE = "care store access --private --store {root}, or --group NAME"
_FREE_BYTES = 2 * 1024**3
_MOUNTS = Path("/proc/mounts")
_NETWORKED = ("nfs", "lustre", "gpfs", "beegfs", "cephfs", "cifs", "fuse.sshfs")


def check_python() -> Iterator[Finding]:
    """Report the interpreter."""
    yield ok("Python", f"{sys.version.split()[0]} ({sys.executable})")


def check_packages() -> Iterator[Finding]:
    """Check the installed packages against the requirements of pyproject.toml."""
    wrong = []
    for text in requires("care-contrastive") or ():
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = None
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            actual = installed or "missing"
            wrong.append(f"{requirement.name} {actual} (wanted {requirement.specifier})")
    if wrong:
        yield bad("packages", ", ".join(wrong), _INSTALL)
    else:
        yield ok("packages", f"care {distribution('care-contrastive').version} and all it needs")


def check_torch() -> Iterator[Finding]:
    """Check that torch computes on its accelerator."""
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        fix = "" if shutil.which("nvidia-smi") is None else "install a CUDA build of torch"
        yield note("torch", f"{torch.__version__}, no GPU here: trials run on the CPU", fix)
        return
    count = torch.accelerator.device_count()
    try:
        (torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)).sum().item()
    except RuntimeError as error:
        fix = "check the driver (nvidia-smi) and that torch was built for it"
        yield bad("torch", f"{device.type} does not compute: {error}", fix)
    else:
        yield ok("torch", f"{torch.__version__}, {count} × {device.type}, computes")


def check_cores() -> Iterator[Finding]:
    """Report the cores that this process may use."""
    usable, machine = available_cores(), os.cpu_count() or 1
    text = f"{usable} of {machine} may be used" if usable < machine else f"{usable}"
    yield ok("cores", text)


def check_store(root: Path) -> Iterator[Finding]:
    """Check that the store's folder can be written and has room; report its file system."""
    folder = next(path for path in [root.resolve(), *root.resolve().parents] if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            os.link(file.name, f"{file.name}.link")  # claims are taken by hard links
            Path(f"{file.name}.link").unlink()
    except OSError as error:
        fix = "choose another folder with --store, or fix its permissions"
        yield bad("store", f"{folder} cannot be written ({error.strerror})", fix)
        return
    free = shutil.disk_usage(folder).free
    kind = _file_system(folder)
    text = f"{root} can be written, {free / 1024**3:.0f} GiB free, {kind}"
    if free < _FREE_BYTES:
        yield note("store", text, "free some space: a trial keeps two checkpoints")
    else:
        yield ok("store", text)


def check_access(root: Path) -> Iterator[Finding]:
    """Check that only the users whom its setting names can reach the store."""
    record = read_record(root / STORE, StoreRecord)
    if record is None:
        return
    shared = record.access == "group"
    opened = open_entries(root.resolve(), group=shared)
    if opened:
        others = "other users" if shared else "its group or other users"
        yield note("access", f"{opened[0]} is open to {others}", _CLOSE.format(root=root))
    else:
        yield ok("access", f"shared with group {record.group}" if shared else "private")


def _file_system(folder: Path) -> str:
    """Return the type of a folder's file system, with a mark if nodes share it."""
    try:
        mounts = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return "file system unknown"
    above = [(mount, kind) for mount, kind in mounts if folder.is_relative_to(mount)]
    kind = max(above, key=lambda entry: len(entry[0]))[1] if above else "unknown"
    return f"{kind}, shared" if kind.startswith(_NETWORKED) else kind


def check_ray() -> Iterator[Finding]:
    """Start a Ray instance and run a task in it."""
    from sweeps.backends.local import try_ray

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            try_ray(Path(folder) / "ray.log")
        except Exception as error:  # noqa: BLE001 - any error is shown to the user
            yield bad("Ray", _first_line(error), f"{_INSTALL}; is /tmp writable and not full?")
            return
    yield ok("Ray", f"starts and runs a task in {time.monotonic() - started:.0f} s")


def check_mlflow(root: Path) -> Iterator[Finding]:
    """Create an SQLite file of MLflow in a temporary folder."""
    from sweeps.tracking.database import try_tracking

    with tempfile.TemporaryDirectory() as folder:
        try:
            try_tracking(f"sqlite:///{folder}/mlflow.db")
        except Exception as error:  # noqa: BLE001 - any error is shown to the user
            yield bad("MLflow", redact(_first_line(error)), _INSTALL)
            return
    yield ok("MLflow", f"an SQLite file in {root} will do")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
