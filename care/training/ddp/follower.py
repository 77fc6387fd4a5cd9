"""``python -m care.training.ddp.follower``: train a trial together with rank 0.

A follower trains an epoch at each order of rank 0, writes no files, makes no decisions, and ends
when rank 0 ends. The other end of its pipes is :mod:`care.training.ddp.process`.
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

_EXIT_SECONDS = 5.0


def main() -> None:
    """Follow the leader at the other end of the standard streams."""
    # Before torch is imported: only rank 0 handles signals that ask the whole job to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps other output out of the reports
    assignment = Assignment.from_line(sys.stdin.readline())
    orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    meeting = Path(assignment.rendezvous).parent
    threading.Thread(target=_listen, args=(sys.stdin, orders, meeting), daemon=True).start()
    status = 0
    try:
        _follow(assignment, orders, reports)
    except Exception as error:  # noqa: BLE001 - rank 0 raises any error
        traceback.print_exc()
        _report(reports, _describe_failure(error))
        status = 1
    sys.stderr.flush()
    os._exit(status)  # skips destructors, which would wait for processes that have ended


def _follow(
    assignment: Assignment, orders: queue.SimpleQueue[str | None], reports: IO[str]
) -> None:
    from care.config import TrialConfig
    from care.distributed.group import Group
    from care.distributed.rendezvous import join, leave
    from care.training.resume import open_trainer

    group = Group(assignment.rank, assignment.size)
    config = TrialConfig.model_validate_json(assignment.config)
    folder, threads = Path(assignment.folder), assignment.threads
    # Rank 0 alone reports damaged checkpoints.
    trainer, _ = open_trainer(config, folder, group, threads, lambda _: None)
    _report(reports, READY)
    join(group, Path(assignment.rendezvous), trainer.device)
    while orders.get() == EPOCH:
        trainer.follow_epoch()
    leave()


def _listen(stream: IO[str], orders: queue.SimpleQueue[str | None], meeting: Path) -> None:
    """Queue the orders; when the stream ends, end this process, even within a step."""
    for line in stream:
        orders.put(line)
    shutil.rmtree(meeting, ignore_errors=True)  # a killed leader leaves it behind
    orders.put(None)
    time.sleep(_EXIT_SECONDS)
    os._exit(1)


def _report(reports: IO[str], report: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # the leader has ended
        reports.write(json.dumps(report) + "\n")
        reports.flush()


def _describe_failure(error: Exception) -> dict[str, str]:
    from care.trials.failure import classify

    return {
        "kind": classify(error),
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
    }


if __name__ == "__main__":
    main()
