"""Copy what a pull needs of a store on another machine, by rsync over ssh.

First the small records of all trials, then the folders of those that are wanted. An interrupted
copy continues where it stopped.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from care.errors import CareError
from care.system.files import DamagedFileError
from care.system.permissions import make_folder
from care.trials.find import list_trials
from sweeps.disk.pull import PARTS, wants
from sweeps.store import Store

_REMOTE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._@-]*):(.+)")
_RECORDS = (
    "/store.json",
    "/trials/",
    "/trials/*/",
    "/trials/*/.held-*/",
    "/trials/*/claim-*",
    "/trials/*/trial.json",
    "/trials/*/status.json",
    "/trials/*/provenance.json",
    "/trials/*/metrics.jsonl",
    "/trials/*/evaluation.json",
    "/references/",
    "/references/*/",
    "/references/*/*",
    "/sweeps/",
    "/sweeps/*/",
    "/sweeps/*/sweep.json",
    "/sweeps/*/events.jsonl",
    "/sweeps/*/account.json",
)


def is_remote(source: str) -> bool:
    """Check for HOST:PATH, which is no folder of this machine."""
    return not Path(source).exists() and _REMOTE.fullmatch(source) is not None


def fetch(source: str, store: Store) -> Store:
    """Copy the records of another machine's store, and the trials that are missing in this one.

    Args:
        source: ``HOST:PATH`` or ``USER@HOST:PATH``.
        store: The store that pulls, within :func:`sweeps.disk.pull.parts_of` it.

    Raises:
        CareError: rsync is missing here or there, or there is no such store.
    """
    if shutil.which("rsync") is None:
        raise CareError(
            f"{source}: rsync is not installed on this machine. Install it here and there, or "
            "mount the other store's disk and pull its folder."
        )
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    copy = store.root / PARTS / f"remote-{digest}"
    make_folder(copy)
    rules = [f"--include={rule}" for rule in _RECORDS]
    _rsync(["--delete", *rules, "--exclude=*", f"{source.rstrip('/')}/", f"{copy}/"], source)
    if not (copy / "store.json").exists():
        raise CareError(f"{source}: no store is there")
    other = Store(copy)
    wanted = [f"trials/{name}" for name in _wanted(store, other)]
    if wanted:
        listed = copy.with_suffix(".list")
        listed.write_text("".join(f"{name}/\n" for name in wanted), encoding="utf-8")
        only = ["--recursive", f"--files-from={listed}"]
        left_out = ["--exclude=.held-*", "--exclude=*.tmp"]
        _rsync([*only, *left_out, f"{source.rstrip('/')}/", f"{copy}/"], source)
    return other


def _wanted(store: Store, other: Store) -> Iterable[str]:
    for there in list_trials(other.trials):
        try:
            if wants(store, there):
                yield there.trial_id
        except DamagedFileError:
            continue  # the pull names it


def _rsync(arguments: list[str], source: str) -> None:
    command = ["rsync", "--recursive", "--times", "--partial", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[0] if lines else f"status {done.returncode}"
        raise CareError(f"{source}: rsync failed ({reason}); repeat the command to continue")
