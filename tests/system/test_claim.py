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

from care.system import claim as claim_module
from care.system import claim_files
from care.system import heartbeat as liveness
from care.system.claim import Claim, LostClaimError, holder, release_dead
from care.system.files import DiskError
from care.system.holder import Holder
from care.system.process import ProcessStat, process_alive
from tests.helpers.claiming import CONTEXT, hold, race_for_folders, run_side_by_side, take_turns

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


def beat_file(folder: Path) -> Path:
    return next(folder.glob(".held-*")) / "beat"


def rewrite(path: Path, **changes: Any) -> None:
    """Change a claim's record in place."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The monotonic clock that claims are judged by, stopped; ``return_value`` sets it."""
    clock = Mock(return_value=1000.0)
    monkeypatch.setattr("care.system.heartbeat.time", Mock(wraps=time, monotonic=clock))
    return clock


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
    turns = 40
    run_side_by_side(PROCESSES, take_turns, folder, turns)
    assert names(folder) == [f"claim-{PROCESSES * turns:06d}.released"]


def test_a_late_taker_does_not_take_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one looks at the claims and links its own, another one takes, works and releases."""
    link = claim_files.link_claim

    def late(*arguments: Any) -> bool:
        monkeypatch.setattr(claim_module, "link_claim", link)
        meanwhile = Claim.take(folder)
        assert meanwhile
        meanwhile.release()
        return link(*arguments)

    monkeypatch.setattr(claim_module, "link_claim", late)
    claim = Claim.take(folder)
    assert claim
    assert holder(folder)
    assert Claim.take(folder) is None
    claim.release()
    assert holder(folder) is None


def test_a_stale_taker_does_not_take_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one looks and links, two others have the claim, and the second one keeps it."""
    link = claim_files.link_claim
    kept: list[Claim] = []

    def late(*arguments: Any) -> bool:
        monkeypatch.setattr(claim_module, "link_claim", link)
        first = Claim.take(folder)
        assert first
        first.release()
        second = Claim.take(folder)
        assert second
        kept.append(second)
        return link(*arguments)

    monkeypatch.setattr(claim_module, "link_claim", late)
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
    assert len(list(folder.glob("claim-*"))) == 1, "the dead holder's claim is cleared away"
    claim.release()


def test_a_stopped_holder_lives(folder: Path, other: BaseProcess) -> None:
    assert other.pid
    os.kill(other.pid, signal.SIGSTOP)
    assert Claim.take(folder) is None
    os.kill(other.pid, signal.SIGCONT)


def test_a_zombie_is_dead(folder: Path) -> None:
    """A killed process that its parent has not reaped still has its pid."""
    code = "import sys; from pathlib import Path; from tests.helpers.claiming import hold; hold(*map(Path, "
    taken = folder.parent / "taken"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "sys.argv[1:]))", folder, taken],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_for(taken.exists)
        assert Claim.take(folder) is None
        process.kill()
        wait_for(lambda: (stat := ProcessStat.read(process.pid)) is not None and stat.dead)
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
def test_a_claim_from_elsewhere_stands_until_it_was_seen_silent_for_a_lease(
    folder: Path, clock: Mock, where: dict[str, Any]
) -> None:
    assert Claim.take(folder)
    rewrite(claim_file(folder), host="elsewhere", pid=2**22 + 1, machine="", **where)
    clock.return_value = 5000.0
    assert Claim.take(folder) is None
    found = holder(folder)
    assert found
    assert found.host == "elsewhere"
    clock.return_value += liveness.LEASE_SECONDS - 1
    assert Claim.take(folder) is None
    clock.return_value += 2
    assert holder(folder) is None
    claim = Claim.take(folder)
    assert claim
    claim.release()


@pytest.mark.parametrize("hours", [-1000, -1, 1, 1000])
def test_clocks_are_never_compared(folder: Path, clock: Mock, hours: int) -> None:
    """A beat whose time lies in the past, or in the future, counts as one look ago."""
    assert Claim.take(folder)
    rewrite(claim_file(folder), boot="elsewhere", machine="")
    liveness.write_beat(beat_file(folder), 1)
    os.utime(beat_file(folder), (time.time() + 3600 * hours,) * 2)
    for wait in (0, liveness.LEASE_SECONDS - 1):
        clock.return_value += wait
        assert Claim.take(folder) is None
    clock.return_value += 2
    assert Claim.take(folder)


def test_a_beat_that_moves_is_life_whatever_its_time(folder: Path, clock: Mock) -> None:
    assert Claim.take(folder)
    rewrite(claim_file(folder), boot="elsewhere", machine="")
    for number in range(5):
        liveness.write_beat(beat_file(folder), number + 1)
        os.utime(beat_file(folder), (0, 0))
        assert Claim.take(folder) is None
        clock.return_value += liveness.LEASE_SECONDS + 1


def test_a_plan_alone_never_finds_a_holder_dead(folder: Path, clock: Mock) -> None:
    """Who only reads notes nothing, so what it says does not depend on how often it looks."""
    assert Claim.take(folder)
    rewrite(claim_file(folder), boot="elsewhere", machine="")
    before = sorted(folder.rglob("*"))
    for _ in range(3):
        assert holder(folder)
        clock.return_value += 10 * liveness.LEASE_SECONDS
    assert sorted(folder.rglob("*")) == before


def test_a_holder_on_this_machine_before_its_restart_is_dead(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care.system.process.machine", lambda: "this machine")
    assert Claim.take(folder)
    assert Claim.take(folder) is None
    rewrite(claim_file(folder), boot="an earlier boot/pid:[4026531836]")
    assert holder(folder) is None
    rewrite(claim_file(folder), machine="another machine")
    assert holder(folder)


def test_a_name_of_the_machine_that_changes_changes_nothing(
    folder: Path, other: BaseProcess
) -> None:
    """A laptop in another network."""
    rewrite(claim_file(folder), host="another name")
    assert holder(folder)
    other.kill()
    other.join()
    assert holder(folder) is None


def test_a_holder_gives_signs_of_life(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "_BEAT_SECONDS", 0.001)
    claim = Claim.take(folder)
    assert claim
    beat = next(folder.glob(".held-*")) / "beat"
    wait_for(beat.exists)
    for _ in range(2):
        before = int(beat.read_text())
        wait_for(lambda before=before: int(beat.read_text()) > before)  # type: ignore[misc]
    hidden = folder.rename(folder.with_name("away"))
    wait_for(hidden.exists)
    hidden.rename(folder)
    before = int(beat.read_text())
    wait_for(lambda: int(beat.read_text()) > before)
    assert not claim.lost
    claim.release()


def test_a_claim_of_an_earlier_version_is_respected(folder: Path, clock: Mock) -> None:
    """It was a file, whose time its holder moved."""
    folder.mkdir()
    record = {"host": "h", "boot": "b", "pid": 1, "started": "2", "since": "2026-01-01 00:00:00"}
    (folder / "claim-000004").write_text(json.dumps(record))
    assert Claim.take(folder) is None
    clock.return_value += liveness.LEASE_SECONDS + 1
    os.utime(folder / "claim-000004", (1, 1))
    assert Claim.take(folder) is None
    clock.return_value += liveness.LEASE_SECONDS + 1
    claim = Claim.take(folder)
    assert claim
    claim.release()
    (folder / "claim-000006.released").write_text(json.dumps(record))
    assert Claim.take(folder)


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


@pytest.mark.parametrize("content", ["", "{", "null", "[]", "3", '{"host": 1}'])
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
    rewrite(claim_file(folder), boot="another machine", machine="", pid=999_999_999)
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


def taken_over(folder: Path) -> tuple[Claim, Claim]:
    """The claim of a holder elsewhere that was wrongly believed dead, and of who took over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveness, "LEASE_SECONDS", 0.0)
        lost = Claim.take(folder)
        assert lost
        rewrite(claim_file(folder), boot="elsewhere", machine="")
        assert Claim.take(folder) is None, "one look is not enough"
        held = Claim.take(folder)
        assert held
    return lost, held


@pytest.mark.parametrize(
    "write",
    [
        lambda claim, folder: claim.replace(folder / "status.json", b"lost"),
        lambda claim, folder: claim.append(folder / "log.jsonl", {"lost": 1}),
        lambda claim, folder: claim.append(folder / "new.jsonl", {"lost": 1}),
        lambda claim, folder: claim.rewrite(folder / "log.jsonl", b""),
        lambda claim, folder: claim.remove(folder / "status.json"),
        lambda claim, folder: claim.rename(folder / "status.json", folder / "status.damaged"),
        lambda claim, folder: claim.check(),
    ],
    ids=["replace", "append", "append to a new log", "rewrite", "remove", "rename", "check"],
)
def test_a_lost_claim_writes_nothing(folder: Path, write: Callable[[Claim, Path], None]) -> None:
    first = Claim.take(folder)
    assert first
    first.append(folder / "log.jsonl", {"held": 0})
    first.release()
    lost, held = taken_over(folder)
    held.append(folder / "log.jsonl", {"held": 1})
    held.replace(folder / "status.json", b"held")
    with pytest.raises(LostClaimError, match=r"trial: another process took over"):
        write(lost, folder)
    assert lost.lost
    assert (folder / "log.jsonl").read_text() == '{"held": 0}\n{"held": 1}\n'
    assert (folder / "status.json").read_bytes() == b"held"
    lost.release()
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "claim-000003",
        "log.jsonl",
        "status.json",
    ]
    held.append(folder / "log.jsonl", {"held": 2})
    held.release()


def test_a_disk_that_is_away_is_no_lost_claim(folder: Path) -> None:
    claim = Claim.take(folder)
    assert claim
    folder.rename(folder.with_name("away"))
    with pytest.raises(DiskError):
        claim.replace(folder / "status.json", b"")
    assert not claim.lost
    folder.with_name("away").rename(folder)
    claim.replace(folder / "status.json", b"back")


def test_a_log_that_somebody_replaced_is_continued(folder: Path) -> None:
    """E.g. by an editor, or from a backup: lines go where readers read."""
    claim = Claim.take(folder)
    assert claim
    log = folder / "log.jsonl"
    claim.append(log, {"line": 1})
    copy = folder / "copy"
    copy.write_bytes(log.read_bytes())
    copy.replace(log)
    claim.append(log, {"line": 2})
    assert log.read_text() == '{"line": 1}\n{"line": 2}\n'


def test_a_folder_that_was_archived_and_made_again_is_not_the_old_holders(folder: Path) -> None:
    lost, held = taken_over(folder)
    folder.rename(folder.with_name("archived"))
    held.release()
    again = Claim.take(folder)
    assert again
    again.replace(folder / "status.json", b"again")
    with pytest.raises(LostClaimError):
        lost.replace(folder / "status.json", b"lost")
    lost.release()
    assert holder(folder)
    again.replace(folder / "status.json", b"again")


def test_a_link_that_another_user_planted_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """Names in a folder that others may write cannot be guessed, and are never opened for that."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    claim = Claim.take(folder)
    assert claim
    held = next(folder.glob(".held-*"))
    for name in ("status.json", "log.jsonl", "log.jsonl.new"):
        (held / name).symlink_to(victim)
    claim.replace(folder / "status.json", b"status")
    claim.append(folder / "log.jsonl", {"line": 1})
    assert victim.read_text() == "mine"
    assert (folder / "log.jsonl").read_text() == '{"line": 1}\n'


def test_a_log_that_cannot_be_opened_is_an_error_of_the_disk(folder: Path) -> None:
    claim = Claim.take(folder)
    assert claim
    with claim:
        (folder / "log.jsonl").symlink_to("log.jsonl")
        with pytest.raises(DiskError, match=r"log\.jsonl: cannot write"):
            claim.append(folder / "log.jsonl", {"epoch": 1})
