"""The report of a sweep: a page that stands alone, figures as PNG, tables as CSV and Parquet."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from pathlib import Path

from analysis.contents import gather
from analysis.freshness import fingerprint, seal
from analysis.page import page
from analysis.summary import SweepSummary
from care.system.files import DiskError
from care.system.process import process_alive

_TRIES = 10


def write_report(
    store_trials: Path, summary: SweepSummary, out: Path, work: Path | None = None
) -> Path:
    """Write the report of a sweep, whatever part of it is finished.

    Everything is written to another folder first, so that ``out`` is never half new.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
        out: The report's folder; replaced.
        work: Folder of the same file system, for that other folder; beside ``out`` when None. The
            driver gives its claim's own, which is removed with the claim.

    Returns:
        The page, ``out/report.html``.

    Raises:
        DiskError: It cannot be written; the report that was there still is.
    """
    if work is None:
        _remove_leftovers(out)
    unique = f".{out.name}.{socket.gethostname()}-{os.getpid()}"
    fresh, old = ((work or out.parent) / f"{unique}.{end}" for end in ("tmp", "old"))
    try:
        for name in ("figures", "tables"):
            (fresh / name).mkdir(parents=True)
        # Taken first: news that come while the report is written make it out of date.
        inputs = fingerprint(store_trials, summary)
        _write(store_trials, summary, fresh)
        seal(fresh, inputs)
        _replace(out, fresh, old)
    except OSError as error:
        raise DiskError(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        with contextlib.suppress(OSError):  # a disk that cannot be written has no such file
            _remove(old)
    return out / "report.html"


def _remove_leftovers(out: Path) -> None:
    """Remove what killed processes of this machine left while they wrote the report."""
    prefix = f".{out.name}.{socket.gethostname()}-"
    for left in out.parent.glob(f"{prefix}*"):
        pid = left.name.removeprefix(prefix).partition(".")[0]
        if pid.isdigit() and not (process_alive(int(pid)) and int(pid) != os.getpid()):
            shutil.rmtree(left, ignore_errors=True)


def _replace(out: Path, fresh: Path, old: Path) -> None:
    """Put ``fresh`` in the place of ``out``, which other processes may do, too: the last wins."""
    for attempt in range(_TRIES):
        _remove(old)
        with contextlib.suppress(FileNotFoundError):
            out.rename(old)
        try:
            fresh.rename(out)
        except FileExistsError:
            if attempt == _TRIES - 1:
                raise
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == _TRIES - 1:
                raise
        else:
            return


def _remove(old: Path) -> None:
    """Remove what lay in the report's place, which need not be a folder."""
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # nothing there, or a disk that cannot be written
            old.unlink()


def _write(store_trials: Path, summary: SweepSummary, fresh: Path) -> None:
    contents = gather(store_trials, summary)
    for name, table in contents.tables.items():
        table.to_csv(fresh / "tables" / f"{name}.csv", index=False)
        table.to_parquet(fresh / "tables" / f"{name}.parquet", index=False)
    for name, content in contents.figures.items():
        (fresh / "figures" / f"{name}.png").write_bytes(content)
    text = page(store_trials, summary, contents)
    (fresh / "report.html").write_text(text, encoding="utf-8")
