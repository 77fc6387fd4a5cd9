"""``care data``, and the preparation of a sweep's data before its trials start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from care.config import DataConfig, TrialConfig
from care.config.loading import parse_override, validate
from care.data.fingerprints.fingerprint import list_files
from care.data.fingerprints.sources import NotHereError
from care.errors import CareError, ConfigError
from care.registry import DATA
from care.system.files import DiskError
from sweeps.process.logging import show_log
from sweeps.process.signals import SignalError
from sweeps.process.terminal import is_live, make_console

if TYPE_CHECKING:  # imports torch, which would delay the message for a misspelt field
    from care.data.dataset import Dataset

    Check = Callable[[Dataset], None]
    DataKey = tuple[DataConfig, Path]


class ConsoleReporter:
    """Shows the preparation of data while entered: lines, and a bar for each cache."""

    def __init__(self, console: Console) -> None:
        description = TextColumn("{task.description}", markup=False)
        columns = (description, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not is_live(console))
        self._console = console
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def log(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(line)

    def progress(self, task: str, done: int, total: int) -> None:
        """Advance the bar of a task."""
        if task not in self._tasks:
            self.log(f"decoding {task}: {total - done} of {total} images to do")
            self._tasks[task] = self._bars.add_task(task, total=total)
        self._bars.update(self._tasks[task], completed=done)


def prepare_data(configs: Iterable[TrialConfig], console: Console) -> None:
    """Download and decode the data of all trials, and check that they suffice for each trial.

    Data sets that can only be fetched by hand come first. If one of them is missing, nothing is
    downloaded, and one error names all that is missing. An error of any other set is raised once
    the others are prepared.

    Raises:
        CareError: Raised by :func:`care.data.prepare.prepare` or
            :func:`care.data.dataset.check_dataset`; one for all data sets.
        DiskError: The disk is full, or its permissions forbid to write.
    """
    checks = _list_checks(configs)
    by_hand = [key for key in checks if key[0].source.by_hand or key[0].source.located]
    errors = [error for key in by_hand if (error := _try(key, checks[key], console))]
    rest = [key for key in checks if key not in by_hand]
    if errors:
        absent = [data.name for data, root in rest if _is_absent(data, root)]
        _raise(errors, list(dict.fromkeys(absent)))  # a set in two sizes is one download
    errors = [error for key in rest if (error := _try(key, checks[key], console))]
    if errors:
        _raise(errors, [])


def _try(key: DataKey, checks: Iterable[Check], console: Console) -> CareError | None:
    """Prepare and check one data set; return its error, unless the disk failed."""
    data, root = key
    try:
        _prepare(data, root, console)
        from care.data.dataset import load_dataset

        dataset = load_dataset(data, root)
        for check in checks:
            check(dataset)
    except DiskError:
        raise
    except CareError as error:
        return error
    return None


def _raise(errors: list[CareError], to_download: list[str]) -> NoReturn:
    """Raise the error of one data set, or one error with those of all.

    Args:
        errors: Errors of data sets; one or more.
        to_download: Names of further data sets that are not here, and can be downloaded.
    """
    if len(errors) == 1 and not to_download:
        raise errors[0]
    problems = [
        problem for error in errors if isinstance(error, ConfigError) for problem in error.problems
    ]
    if len(problems) == len(errors) and not to_download:
        raise ConfigError("data", problems)
    listed = [f"- {error}" for error in errors]
    if to_download:
        rest = f"{', '.join(to_download)}: missing, too; 'care data get NAME' downloads each"
        listed.append(f"- {rest}, and so does the repeated command")
    count = len(errors) + len(to_download)
    raise CareError("\n".join([f"{count} data sets cannot be used:", *listed]))


def _is_absent(data: DataConfig, root: Path) -> bool:
    """Check whether a data set's files are missing."""
    if data.source.files is None:
        return False
    try:
        list_files(data, root)
    except NotHereError:
        return True
    except (CareError, OSError):
        return False
    return False


def _list_checks(configs: Iterable[TrialConfig]) -> dict[DataKey, list[Check]]:
    """List the data sets of the trials that have files, with the checks of each."""
    checks: dict[DataKey, list[Check]] = {}
    for config in configs:
        for index, data in enumerate([config.data, *config.transfer_data]):
            if data.source.preparer:
                key = (data, Path(config.runtime.data_root))
                checks.setdefault(key, []).append(_make_check(config, data, index))
    return checks


def _make_check(config: TrialConfig, data: DataConfig, index: int) -> Check:
    """Make the check of the trial's own data (index 0) or of those of a transfer."""
    from care.data.dataset import check_dataset, check_transfer

    if index == 0:
        return partial(check_dataset, config)
    return partial(check_transfer, data, field=f"evaluation.transfer.{index - 1}")


def get_command(name: str, fields: list[str], root: Path) -> None:
    """Prepare one data set and print its sizes."""
    tree = dict(parse_override(field) for field in fields)
    config = validate(DataConfig, {**tree, "name": name}, "care data get")
    console = make_console()
    _prepare(config, root, console)
    from care.data.dataset import load_dataset

    console.print(f"{name} in {root}: {_describe(load_dataset(config, root))}")


def _describe(data: Dataset) -> str:
    sizes = f"{len(data.train)} training and {len(data.test)} test"
    shape = data.train.images.shape
    if not data.classes:
        return f"{sizes} point clouds of up to {shape[1]} points"
    return f"{sizes} images of {shape[2]} × {shape[3]}, {len(data.classes)} classes"


def list_command(root: Path) -> None:
    """Print each data set, and whether it can be loaded from ``root``."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "train", "test", "side"):
        table.add_column(column, justify="left" if column == "name" else "right", no_wrap=True)
    for column in (f"in {root}", "description"):
        table.add_column(column, overflow="fold")
    reasons = []
    for name, source in DATA.items():
        sizes = (source.train_size, source.test_size, source.side)
        shown = [str(size) if size else "–" for size in sizes]
        state, reason = _check_presence(name, root)
        table.add_row(name, *shown, state, source.about)
        reasons += [f"{name}: {reason}"] if reason else []
    console = make_console()
    console.print(table)
    for reason in reasons:
        console.print(f"\n{reason}")


def _check_presence(name: str, root: Path) -> tuple[str, str]:
    """Return the cell for a data set: yes, no, or "see below" with the reason."""
    if DATA[name].needs_path:
        return "–", ""  # a folder of the user's, not of ``root``
    from care.data.dataset import load_dataset

    try:
        load_dataset(DataConfig(name=name), root)
    except Exception as error:  # noqa: BLE001 - one data set must not hide the others
        exists = any(os.path.lexists(root / path) for path in DATA[name].places)
        reason = str(error) if isinstance(error, CareError) else repr(error)
        return ("see below", reason) if exists else ("no", "")
    return "yes", ""


def _prepare(config: DataConfig, root: Path, console: Console) -> None:
    from care.data.prepare import prepare

    show_log(console)  # lines above the bars
    with ConsoleReporter(console) as reporter:
        try:
            prepare(config, root, reporter)
        except ConfigError:
            raise
        except CareError as error:
            raise CareError(f"data.name {config.name!r}: {error}") from error
        except SignalError:
            reporter.log("stopped; repeat the command to resume")
            raise
