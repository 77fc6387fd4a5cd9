"""Find which sweeps have which trials, from the sweeps' declarations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from care.errors import CareError
from sweeps.plan import trial_configs
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store


@dataclass(frozen=True)
class Membership:
    """The trials of each sweep of a store.

    Attributes:
        trials: Identities of a sweep's trials by its name, started or not.
        data_roots: Folders of data sets that the sweeps name.
        unreadable: Reason by name of each sweep whose declaration cannot be read.
    """

    trials: dict[str, frozenset[str]]
    data_roots: frozenset[Path]
    unreadable: dict[str, str]

    def sweeps_of(self) -> dict[str, list[str]]:
        """Map each trial to the names of its sweeps."""
        sweeps: dict[str, list[str]] = {}
        for name, trials in self.trials.items():
            for identity in trials:
                sweeps.setdefault(identity, []).append(name)
        return sweeps


def read_membership(store: Store) -> Membership:
    """Read the declarations of all sweeps; trials themselves are not read."""
    trials, roots, unreadable = {}, set(), {}
    for folder in store.all_sweeps():
        try:
            sweep = restore_sweep(folder.declaration())
            configs = trial_configs(sweep, store)
        except (CareError, KeyError, TypeError, AttributeError) as error:
            unreadable[folder.name] = str(error)
            continue
        trials[folder.name] = frozenset(configs)
        roots |= {Path(config.runtime.data_root) for config in configs.values()}
    return Membership(trials, frozenset(roots), unreadable)
