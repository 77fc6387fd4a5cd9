"""The report of a sweep: one HTML page, figures as PNG, PDF and SVG, tables for other programs."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from pathlib import Path

import pyarrow as pa
from pyarrow.csv import WriteOptions, write_csv
from pyarrow.parquet import write_table

from analysis.contents import fits_csv, gather
from analysis.findings import answer
from analysis.freshness import fingerprint, seal
from analysis.importance import Evaluate
from analysis.page import render_page
from analysis.seed_table import describe_seeds
from analysis.summary import ANSWER, SweepSummary
from care.system.files import DiskError
from care.system.permissions import adopt
from care.system.process import process_alive
from care.trials.trial_files import StoreFiles

_TRIES = 10
_CSV = WriteOptions(quoting_style="needed")


def write_report(
    files: StoreFiles,
    summary: SweepSummary,
    out: Path,
    work: Path | None = None,
    evaluate: Evaluate | None = None,
) -> Path:
    """Write the report of a sweep, finished or not.

    The files are written to a temporary folder that then replaces ``out`` in one step.

    Args:
        files: The files of the store's trials.
        summary: The sweep.
        out: The report's folder; replaced.
        work: Parent of the temporary folder, on the file system of ``out``; the folder of ``out``
            when None. The driver passes its claim's folder, which is removed with the claim.
        evaluate: Computes the axes' importance; None leaves it out.

    Returns:
        The page, ``out/report.html``.

    Raises:
        DiskError: The report cannot be written; the old one is kept.
    """
    if work is None:
        _remove_leftovers(out)
    unique = f".{out.name}.{socket.gethostname()}-{os.getpid()}"
    fresh, old = ((work or out.parent) / f"{unique}.{end}" for end in ("tmp", "old"))
    try:
        for name in ("figures", "tables"):
            (fresh / name).mkdir(parents=True)
        # Hashed first: a trial that changes while the report is written makes it out of date.
        inputs = fingerprint(files, summary)
        _write(files, summary, fresh, out, evaluate)
        seal(fresh, inputs)
        adopt(fresh)
        _replace(out, fresh, old)
    except OSError as error:
        raise DiskError(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        with contextlib.suppress(OSError):  # keep the first error
            _remove(old)
    return out / "report.html"


def _remove_leftovers(out: Path) -> None:
    """Remove the temporary folders of this machine's killed processes."""
    prefix = f".{out.name}.{socket.gethostname()}-"
    for folder in out.parent.glob(f"{prefix}*"):
        pid = folder.name.removeprefix(prefix).partition(".")[0]
        if pid.isdigit() and not (process_alive(int(pid)) and int(pid) != os.getpid()):
            shutil.rmtree(folder, ignore_errors=True)


def _replace(out: Path, fresh: Path, old: Path) -> None:
    """Replace ``out`` with ``fresh``; of several processes that do so, the last wins."""
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
    """Remove the old report, which may be a folder, a file or a link."""
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # missing, or on a disk that cannot be written
            old.unlink()


def _write(
    files: StoreFiles, summary: SweepSummary, fresh: Path, out: Path, evaluate: Evaluate | None
) -> None:
    """Write a report into ``fresh``, with links that are right in ``out``."""
    contents = gather(files, summary, evaluate)
    for name, table in contents.tables.items():
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        if fits_csv(table):  # by Arrow in a fifth of the time of pandas
            write_csv(arrow, fresh / "tables" / f"{name}.csv", _CSV)
        write_table(arrow, fresh / "tables" / f"{name}.parquet")
    for name, drawing in contents.figures.items():
        for ending, content in drawing.files.items():
            (fresh / "figures" / f"{name}.{ending}").write_bytes(content)
    for name, text in contents.texts.items():
        (fresh / "tables" / name).write_text(text, encoding="utf-8")
    summarized = answer(contents.comparison) if contents.comparison else None
    sentences = [*(summarized.lines if summarized else []), *describe_seeds(summary)]
    sentences += [contents.front] if contents.front else []
    lines = "".join(f"{line}\n" for line in sentences)
    (fresh / ANSWER).write_text(lines, encoding="utf-8")
    text = render_page(files, summary, contents, out)
    (fresh / "report.html").write_text(text, encoding="utf-8")
