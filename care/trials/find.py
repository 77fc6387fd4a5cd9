"""List the trials of a store, and find one by the first digits of its identity."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
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
        digits: Hexadecimal digits, in capitals or not.
        trials: The folder ``trials/`` of a store.

    Raises:
        ConfigError: No trial or several trials begin with these digits; names the nearest one.
    """
    known = [folder.trial_id for folder in list_trials(trials)]
    return TrialFolder(trials / match_digits(digits, known, trials.parent))


def match_digits(digits: str, known: Sequence[str], store: Path, what: str = "trials") -> str:
    """Return the identity that begins with ``digits``.

    Args:
        digits: Hexadecimal digits, in capitals or not.
        known: The identities of the store.
        store: The store's folder, for messages.
        what: What the identities are of, for messages.

    Raises:
        ConfigError: No identity or several identities begin with these digits; names the nearest.
    """
    matching = [identity for identity in known if identity.startswith(digits.lower())]
    if len(matching) == 1 and digits:
        return matching[0]
    if matching and digits:
        allowed = f"allowed: more digits, to distinguish {_some(matching)}"
        raise ConfigError(str(store), [Problem("trial", digits, allowed)])
    allowed = f"allowed: one of the store's {len(known)} {what} ({_some(known) or 'none yet'})"
    problem = Problem("trial", digits, allowed, nearest_identity(digits, known))
    raise ConfigError(str(store), [problem])


def nearest_identity(digits: str, known: Sequence[str]) -> str | None:
    """Find the identity whose first digits are closest to ``digits``; None if none is close."""
    starts = {identity[: len(digits)]: identity for identity in reversed(known)}
    close = nearest(digits.lower(), starts)
    return starts[close] if close else None


def _some(identities: Sequence[str]) -> str:
    return ", ".join(identities[:_SHOWN]) + (", …" if len(identities) > _SHOWN else "")


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
