"""List the trials of a store, and find one by the first digits of its identity."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from care.errors import CareError, ConfigError, Problem, nearest
from care.trials.folder import TrialFolder

TRIAL_ID = re.compile(r"[0-9a-f]{16}")
_SHOWN = 5


def list_trials(trials: Path) -> Iterator[TrialFolder]:
    """Yield every trial that was ever started, by identity, including damaged ones.

    Args:
        trials: The folder ``trials/`` of a store; a missing one has no trials.

    Raises:
        CareError: The path is no folder, or the folder cannot be read.
    """
    for name in list_names(trials):
        if TRIAL_ID.fullmatch(name):
            yield TrialFolder(trials / name)


def find_trial(digits: str, trials: Path) -> TrialFolder:
    """Find a trial by its identity or the first digits of it.

    Args:
        digits: Hexadecimal digits.
        trials: The folder ``trials/`` of a store.

    Raises:
        ConfigError: No trial or several trials begin with these digits.
    """
    known = [folder.trial_id for folder in list_trials(trials)]
    matching = [trial for trial in known if trial.startswith(digits)]
    if not matching or not digits:
        some = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
        allowed = f"allowed: one of the store's {len(known)} trials ({some or 'none yet'})"
        problem = Problem("trial", digits, allowed, nearest(digits, known))
        raise ConfigError(str(trials.parent), [problem])
    if len(matching) > 1:
        some = ", ".join(matching[:_SHOWN]) + (", …" if len(matching) > _SHOWN else "")
        allowed = f"allowed: more digits, to distinguish {some}"
        raise ConfigError(str(trials.parent), [Problem("trial", digits, allowed)])
    return TrialFolder(trials / matching[0])


def list_names(folder: Path) -> list[str]:
    """List the names in ``folder``, sorted; empty if there is no folder.

    Raises:
        CareError: The path is no folder, or the folder cannot be read.
    """
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - no Path for each of thousands
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CareError(f"{folder}: cannot be read ({error.strerror})") from error
