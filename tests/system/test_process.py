"""What /proc says of processes, held against what the system calls say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from care.system.process import ProcessStat, all_processes, process_alive, process_start


def test_this_process() -> None:
    stat = ProcessStat.read(os.getpid())
    assert stat is not None
    assert (stat.pid, stat.parent, stat.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert not stat.dead
    assert process_start(os.getpid()) == stat.start
    assert os.getpid() in [each.pid for each in all_processes()]


def test_a_name_with_brackets_and_spaces_moves_no_field(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"], start_new_session=True) as process:
        stat = ProcessStat.read(process.pid)
        process.kill()
    assert stat is not None
    assert (stat.parent, stat.session, stat.dead) == (os.getpid(), process.pid, False)


def test_a_process_that_ended_is_dead_until_it_is_reaped_and_gone_then() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    stat = ProcessStat.read(process.pid)
    assert stat is not None
    assert stat.dead
    assert process_start(process.pid) is None
    assert process_alive(process.pid), "its number is still taken"
    process.wait()
    assert ProcessStat.read(process.pid) is None
    assert not process_alive(process.pid)
