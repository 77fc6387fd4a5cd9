"""Durations, as sinfo and squeue print them and sbatch takes them."""

from __future__ import annotations

import pytest

from sweeps.backends.slurm.durations import parse_duration

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * MINUTE),
        ("3:04", 3 * MINUTE + 4),
        ("30:00", 30 * MINUTE),
        ("2:03:04", 2 * HOUR + 3 * MINUTE + 4),
        ("1-12", DAY + 12 * HOUR),
        ("1-12:30", DAY + 12 * HOUR + 30 * MINUTE),
        ("10-02:03:04", 10 * DAY + 2 * HOUR + 3 * MINUTE + 4),
        ("infinite", None),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("n/a", None),
        ("", None),
        ("-1", None),
        ("1:2:3:4", None),
    ],
)
def test_each_notation_of_slurm(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds
