"""``python -m care.training.ddp.follower``: a process that trains a trial with others.

It trains when rank 0 says so, writes nothing, judges nothing, and ends when rank 0 is gone. See
:mod:`care.training.ddp.process` for the other end of its pipes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any

from care.training.ddp.assignment import Assignment
from care.training.ddp.process import EPOCH, READY

_SECONDS_TO_LEAVE = 5.0


def main() -> None:
    """Follow the leader at the other end of the standard streams."""
    # Signals that ask a whole job to end are rank 0's to judge, also while torch is imported.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else shall print between them
    told = Assignment.from_line(sys.stdin.readline())
    orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    meeting = Path(told.rendezvous).parent
    threading.Thread(target=_listen, args=(sys.stdin, orders, meeting), daemon=True).start()
    status = 0
    try:
        _follow(told, orders, reports)
    except Exception as error:  # noqa: BLE001 (whatever it is, rank 0 raises it)
        traceback.print_exc()
        _report(reports, _failure(error))
        status = 1
    sys.stderr.flush()
    os._exit(status)  # past destructors that would wait for processes that are gone


def _follow(told: Assignment, orders: queue.SimpleQueue[str | None], reports: IO[str]) -> None:
    from care.config import TrialConfig
    from care.distributed.group import Group
    from care.distributed.rendezvous import join, leave
    from care.training.resume import open_trainer

    group = Group(told.rank, told.size)
    config = TrialConfig.model_validate_json(told.config)
    # Damaged checkpoints are for rank 0 to tell.
    trainer, _ = open_trainer(config, Path(told.folder), group, told.threads, lambda _: None)
    _report(reports, READY)
    join(group, Path(told.rendezvous), trainer.device)
    while orders.get() == EPOCH:
        trainer.follow_epoch()
    leave()


def _listen(stream: IO[str], orders: queue.SimpleQueue[str | None], meeting: Path) -> None:
    """Pass the orders on; when they end, so does this process, wherever it is."""
    for line in stream:
        orders.put(line)
    shutil.rmtree(meeting, ignore_errors=True)  # a leader that was killed has left it
    orders.put(None)
    time.sleep(_SECONDS_TO_LEAVE)
    os._exit(1)


def _report(reports: IO[str], report: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is left to be told
        reports.write(json.dumps(report) + "\n")
        reports.flush()


def _failure(error: Exception) -> dict[str, str]:
    from care.trials.failure import classify

    return {"kind": classify(error), "message": str(error) or type(error).__name__}


if __name__ == "__main__":
    main()
