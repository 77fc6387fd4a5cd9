"""What tests of every part share."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.register_assert_rewrite("tests.helpers")  # before its import, below

from care import plugins
from care.config import TrialConfig
from care.config.loading import validate
from care.data_sets import DATA
from care.errors import ConfigError, Problem, shortened
from care.plugins import Registry
from care.registry import ENCODERS, MEASURES, MONITORED, OBJECTIVES
from sweeps.tracking.database import create_database
from tests.helpers.paths import ROOT

# Tests use small tensors: two threads on shared cores are five times slower than one.
torch.set_num_threads(1)
# Sweeps of tests send no messages to the developer.
os.environ.pop("CARE_NOTIFY", None)

TINY: dict[str, Any] = {
    "model": {"encoder": "small", "head": {"hidden": 32, "output": 16}},
    "objective": {"equivariance": {"weight": 0.1, "splits": 16}},
    "training": {"epochs": 3, "batch_size": 256},
    "evaluation": {"monitor_images": 32, "rotation_augmentations": 2, "knn_neighbors": 5},
    "runtime": {"threads": 1},
}


# Files that take a minute or more. Started last, one of them would leave the other processes idle.
LONG = (
    "sweeps/test_run.py",
    "sweeps/test_revisions.py",
    "training/test_pack.py",
    "sweeps/tune/test_run_packs.py",
    "training/ddp/test_equality.py",
    "analysis/test_report.py",
    "sweeps/tune/test_adaptive_sweeps.py",
    "sweeps/notify/test_notify.py",
    "training/test_resume.py",
    "sweeps/test_kill_loop.py",
    "sweeps/tune/test_killed_searches.py",
    "sweeps/tune/test_run_searches.py",
    "sweeps/tracking/test_server.py",
    "sweeps/backends/slurm/test_open_run.py",
    "sweeps/test_limits.py",
    "sweeps/tune/test_held_trials.py",
    "evaluation/test_resume.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long files first, in the order of :data:`LONG`."""
    order = {ROOT / "tests" / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the tests with kills."""
    parser.addoption("--faults", type=int, default=20, help="accidents of the kill loop")
    parser.addoption("--kills", type=int, default=2, help="kills of a search")
    parser.addoption("--every-search", action="store_true", help="kill every kind of search")
    parser.addoption("--fault-seed", type=int, default=0, help="which accidents, in which order")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the repository; CI has it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"no real data in {folder}")
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables, made once: it takes MLflow seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    create_database(file)
    return file


@pytest.fixture(autouse=True)
def own_loggers() -> Iterator[None]:
    """Undo what a command that ran in this process did to our loggers."""
    loggers = [logging.getLogger(name) for name in ("care", "sweeps")]
    before = [(list(each.handlers), each.level, each.propagate) for each in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def own_plugins() -> Iterator[None]:
    """Undo what plugins registered that were imported during the test."""
    registries: list[Registry[Any]] = [DATA, ENCODERS, MEASURES, MONITORED, OBJECTIVES]
    before = [dict(registry._entries) for registry in registries]
    loaded = set(plugins._loaded)
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry._entries = entries
    for name in plugins._loaded - loaded:
        sys.modules.pop(name, None)
    plugins._loaded &= loaded


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """The lines that our loggers show a user during the test."""
    handler = _Lines()
    loggers = [logging.getLogger(name) for name in ("care", "sweeps")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler.lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.fixture
def tiny_config() -> TrialConfig:
    """A trial that a test can afford to train."""
    return validate(TrialConfig, TINY, "test")


@pytest.fixture
def no_space() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """``with no_space(n)``: no file of this process can grow beyond ``n`` bytes.

    The kernel writes what fits and refuses the rest, as a full disk does.
    """

    @contextlib.contextmanager
    def limit(largest: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def refused() -> Callable[..., Problem]:
    """Call something that must raise a ConfigError with one problem, and get that problem.

    What the problem holds must stand in the message that the user reads, too.
    """

    def call(action: Callable[..., Any], *arguments: Any) -> Problem:
        with pytest.raises(ConfigError) as caught:
            action(*arguments)
        assert len(caught.value.problems) == 1, str(caught.value)
        problem = caught.value.problems[0]
        message = str(caught.value)
        assert message.startswith(f"{caught.value.source}:\n")
        assert f": got {shortened(problem.value)}; {problem.allowed}" in message
        assert problem.field[:100] in message
        if problem.nearest:
            assert f"did you mean {problem.nearest!r}?" in message
        return problem

    return call
