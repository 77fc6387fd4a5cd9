"""Where messages go while this process is connected to a Ray; no Ray is started."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.backends.ray_session import connected


@pytest.fixture(autouse=True)
def ray_logger() -> Iterator[None]:
    """Leave Ray's logger as it was."""
    logger = logging.getLogger("ray")
    before = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def test_the_file_has_rays_messages_and_between_them_our_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    log = tmp_path / "ray.log"
    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with connected("local", log):
        logging.getLogger("ray.tune").warning("a process was lost")
        logging.getLogger("sweeps.tune.callback").warning("λ=0 seed=1: it resumes")
    logging.getLogger("sweeps.run").info("afterwards")
    lines = log.read_text().splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "a process was lost",
        "λ=0 seed=1: it resumes",
    ]
    assert log_lines == ["λ=0 seed=1: it resumes", "afterwards"], "Ray's are not for the user"
