"""``care data``, and the preparation of data before anything is started."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn
from rich.table import Table

from care.config import DataConfig, TrialConfig
from care.errors import CareError, ConfigError
from care.loading import parse_override, validate
from care.registry import DATA


class ConsoleReporter:
    """Shows a preparation: a bar for each cache, and lines. Entered while it goes on."""

    def __init__(self, console: Console) -> None:
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._console = console
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """A line of news."""
        self._console.print(line, markup=False)

    def progress(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` of ``what``."""
        if what not in self._tasks:
            self.say(f"decoding {what}: {total - done} of {total} images to do")
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done)


def prepare_data(configs: Iterable[TrialConfig], console: Console) -> None:
    """Bring the files of all trials' data into place, and refuse what they are too small for.

    Raises:
        CareError: See :func:`care.data.prepare`.
    """
    prepared: set[tuple[DataConfig, str]] = set()
    for config in configs:
        if config.data.source.preparer is None:
            continue
        from care.data import check_sizes, load_dataset

        key = (config.data, config.runtime.data_root)
        root = Path(config.runtime.data_root)
        if key not in prepared:
            prepared.add(key)
            _prepare(config.data, root, console)
        if config.data.train_size is None:
            check_sizes(config, load_dataset(config.data, root))


def get_command(name: str, fields: list[str], root: Path) -> None:
    """Prepare one data set and say what it holds."""
    tree = dict(parse_override(field) for field in fields)
    config = validate(DataConfig, {**tree, "name": name}, "care data get")
    console = Console(highlight=False)
    _prepare(config, root, console)
    from care.data import load_dataset

    data = load_dataset(config, root)
    shape = " × ".join(map(str, data.train.images.shape[1:]))
    sizes = f"{len(data.train)} training and {len(data.test)} test samples of {shape}"
    console.print(f"{name}: {sizes}, {len(data.classes)} classes, in {root}")


def list_command(root: Path) -> None:
    """Each data set, and whether it can be loaded from ``root`` as it is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "train", "test", "side", f"in {root}", "what it is"):
        table.add_column(column, justify="right" if column in ("train", "test", "side") else "left")
    for name, source in DATA.items():
        sizes = (source.train_size, source.test_size, source.side)
        shown = [str(size) if size else "–" for size in sizes]
        table.add_row(name, *shown, _presence(name, root), source.about)
    Console(soft_wrap=True).print(table)


def _presence(name: str, root: Path) -> str:
    if name == "images":
        return "–"  # it has no place of its own
    from care.data import load_dataset

    try:
        load_dataset(DataConfig(name=name), root)
    except CareError:
        return "no"
    return "yes"


def _prepare(config: DataConfig, root: Path, console: Console) -> None:
    from care.data import prepare

    with ConsoleReporter(console) as reporter:
        try:
            prepare(config, root, reporter)
        except ConfigError:
            raise
        except CareError as error:
            raise CareError(f"data.name {config.name!r}: {error}") from error
