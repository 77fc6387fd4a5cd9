"""This machine: Python, packages, torch, cores, disk, Ray, MLflow."""

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
from sweeps.doctor.finding import Finding, bad, note, ok

_INSTALL = "make setup, or pip install --constraint constraints.txt --editable ."
_FREE_BYTES = 2 * 1024**3
_MOUNTS = Path("/proc/mounts")
_NETWORKED = ("nfs", "lustre", "gpfs", "beegfs", "cephfs", "cifs", "fuse.sshfs")


def python() -> Iterator[Finding]:
    """The interpreter."""
    yield ok("Python", f"{sys.version.split()[0]} ({sys.executable})")


def packages() -> Iterator[Finding]:
    """Everything that pyproject.toml asks for."""
    wrong = []
    for text in requires("care-contrastive") or ():
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
        except PackageNotFoundError:
            have = None
        if have is None or not requirement.specifier.contains(have, prereleases=True):
            wrong.append(f"{requirement.name} {have or 'missing'} (wanted {requirement.specifier})")
    if wrong:
        yield bad("packages", ", ".join(wrong), _INSTALL)
    else:
        yield ok("packages", f"care {distribution('care-contrastive').version} and all it needs")


def torch() -> Iterator[Finding]:
    """Torch, and whether its accelerator computes."""
    import torch as library

    device = library.accelerator.current_accelerator(check_available=True)
    if device is None:
        mend = "" if shutil.which("nvidia-smi") is None else "install a CUDA build of torch"
        yield note("torch", f"{library.__version__}, no GPU here: trials run on the CPU", mend)
        return
    count = library.accelerator.device_count()
    try:
        (library.ones(64, 64, device=device) @ library.ones(64, 64, device=device)).sum().item()
    except RuntimeError as error:
        mend = "check the driver (nvidia-smi) and that torch was built for it"
        yield bad("torch", f"{device.type} does not compute: {error}", mend)
    else:
        yield ok("torch", f"{library.__version__}, {count} × {device.type}, computes")


def cores() -> Iterator[Finding]:
    """Cores that this process may use."""
    mine, machine = available_cores(), os.cpu_count() or 1
    text = f"{mine} of {machine} may be used" if mine < machine else f"{mine}"
    yield ok("cores", text)


def store(root: Path) -> Iterator[Finding]:
    """The store's folder: can it be written, is there room, is it on a shared disk."""
    place = next(path for path in [root.resolve(), *root.resolve().parents] if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            os.link(file.name, f"{file.name}.link")
            Path(f"{file.name}.link").unlink()
    except OSError as error:
        mend = "choose another folder with --store, or mend its permissions"
        yield bad("store", f"{place} cannot be written ({error.strerror})", mend)
        return
    free = shutil.disk_usage(place).free
    kind = _file_system(place)
    text = f"{root} can be written, {free / 1024**3:.0f} GiB free, {kind}"
    if free < _FREE_BYTES:
        yield note("store", text, "make room: a trial keeps two checkpoints")
    else:
        yield ok("store", text)


def _file_system(place: Path) -> str:
    """Kind of the file system that ``place`` is on."""
    try:
        mounts = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return "file system unknown"
    above = [(mount, kind) for mount, kind in mounts if place.is_relative_to(mount)]
    kind = max(above, key=lambda entry: len(entry[0]))[1] if above else "unknown"
    return f"{kind}, shared" if kind.startswith(_NETWORKED) else kind


def ray() -> Iterator[Finding]:
    """A Ray of our own, and a task in it."""
    from sweeps.backends.local import try_ray

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            try_ray(Path(folder) / "ray.log")
        except Exception as error:  # noqa: BLE001 - whatever it is, the user is to read it
            yield bad("Ray", _first_line(error), f"{_INSTALL}; is /tmp writable and not full?")
            return
    yield ok("Ray", f"starts and runs a task in {time.monotonic() - began:.0f} s")


def mlflow(root: Path, uri: str | None) -> Iterator[Finding]:
    """MLflow: its server where one is named, a database of its own otherwise."""
    from sweeps.tracking.database import try_tracking
    from sweeps.tracking.destination import redact

    with tempfile.TemporaryDirectory() as folder:
        try:
            try_tracking(uri or f"sqlite:///{folder}/mlflow.db")
        except Exception as error:  # noqa: BLE001 - whatever it is, the user is to read it
            mend = "check --tracking-uri; a server needs --allowed-hosts with this host and port"
            yield bad("MLflow", redact(_first_line(error)), mend if uri else _INSTALL)
            return
    yield ok(
        "MLflow", f"server {redact(uri)} answers" if uri else f"an SQLite file in {root} will do"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
