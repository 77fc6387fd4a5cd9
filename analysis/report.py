"""The report of a sweep: a page that stands alone, figures as PNG, tables as CSV and Parquet."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from analysis.contents import gather
from analysis.freshness import fingerprint, seal
from analysis.page import page
from analysis.summary import SweepSummary
from care.files import DiskError


def write_report(store_trials: Path, summary: SweepSummary, out: Path) -> Path:
    """Write the report of a sweep, whatever part of it is finished.

    Everything is written to a folder beside ``out`` first, so that ``out`` is never half new.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
        out: The report's folder; replaced.

    Returns:
        The page, ``out/report.html``.

    Raises:
        DiskError: It cannot be written; the report that was there still is.
    """
    fresh = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for folder in ("figures", "tables"):
            (fresh / folder).mkdir(parents=True)
        # Taken first: news that come while the report is written make it out of date.
        inputs = fingerprint(store_trials, summary)
        _write(store_trials, summary, fresh)
        seal(fresh, inputs)
        _replace(out, fresh)
    except OSError as error:
        raise DiskError(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out / "report.html"


def _replace(out: Path, fresh: Path) -> None:
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if os.path.lexists(out):
        out.rename(old)
    fresh.rename(out)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def _write(store_trials: Path, summary: SweepSummary, fresh: Path) -> None:
    contents = gather(store_trials, summary)
    for name, table in contents.tables.items():
        table.to_csv(fresh / "tables" / f"{name}.csv", index=False)
        table.to_parquet(fresh / "tables" / f"{name}.parquet", index=False)
    for name, content in contents.figures.items():
        (fresh / "figures" / f"{name}.png").write_bytes(content)
    text = page(store_trials, summary, contents)
    (fresh / "report.html").write_text(text, encoding="utf-8")
