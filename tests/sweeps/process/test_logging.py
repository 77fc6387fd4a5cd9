"""Lines of our loggers: once on the terminal, as they are, and beside those of libraries."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from sweeps.process.logging import logged_to, show_log
from sweeps.process.terminal import make_console

OURS = logging.getLogger("sweeps.tracking.background")
METHOD = logging.getLogger("care.training.trainer")


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Leave our loggers and the root's as they were."""
    names = ("care", "sweeps", "")
    before = [
        (logger, logger.handlers[:], logger.level, logger.propagate)
        for logger in map(logging.getLogger, names)
    ]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_lines_are_printed_as_they_are() -> None:
    shown = io.StringIO()
    show_log(make_console(shown))
    OURS.info("%d workers submitted: %s", 2, "7_[0-1]")
    METHOD.warning("[paper,authors] 100% :smile:")
    OURS.debug("of no use to a user")
    assert shown.getvalue() == "2 workers submitted: 7_[0-1]\n[paper,authors] 100% :smile:\n"


def test_a_handler_that_a_library_gave_the_root_prints_no_line_twice() -> None:
    shown, root = io.StringIO(), io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(root))
    show_log(make_console(shown))
    OURS.warning("ours")
    logging.getLogger("a_library").warning("theirs")
    assert (shown.getvalue(), root.getvalue()) == ("ours\n", "theirs\n")


def test_another_console_takes_over() -> None:
    first, second = io.StringIO(), io.StringIO()
    show_log(make_console(first))
    show_log(make_console(second))
    OURS.info("once")
    assert (first.getvalue(), second.getvalue()) == ("", "once\n")


def test_a_line_stands_above_the_live_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    show_log(console)
    with Live("the table", console=console, auto_refresh=False) as live:
        live.refresh()
        OURS.info("above")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.rindex("above") < shown.rindex("the table")


def test_a_file_gets_the_lines_while_it_is_open(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    show_log(make_console(io.StringIO()))
    with logged_to(handler):
        OURS.info("during")
    OURS.info("after")
    handler.close()
    assert (tmp_path / "log").read_text() == "during\n"
