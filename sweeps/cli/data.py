"""``care data``, and the preparation of data before anything is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

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
from care.errors import CareError, ConfigError
from care.registry import DATA, TREE
from sweeps.process.signals import SignalError
from sweeps.process.terminal import is_live, make_console

if TYPE_CHECKING:  # it imports torch, for which a misspelt field should not wait
    from care.data.dataset import Dataset

    Check = Callable[[Dataset], None]


class ConsoleReporter:
    """Shows a preparation: a bar for each cache, and lines. Entered while it goes on."""

    def __init__(self, console: Console) -> None:
        what = TextColumn("{task.description}", markup=False)
        columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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
    """Bring the files of all trials' data into place, and refuse what they are too small for.

    Raises:
        CareError: See :func:`care.data.prepare.prepare` and
            :func:`care.data.dataset.check_dataset`.
    """
    for (data, root), checks in _wanted(configs).items():
        _prepare(data, root, console)
        from care.data.dataset import load_dataset

        dataset = load_dataset(data, root)
        for check in checks:
            check(dataset)


def _wanted(configs: Iterable[TrialConfig]) -> dict[tuple[DataConfig, Path], list[Check]]:
    """The data sets with files that trials use, and what is to be checked of each."""
    wanted: dict[tuple[DataConfig, Path], list[Check]] = {}
    for config in configs:
        for place, data in enumerate([config.data, *config.transfer_data]):
            if data.source.preparer:
                key = (data, Path(config.runtime.data_root))
                wanted.setdefault(key, []).append(_check(config, data, place))
    return wanted


def _check(config: TrialConfig, data: DataConfig, place: int) -> Check:
    """What is to be checked of the trial's own data (place 0) or of those of a transfer."""
    from care.data.dataset import check_dataset, check_transfer

    if place == 0:
        return partial(check_dataset, config)
    return partial(check_transfer, data, field=f"evaluation.transfer.{place - 1}")


def get_command(name: str, fields: list[str], root: Path) -> None:
    """Prepare one data set and say what it holds."""
    tree = dict(parse_override(field) for field in fields)
    config = validate(DataConfig, {**tree, "name": name}, "care data get")
    console = make_console()
    _prepare(config, root, console)
    from care.data.dataset import load_dataset

    console.print(f"{name} in {root}: {_described(load_dataset(config, root))}")


def _described(data: Dataset) -> str:
    sizes = f"{len(data.train)} training and {len(data.test)} test"
    shape = data.train.images.shape
    if not data.classes:
        return f"{sizes} point clouds of up to {shape[1]} points"
    return f"{sizes} images of {shape[2]} × {shape[3]}, {len(data.classes)} classes"


def list_command(root: Path) -> None:
    """Each data set, and whether it can be loaded from ``root`` as it is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "train", "test", "side"):
        table.add_column(column, justify="left" if column == "name" else "right", no_wrap=True)
    for column in (f"in {root}", "what it is"):
        table.add_column(column, overflow="fold")
    reasons = []
    for name, source in DATA.items():
        sizes = (source.train_size, source.test_size, source.side)
        shown = [str(size) if size else "–" for size in sizes]
        state, reason = _presence(name, root)
        table.add_row(name, *shown, state, source.about)
        reasons += [f"{name}: {reason}"] if reason else []
    console = make_console()
    console.print(table)
    for reason in reasons:
        console.print(f"\n{reason}")


def _presence(name: str, root: Path) -> tuple[str, str]:
    """Whether a data set can be loaded, and if it is there but cannot, the reason."""
    if name == TREE:
        return "–", ""  # it has no place of its own
    from care.data.dataset import load_dataset

    try:
        load_dataset(DataConfig(name=name), root)
    except Exception as error:  # noqa: BLE001 - one data set must not hide the others
        is_there = any(os.path.lexists(root / place) for place in DATA[name].places)
        reason = str(error) if isinstance(error, CareError) else repr(error)
        return ("see below", reason) if is_there else ("no", "")
    return "yes", ""


def _prepare(config: DataConfig, root: Path, console: Console) -> None:
    from care.data.prepare import prepare

    with ConsoleReporter(console) as reporter:
        try:
            prepare(config, root, reporter)
        except ConfigError:
            raise
        except CareError as error:
            raise CareError(f"data.name {config.name!r}: {error}") from error
        except SignalError:
            reporter.log("stopped; the same command resumes from here")
            raise
