"""The log of a trial: what people read in it, its bounds, and that it harms nothing."""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.system.claim import Claim
from care.system.files import DiskError, Writer
from care.trials import log
from care.trials.failure import describe
from care.trials.folder import TrialFolder
from care.trials.process_log import logging_to, owned_by
from care.trials.records import ProvenanceRecord, TimingRecord
from care.trials.state import State

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .*")


def lines(folder: Path) -> list[str]:
    """The lines of a log without their times, which each line must have."""
    content = (folder / "log.txt").read_text(encoding="utf-8")
    assert content.endswith("\n")
    assert all(LINE.fullmatch(line) for line in content.splitlines())
    return [line.partition(" ")[2] for line in content.splitlines()]


def test_the_life_of_a_trial(tmp_path: Path, tiny_config: TrialConfig) -> None:
    folder = TrialFolder(tmp_path)
    folder.create(tiny_config)
    folder.write_provenance(
        ProvenanceRecord(code_version="ast1-ab", git_commit="0123456789", device="cpu", threads=2)
    )
    folder.append_start(0, 0)
    folder.write_status(State.RUNNING, 0, 1)
    timing = TimingRecord(epoch=1, seconds=2.0, images_per_second=1234.5, finished_at=1e9)
    folder.append_epoch({"epoch": 1, "train/loss": 4.25, "heldout/gamma": 0.5}, timing)
    folder.write_status(State.RUNNING, 1, 1)
    folder.write_evaluation({"head/gamma": 0.25})
    folder.write_status(State.FINISHED, 1, 1)
    written = lines(tmp_path)
    assert written[0] == "code ast1-ab, commit 01234567; cpu, 2 threads"
    assert written[1].startswith("started on ")
    assert written[1].endswith(f"process {os.getpid()}, after epoch 0")
    assert written[2:6] == [
        "epoch 1: loss 4.25, γ_f 0.5, 2.0 s, 1,234 images/s",
        "evaluation",
        "measured: 1 measures",
        "  head/gamma 0.25",
    ]
    assert written[6].startswith("finished after epoch 1 of 1, ")


def test_a_failure_ends_with_its_traceback(tmp_path: Path) -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError as error:
        described = describe(error)
    TrialFolder(tmp_path).write_status(State.FAILED, 2, 9, described)
    written = lines(tmp_path)
    assert written[0] == "failed after epoch 2 of 9"
    assert "Traceback (most recent call last):" in written
    assert written[-2:] == ["RuntimeError: two", "lines"]


def test_first_and_newest_lines_are_kept(tmp_path: Path) -> None:
    claim = Claim.take(tmp_path)
    assert claim
    with claim:
        folder = TrialFolder(tmp_path, claim)
        for number in range(3000):
            folder.log(f"line {number} {'x' * 1000}")
    written = [line[:30] for line in lines(tmp_path)]
    size = (tmp_path / "log.txt").stat().st_size
    assert size <= log.LARGEST
    numbers = [int(line.split()[1]) for line in written if line.startswith("line")]
    assert numbers[:200] == list(range(200))
    assert numbers[-200:] == list(range(2800, 3000))
    assert sum("lines left out" in line for line in written) == 1
    assert numbers == sorted(set(numbers))


def test_a_long_text_loses_its_middle(tmp_path: Path) -> None:
    TrialFolder(tmp_path).log("a" * 10**6 + "b")
    first, mark, last = lines(tmp_path)
    assert (first[0], last[-1]) == ("a", "b")
    assert mark.endswith("characters left out]")
    assert (tmp_path / "log.txt").stat().st_size < 40_000


def test_control_characters_cannot_reach_a_terminal(tmp_path: Path) -> None:
    TrialFolder(tmp_path).log("\x1b[31mred\x07 \udcff λ\r")
    (written,) = lines(tmp_path)
    assert written == "�[31mred� \\udcff λ�"


class _FullDisk(Writer):
    def append_text(self, path: Path, lines: bytes) -> None:
        raise DiskError(path, OSError(28, "No space left on device"))


def test_a_full_disk_drops_lines_and_nothing_else(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, _FullDisk())
    folder.log("lost")
    folder.write_status(State.PAUSED, 1, 2)
    status = folder.read_status()
    assert status
    assert status.state == State.PAUSED
    assert folder.read_log() == ""


@pytest.mark.parametrize("kind", ["folder", "pipe", "huge", "torn", "dead link"])
def test_whatever_lies_in_its_stead_harms_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log.txt"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "dead link":
        path.symlink_to("/nowhere/at/all")
    else:
        path.write_bytes(b"2026-01-01T00:00:00Z whole\n2026-01-01T00:0")
    claim = Claim.take(tmp_path)
    assert claim
    with claim:
        TrialFolder(tmp_path, claim).log("new")
    assert lines(tmp_path) == (["whole", "new"] if kind == "torn" else ["new"])
    assert len(list(tmp_path.glob("log.txt.damaged-*"))) == (kind != "torn")


def test_a_superseded_process_writes_nothing(tmp_path: Path) -> None:
    claim = Claim.take(tmp_path)
    assert claim
    folder = TrialFolder(tmp_path, claim)
    folder.log("mine")
    claim.release()
    later = Claim.take(tmp_path)
    assert later
    with later:
        TrialFolder(tmp_path, later).log("yours")
        folder.log("too late")
    assert lines(tmp_path) == ["mine", "yours"]


def test_records_reach_the_trial_that_owns_them(tmp_path: Path) -> None:
    one, other = (TrialFolder(tmp_path / name) for name in ("one", "other"))
    for folder in (one, other):
        folder.path.mkdir()
    logger = logging.getLogger("a.library")
    with logging_to(one), logging_to(other):
        with owned_by(one):
            logger.warning("of one")
            logger.info("too low")
        thread = threading.Thread(target=logger.error, args=("of %s", "all"))
        thread.start()
        thread.join()
        logging.getLogger("care.data").warning("ours")
    logger.warning("after both")
    assert lines(one.path) == [
        "warning: a.library: of one",
        "error: a.library: of all",
        "warning: care.data: ours",
    ]
    assert lines(other.path) == ["error: a.library: of all", "warning: care.data: ours"]


def test_a_record_has_its_traceback(tmp_path: Path) -> None:
    with logging_to(TrialFolder(tmp_path)):
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("a.library").exception("outer")
    written = lines(tmp_path)
    assert written[0] == "error: a.library: outer"
    assert written[-1] == "ValueError: inner"


def test_warnings_are_logged_and_shown_as_before(tmp_path: Path) -> None:
    shown: list[str] = []

    def show(message: Warning | str, *_: object, **__: object) -> None:
        shown.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        with logging_to(TrialFolder(tmp_path)):
            warnings.warn("careful", RuntimeWarning, stacklevel=1)
        warnings.warn("afterwards", RuntimeWarning, stacklevel=1)
    assert shown == ["careful", "afterwards"]
    (written,) = lines(tmp_path)
    assert written.startswith("warning: RuntimeWarning: careful (")
    assert Path(__file__).name in written


def test_a_record_without_another_handler_is_still_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with logging_to(TrialFolder(tmp_path)):
        logging.getLogger("a.library").warning("seen on stderr")
    assert "seen on stderr" in capsys.readouterr().err
    assert lines(tmp_path) == ["warning: a.library: seen on stderr"]
