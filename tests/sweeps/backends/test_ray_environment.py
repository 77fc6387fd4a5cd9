"""The environment that Ray reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeps.backends.ray_environment import set_ray_environment

FOREIGN = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_TOKEN": "theirs", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's own Ray, of which nothing may be joined or kept."""
    monkeypatch.setattr(os, "environ", dict(FOREIGN))


def test_a_ray_of_this_machine_takes_its_own_token_only() -> None:
    set_ray_environment("ours")
    assert os.environ["RAY_AUTH_TOKEN"] == "ours"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert not os.environ.keys() & {"RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"}
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0", "on the loopback address"


def test_the_nodes_of_a_cluster_read_the_token_from_one_file() -> None:
    set_ray_environment("of an earlier sweep in this process")
    set_ray_environment(Path("/store/pool/token"))
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/store/pool/token"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    alone = {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    assert not os.environ.keys() & alone


def test_ray_reports_nobodys_usage() -> None:
    set_ray_environment("ours")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
