"""Read a sweep as a side of ``care compare``: its present trials, or those of another version."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from analysis.side import Side, SideTrial, make_side
from care.errors import ConfigError, Problem, nearest
from care.system.files import DamagedFileError
from care.trials.find import list_names
from care.trials.folder import TrialFolder
from care.trials.state import State
from sweeps.report import find_sweep, sweep_summary
from sweeps.store import Store

ARCHIVED = "archived"
"""The version that stands for the newest archived result of each trial."""

_ARCHIVE_NAME = re.compile(r"([0-9a-f]{16})-\d{8}-\d{6}-\d{6}")
_SCHEME = re.compile(r"[a-z]+\d*-")  # of a code version: ast1-


def read_side(text: str, store: Store) -> Side:
    """Read a side.

    Args:
        text: ``SWEEP`` for the present trials of a sweep; ``SWEEP@VERSION`` for those of the code
            version or git commit that begins with ``VERSION``, archived or stale;
            ``SWEEP@archived`` for the newest archived result of each trial.
        store: The store.

    Raises:
        ConfigError: There is no such sweep, or no result of such a version; lists the versions.
    """
    name, at, version = text.rpartition("@")
    if not at or os.path.lexists(text):
        return _present(text, store)
    present = _present(name, store)
    results = {
        identity: list(_results(identity, store, archived))
        for archived in [_list_archive(store)]
        for identity in dict.fromkeys(trial.trial_id for trial in present.trials)
    }
    trials = tuple(_of_version(trial, results[trial.trial_id], version) for trial in present.trials)
    if not any(trial.state == State.FINISHED for trial in trials):
        _refuse(text, version, results, store)
    return replace(present, label=text, trials=trials)


def _present(name: str, store: Store) -> Side:
    sweep = find_sweep(name, None, store)
    return make_side(sweep.spec.name, store.trials, sweep_summary(sweep, store))


def _list_archive(store: Store) -> dict[str, list[Path]]:
    """List the archived folders of each trial, the newest first."""
    folders: dict[str, list[Path]] = {}
    for name in reversed(list_names(store.root / "archive")):
        if match := _ARCHIVE_NAME.fullmatch(name):
            folders.setdefault(match[1], []).append(store.root / "archive" / name)
    return folders


def _results(
    identity: str, store: Store, archive: dict[str, list[Path]]
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield (folder, names of its version) of each finished result of a trial, the newest first."""
    for path in [store.trials / identity, *archive.get(identity, [])]:
        folder = TrialFolder(path)
        try:
            status, provenance = folder.read_status(), folder.read_provenance()
        except DamagedFileError:
            continue
        if status and status.finished and provenance:
            code = provenance.code_version
            names = [code, _SCHEME.sub("", code), provenance.git_commit or ""]
            names += [ARCHIVED] if path.parent.name == "archive" else []
            yield path, tuple(names)


def _of_version(
    trial: SideTrial, results: list[tuple[Path, tuple[str, ...]]], version: str
) -> SideTrial:
    for path, names in results:
        if version and any(name.startswith(version) for name in names):
            return replace(trial, folder=path, state=State.FINISHED, reason="")
    return replace(trial, state=State.NEW, reason="no finished result of this version")


def _refuse(
    text: str,
    version: str,
    results: dict[str, list[tuple[Path, tuple[str, ...]]]],
    store: Store,
) -> None:
    codes = Counter(names[0] for each in results.values() for _, names in each)
    archived = sum(ARCHIVED in names for each in results.values() for _, names in each)
    known = [f"{code} ({number} trials)" for code, number in codes.most_common()]
    known += [f"{ARCHIVED} ({archived} results)"] if archived else []
    allowed = f"allowed: {', '.join(known) or 'none, as no trial is finished'}"
    close = nearest(version, [*codes, ARCHIVED] if archived else list(codes))
    raise ConfigError(str(store.root), [Problem(f"version in {text}", version, allowed, close)])
