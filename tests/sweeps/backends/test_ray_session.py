"""Where messages go while this process is connected to a Ray; no Ray is started."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from care.errors import CareError
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


def test_a_ray_that_does_not_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(**_: object) -> None:
        raise RuntimeError("The current node timed out during startup.\nat https://me:pw@host")

    monkeypatch.setattr("ray.init", too_late)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    log = tmp_path / "ray.log"
    with pytest.raises(CareError) as caught, connected("local", log):
        raise AssertionError
    assert "\n" not in str(caught.value)
    assert "timed out during startup" in str(caught.value)
    assert "Repeat the command" in str(caught.value)
    assert "https://***@host" in log.read_text(), "all of it, without its secrets"


def test_tune_passes_no_credentials_as_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails where a new Ray keeps these names elsewhere: then find out where, and stop it."""
    from ray.tune.execution import class_cache

    before = class_cache.ENV_VARS_TO_PROPAGATE
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", {*before, "AWS_SECRET_ACCESS_KEY"})
    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.remote", lambda runtime_env: lambda _: runtime_env)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    with connected("local", tmp_path / "ray.log"):
        cached = class_cache._ActorClassCache().get(object)
    assert "planted" not in str(cached)
    assert cached["env_vars"], "it still asks for others"
