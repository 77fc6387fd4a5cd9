"""Ray on a node that others use, too."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest

from care.errors import CareError
from sweeps.backends.slurm.network import address_of, answers
from sweeps.backends.slurm.ray_node import RayNode

MakeNode = Callable[[str], RayNode]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MakeNode]:
    """Makes a Ray of its own with a token of its own; all are ended afterwards."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ))

        def make(name: str) -> RayNode:
            token = tmp_path / f"{name}.token"
            token.write_text(secrets.token_hex(32))
            log = tmp_path / f"{name}.log"
            return stack.enter_context(RayNode("/tmp", address_of(None), token, log))

        yield make


def test_two_heads_of_one_node_have_addresses_of_their_own(node: MakeNode) -> None:
    first, second = node("first"), node("second")
    addresses = [first.start_head(), second.start_head()]
    assert len(set(addresses)) == 2
    assert all(map(answers, addresses))
    first.stop()
    assert [answers(address) for address in addresses] == [False, True]
    assert second.running


def test_a_head_that_does_not_start_names_its_log(node: MakeNode, tmp_path: Path) -> None:
    ray = node("only")
    (tmp_path / "only.token").unlink()
    with pytest.raises(CareError, match=r"Ray's head did not start; its log: .*only\.log"):
        ray.start_head()
    assert "token" in (tmp_path / "only.log").read_text()
