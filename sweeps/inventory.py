"""Find sweeps and trials of a store, with what people ask about them. Writes nothing."""

from __future__ import annotations

import contextlib
import re

from care.errors import CareError, ConfigError
from care.trials.find import find_trial
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from sweeps.plan import plan_configs
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store

_DIGITS = re.compile(r"[0-9a-f]+")


def find_started(digits: str, store: Store) -> TrialFolder:
    """Find a trial that was started, by the first digits of its identity.

    Raises:
        ConfigError: No trial or several trials begin with these digits.
        CareError: A sweep has declared the trial, but no process has started it.
    """
    try:
        return find_trial(digits, store.trials)
    except ConfigError:
        if _DIGITS.fullmatch(digits):
            _refuse_planned(digits, store)
        raise


def _refuse_planned(digits: str, store: Store) -> None:
    """Raise an error if a sweep of the store has declared the trial."""
    for folder in store.all_sweeps():
        identities: list[str] = []
        with contextlib.suppress(CareError):  # a damaged sweep hides no other
            declaration = folder.declaration()
            configs = plan_configs(restore_sweep(declaration), store)
            identities = [trial_id(config) for _, config in configs]
        for identity in identities:
            if identity.startswith(digits):
                raise CareError(
                    f"{identity}: a trial of {folder.name} that was never started, so it has no "
                    f"files. To run it: care sweep run {declaration.file}"
                )
