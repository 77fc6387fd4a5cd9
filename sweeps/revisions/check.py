"""Check before anything starts that the code of each revision can train a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from care.errors import ConfigError, Problem
from care.trials.pinned import PinnedTrial
from care.trials.plugin_versions import plugin_versions
from sweeps.revisions.process import describe_config
from sweeps.revisions.revision import Revision
from sweeps.revisions.snapshot import (
    SnapshotError,
    ask,
    is_unchanged,
    snapshot_folder,
    temporary_copy,
)


def check_revisions(
    revisions: Mapping[str, Revision],
    configs: Iterable[PinnedTrial],
    sweep: Path,
    source: str,
) -> None:
    """Refuse revisions whose code cannot train a configuration.

    Args:
        revisions: The sweep's revisions by name.
        configs: Its configurations; of trials that differ in the seed alone, one.
        sweep: The sweep's folder, which may have snapshots of the revisions.
        source: File of the sweep, for messages.

    Raises:
        ConfigError: Names the revision, the field and the reason.
    """
    planned = list(configs)
    problems = []
    for index, (name, revision) in enumerate(revisions.items()):
        own = [one for one in planned if one.code_version == revision.code_version]
        for field, reason in _refusals(revision, own, sweep).items():
            allowed = f"allowed: a revision that can train this sweep; {field}: {reason}"
            problems.append(Problem(f"code.{index}", name, allowed))
    if problems:
        raise ConfigError(source, problems)


def _refusals(revision: Revision, configs: list[PinnedTrial], sweep: Path) -> dict[str, str]:
    """List the fields that the code refuses, each with the first reason."""
    for config in configs:
        for plugin in plugin_versions(config):
            return {"plugins": f"{plugin} comes from outside of care, so no revision has it"}
    described = [describe_config(config) for config in configs]
    try:
        answer = _ask(revision, described, snapshot_folder(sweep, revision.code_version))
    except SnapshotError as error:
        return {"code": str(error)}
    return {one["field"]: f"{one['value']}: {one['why']}" for one in answer if one}


def _ask(revision: Revision, described: list[Any], snapshot: Path) -> tuple[Any, ...]:
    if is_unchanged(snapshot):
        return ask(snapshot, described).problems
    with temporary_copy(revision.commit) as folder:
        return ask(folder, described).problems
