"""Trials that one process takes together: what Tune sees as one of its trials.

A task for the trainable is one trial, or ``{"members": [task, …]}``. A result is about one trial,
or has ``members`` with a result for each that has news.
"""

from __future__ import annotations

from typing import Any

Task = dict[str, Any]
Result = dict[str, Any]


def members_of(task: Task) -> list[Task]:
    """The trials of a task."""
    members: list[Task] = task.get("members", [task])
    return members


def identities(task: Task) -> list[str]:
    """Their identities."""
    return [member["trial_id"] for member in members_of(task)]


def results_of(task: Task, result: Result) -> list[tuple[str, Result]]:
    """The results in a result, each with the identity of the trial that it is about."""
    if "members" not in task:
        return [(task["trial_id"], result)]
    # A process that was lost has said nothing.
    return [(told["trial_id"], told) for told in result.get("members", ())]
