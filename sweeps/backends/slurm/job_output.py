"""Find the reason why a job ended in its output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from care.system.files import read_tail

_READ_BYTES = 8192
_LONGEST = 300
_ERROR = re.compile(r"error|no such file|not found|denied|cannot|could not|exception", re.I)
# What SLURM and submitit print after each failure, whatever its reason was.
_AFTERWARDS = re.compile(
    r"srun: (error: .*: task|Terminating|launch/)|Job step aborted|\*\*\* (JOB|STEP) "
    r"|submitit (ERROR|WARNING)"
)


def find_reason(lines: Sequence[str]) -> str:
    """Return the line of an output that most likely says why its program failed; else empty."""
    own = [line.strip() for line in lines if not _AFTERWARDS.search(line)]
    named = [line for line in own if _ERROR.search(line)]
    return named[-1][:_LONGEST] if named else ""


def last_error(jobs: Path) -> str:
    """Return the error at the end of the newest job's output, with its file; else empty."""
    outputs = sorted(jobs.glob("*_log.out"), key=lambda file: file.stat().st_mtime)
    found = read_tail(outputs[-1], _READ_BYTES) if outputs else None
    if found is None:
        return ""
    reason = find_reason(found[1].decode(errors="replace").splitlines())
    return reason and f"{reason} ({outputs[-1]})"
