"""Checkpoints that are damaged, half written, or too large for the disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from care.system.files import DiskError, Writer
from care.trials import checkpoint

CPU = torch.device("cpu")
TRIAL = "0123456789abcdef"


def state(value: int) -> dict[str, object]:
    network = {"weight": torch.full((3, 4), float(value)), "steps": torch.tensor(7)}
    return {"epoch": value, "network": network, "sums": {"train/loss": torch.tensor(value)}}


def save(folder: Path, *epochs: int) -> list[Path]:
    return [checkpoint.save(folder, epoch, 0, state(epoch)) for epoch in epochs]


def load(folder: Path) -> tuple[int | None, list[str]]:
    """The epoch that is loaded, and what is said about it."""
    said: list[str] = []
    found = checkpoint.load(folder, CPU, said.append, Writer())
    return (found["epoch"] if found else None), said


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def flip_a_bit(content: bytes) -> bytes:
    """In the tensors' bytes, where torch's own reader sees nothing wrong."""
    place = content.index(torch.full((3, 4), 2.0).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_a_state_comes_back(tmp_path: Path) -> None:
    (path,) = save(tmp_path, 2)
    found = checkpoint.load(tmp_path, CPU, pytest.fail)
    assert found is not None
    assert found["epoch"] == 2
    assert torch.equal(found["network"]["weight"], torch.full((3, 4), 2.0))
    assert found["network"]["steps"].dtype == torch.int64
    assert torch.load(path, weights_only=True)["epoch"] == 2


def test_two_are_kept(tmp_path: Path) -> None:
    paths = save(tmp_path, 1, 2, 3)
    assert set(tmp_path.iterdir()) == set(paths[1:])
    assert load(tmp_path) == (3, [])


def test_steps_inside_an_epoch_are_in_order(tmp_path: Path) -> None:
    """As numbers, too: step 10 comes after step 9."""
    for epoch, step in [(1, 9), (1, 10), (2, 0), (2, 3)]:
        checkpoint.save(tmp_path, epoch, step, {"epoch": epoch, "step": step})
        found = checkpoint.load(tmp_path, CPU, pytest.fail)
        assert found == {"epoch": epoch, "step": step}


def test_equal_states_are_equal_files(tmp_path: Path) -> None:
    (path,) = save(tmp_path, 1)
    before = path.read_bytes()
    assert save(tmp_path, 1) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit])
def test_a_damaged_one_is_passed_over_and_said(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    _, newest = save(tmp_path, 1, 2)
    newest.write_bytes(damage(newest.read_bytes()))
    epoch, said = load(tmp_path)
    assert epoch == 1
    assert said == [f"{newest.name} is damaged (epoch 2, step 0); the previous one is used"]
    assert load(tmp_path) == (1, []), "it is said once"
    assert len(list(tmp_path.glob("*.damaged"))) == 1, "and kept, for who wants to look"


def test_all_damaged_is_a_fresh_start(tmp_path: Path) -> None:
    for path in save(tmp_path, 1, 2):
        path.write_bytes(b"")
    epoch, said = load(tmp_path)
    assert epoch is None
    assert [line.partition(" ")[0] for line in said] == sorted(
        (path.with_suffix(".pt").name for path in tmp_path.glob("*.damaged")), reverse=True
    )


def test_none_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-best.pt").touch()
    assert load(tmp_path) == (None, [])


def test_no_space_keeps_what_there_was(
    tmp_path: Path, no_space: Callable[[int], AbstractContextManager[None]]
) -> None:
    paths = save(tmp_path, 1, 2)
    with no_space(500), pytest.raises(DiskError, match=r"checkpoint-000003-000000-\w+\.pt: cannot"):
        save(tmp_path, 3)
    assert set(tmp_path.iterdir()) == set(paths)
    assert load(tmp_path) == (2, [])


def test_what_a_killed_write_left_is_cleared_away(tmp_path: Path) -> None:
    """Or a trial that is pre-empted again and again would fill the disk."""
    left = tmp_path / ".checkpoint-000002-000000-0123456789abcdef.pt.4242.tmp"
    left.write_bytes(b"half")
    (path,) = save(tmp_path, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_trial_is_passed_over(tmp_path: Path) -> None:
    """A copy from another trial's folder is whole, and its network fits."""
    save(tmp_path, 1)
    checkpoint.save(tmp_path, 2, 0, {**state(2), "trial_id": "a" * 16})
    said: list[str] = []
    found = checkpoint.load(tmp_path, CPU, said.append, Writer(), "b" * 16)
    assert found is not None
    assert found["epoch"] == 1  # an earlier version's, which names no trial
    (line,) = said
    assert f"is of another trial, {'a' * 16} (epoch 2, step 0)" in line
    again = checkpoint.load(tmp_path, CPU, pytest.fail, trial="b" * 16)
    assert again is not None
    assert again["epoch"] == 1


def test_weights_take_the_place_of_checkpoints(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    before = checkpoint.load_network(tmp_path, CPU, pytest.fail)
    assert checkpoint.keep_only_weights(tmp_path, 2, TRIAL, pytest.fail)
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"weights-000002-[0-9a-f]{16}\.pt", path.name)
    after = checkpoint.load_network(tmp_path, CPU, pytest.fail, TRIAL)
    assert before
    assert after
    assert (before[0], after[0]) == (2, 2)
    assert list(before[1]) == list(after[1])
    for name, tensor in before[1].items():
        assert torch.equal(tensor, after[1][name])
    content = path.read_bytes()
    assert checkpoint.keep_only_weights(tmp_path, 2, TRIAL, pytest.fail)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]


def test_weights_hold_the_network_and_no_more(tmp_path: Path) -> None:
    """Also where the network's tensors are parts of one large storage."""
    storage = torch.arange(100_000.0)
    network = {"weight": storage[5:9], "nan": torch.tensor([float("nan")])}
    checkpoint.save(tmp_path, 1, 0, {"epoch": 1, "network": network, "optimizer": storage + 1})
    assert checkpoint.keep_only_weights(tmp_path, 1, TRIAL, pytest.fail)
    (path,) = tmp_path.iterdir()
    stored = torch.load(path, weights_only=True)
    assert set(stored) == {"trial_id", "epoch", "network"}
    assert stored["network"]["weight"].tolist() == [5, 6, 7, 8]
    assert path.stat().st_size < 5_000


def test_an_earlier_network_does_not_become_the_weights(tmp_path: Path) -> None:
    """The last checkpoint is damaged: what is left is not the trained network."""
    paths = save(tmp_path, 1, 2)
    paths[1].write_bytes(truncate(paths[1].read_bytes()))
    lines: list[str] = []
    assert not checkpoint.keep_only_weights(tmp_path, 2, TRIAL, lines.append)
    assert set(tmp_path.iterdir()) == set(paths)
    assert len(lines) == 1


def test_no_space_for_weights_keeps_the_last_checkpoint(
    tmp_path: Path, no_space: Callable[[int], AbstractContextManager[None]]
) -> None:
    _, last = save(tmp_path, 1, 2)
    with no_space(500), pytest.raises(DiskError, match=r"weights-000002-\w+\.pt: cannot"):
        checkpoint.keep_only_weights(tmp_path, 2, TRIAL, pytest.fail)
    assert list(tmp_path.iterdir()) == [last]


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit])
def test_damaged_weights_are_passed_over(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    save(tmp_path, 2)
    assert checkpoint.keep_only_weights(tmp_path, 2, TRIAL, pytest.fail)
    (weights,) = tmp_path.iterdir()
    weights.write_bytes(damage(weights.read_bytes()))
    lines: list[str] = []
    assert checkpoint.load_network(tmp_path, CPU, lines.append) is None
    assert len(lines) == 1
    save(tmp_path, 1)
    older = checkpoint.load_network(tmp_path, CPU, lines.append)
    assert older
    assert older[0] == 1


def test_weights_of_another_trial_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 2)
    assert checkpoint.keep_only_weights(tmp_path, 2, TRIAL, pytest.fail)
    lines: list[str] = []
    assert checkpoint.load_network(tmp_path, CPU, lines.append, "b" * 16) is None
    assert f"is of another trial, {TRIAL}" in lines[0]
