"""Claims, by processes that race, die, become zombies and live on other machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from care import claim as claim_module
from care.claim import LEASE_SECONDS, Claim, Holder, holder, process_alive, release_dead
from care.files import DiskError
from tests.claiming import CONTEXT, hold, race_for_folders, run_side_by_side, take_turns

PROCESSES = 4


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def claim_file(folder: Path) -> Path:
    return max(folder.glob("claim-*"))


def rewrite(path: Path, **changes: Any) -> None:
    """Change a claim's record in place, keeping the time of its last sign of life."""
    beat = path.stat().st_mtime
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    os.utime(path, (beat, beat))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trial"


@pytest.fixture
def other(folder: Path, tmp_path: Path) -> Iterator[BaseProcess]:
    """Another process that holds the folder's claim."""
    process = CONTEXT.Process(target=hold, args=(folder, tmp_path / "taken"))
    process.start()
    wait_for((tmp_path / "taken").exists)
    yield process
    process.kill()
    process.join()


def test_one_wins_every_race(tmp_path: Path) -> None:
    run_side_by_side(PROCESSES, race_for_folders, tmp_path, 100)
    rounds = sorted(tmp_path.iterdir())
    assert [len(list(folder.glob("winner-*"))) for folder in rounds] == [1] * 100


def test_never_two_at_once(folder: Path) -> None:
    folder.mkdir()
    turns = 80
    run_side_by_side(PROCESSES, take_turns, folder, turns)
    assert names(folder) == [f"claim-{PROCESSES * turns:06d}.released"]


def test_a_late_taker_does_not_take_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one looks at the claims and links its own, another one takes, works and releases."""
    link = claim_module._link

    def late(path: Path) -> bool:
        monkeypatch.setattr(claim_module, "_link", link)
        meanwhile = Claim.take(folder)
        assert meanwhile
        meanwhile.release()
        return link(path)

    monkeypatch.setattr(claim_module, "_link", late)
    claim = Claim.take(folder)
    assert claim
    assert holder(folder)
    assert Claim.take(folder) is None
    claim.release()
    assert holder(folder) is None


def test_a_stale_taker_does_not_take_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one looks and links, two others have the claim, and the second one keeps it."""
    link = claim_module._link
    kept: list[Claim] = []

    def late(path: Path) -> bool:
        monkeypatch.setattr(claim_module, "_link", link)
        first = Claim.take(folder)
        assert first
        first.release()
        second = Claim.take(folder)
        assert second
        kept.append(second)
        return link(path)

    monkeypatch.setattr(claim_module, "_link", late)
    assert Claim.take(folder) is None
    assert holder(folder)
    kept[0].release()
    assert holder(folder) is None


def test_a_holder_is_respected_and_known(folder: Path, other: BaseProcess) -> None:
    assert Claim.take(folder) is None
    found = holder(folder)
    assert isinstance(found, Holder)
    assert found.pid == other.pid
    assert f"process {other.pid} on {os.uname().nodename} since 2" in str(found)


def test_a_killed_holder_is_free_at_once(folder: Path, other: BaseProcess) -> None:
    assert other.pid
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert holder(folder) is None
    claim = Claim.take(folder)
    assert claim
    assert len(list(folder.iterdir())) == 1, "the dead holder's claim is cleared away"
    claim.release()


def test_a_stopped_holder_lives(folder: Path, other: BaseProcess) -> None:
    assert other.pid
    os.kill(other.pid, signal.SIGSTOP)
    assert Claim.take(folder) is None
    os.kill(other.pid, signal.SIGCONT)


def test_a_zombie_is_dead(folder: Path) -> None:
    """A killed process that its parent has not reaped still has its pid."""
    code = "import sys; from pathlib import Path; from tests.claiming import hold; hold(*map(Path, "
    taken = folder.parent / "taken"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "sys.argv[1:]))", folder, taken],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_for(taken.exists)
        assert Claim.take(folder) is None
        process.kill()
        stat = Path(f"/proc/{process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")
        claim = Claim.take(folder)
        assert claim
        claim.release()
    finally:
        process.kill()
        process.wait()


def test_a_reused_pid_is_another_process(folder: Path) -> None:
    assert Claim.take(folder)
    assert Claim.take(folder) is None
    rewrite(claim_file(folder), started="1")
    assert holder(folder) is None
    assert Claim.take(folder)


@pytest.mark.parametrize("where", [{"boot": "elsewhere"}, {"started": None}])
def test_a_claim_from_elsewhere_stands_until_its_lease_ends(
    folder: Path, where: dict[str, Any]
) -> None:
    assert Claim.take(folder)
    path = claim_file(folder)
    rewrite(path, host="elsewhere", pid=2**22 + 1, **where)
    assert Claim.take(folder) is None
    found = holder(folder)
    assert found
    assert found.host == "elsewhere"
    for age, free in ((LEASE_SECONDS - 20, False), (LEASE_SECONDS + 1, True)):
        os.utime(path, (time.time() - age,) * 2)
        assert (holder(folder) is None) == free
    claim = Claim.take(folder)
    assert claim
    claim.release()


def test_a_holder_gives_signs_of_life(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "_BEAT_SECONDS", 0.001)
    claim = Claim.take(folder)
    assert claim
    path = claim_file(folder)
    for _ in range(2):
        os.utime(path, (0, 0))
        wait_for(lambda: path.stat().st_mtime > LEASE_SECONDS)
    hidden = folder.rename(folder.with_name("away"))
    wait_for(hidden.exists)
    hidden.rename(folder)
    os.utime(path, (0, 0))
    wait_for(lambda: path.stat().st_mtime > LEASE_SECONDS)
    claim.release()


def test_released_is_free(folder: Path) -> None:
    for _ in range(3):
        with Claim.take(folder) or pytest.fail("not free") as claim:
            assert Claim.take(folder) is None
        assert holder(folder) is None
        claim.release()
    assert names(folder) == ["claim-000003.released"]


def test_released_after_the_folder_moved(folder: Path) -> None:
    claim = Claim.take(folder)
    assert claim
    folder.rename(folder.with_name("archived"))
    claim.release()
    assert not folder.exists()


@pytest.mark.parametrize("content", ["", "{"])
def test_a_claim_damaged_by_a_power_cut_is_free(folder: Path, content: str) -> None:
    assert Claim.take(folder)
    claim_file(folder).write_text(content)
    assert holder(folder) is None
    assert Claim.take(folder)


def test_no_space_is_said(
    folder: Path, no_space: Callable[[int], AbstractContextManager[None]]
) -> None:
    with no_space(0), pytest.raises(DiskError, match=r"trial: cannot write \(File too large\)"):
        Claim.take(folder)
    assert list(folder.iterdir()) == []
    assert holder(folder) is None


def test_unclaimed_is_free(folder: Path) -> None:
    assert holder(folder) is None
    assert not folder.exists()


def test_processes_live_or_not(other: BaseProcess) -> None:
    assert other.pid
    assert process_alive(os.getpid())
    assert process_alive(other.pid)
    other.kill()
    other.join()
    assert not process_alive(other.pid)


def test_a_neighbor_frees_what_a_dead_process_held(folder: Path, other: BaseProcess) -> None:
    """For others, on other machines, who could tell only by its silence."""
    assert not release_dead(folder), "its holder lives"
    assert not names(folder)[-1].endswith(".released")
    other.kill()
    other.join()
    assert release_dead(folder)
    assert names(folder)[-1].endswith(".released")
    assert release_dead(folder)


def test_a_neighbor_never_frees_what_another_machine_holds(folder: Path) -> None:
    claim = Claim.take(folder)
    assert claim
    rewrite(claim_file(folder), boot="another machine", pid=999_999_999)
    assert release_dead(folder), "no process of this machine holds it"
    assert holder(folder)
    assert Claim.take(folder) is None


def test_a_claim_that_cannot_be_given_up_now_is_given_up_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was read-only; its holder lives on, and must not hold it for ever."""
    monkeypatch.setattr(claim_module, "_RETRY_SECONDS", 0.05)
    claim = Claim.take(folder)
    assert claim
    away = OSError(30, "Read-only file system")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", Mock(side_effect=away))
        claim.release()
        time.sleep(0.2)
        assert holder(folder)
    wait_for(lambda: holder(folder) is None)
    assert Claim.take(folder)
