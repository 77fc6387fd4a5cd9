"""A search whose suggestions are logged and whose trials are fabricated, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from care.trials.state import State
from sweeps.event_log import RungEntry, Suggestion, begin, created
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store
from tests.helpers.declaring import fabricate
from tests.helpers.small_store import declared

Values = dict[str, float]
Result = Values | State | tuple[int, float]
"""Measures of the end; a state without values; or the epoch and value of an early stop."""


def search_store(
    folder: Path,
    points: Sequence[dict[str, Any]],
    result: Callable[[int, dict[str, Any], int], Result],
    **changes: Any,
) -> tuple[Sweep, Store]:
    """Declare a search, log the points as its suggestions, and write their trials.

    Args:
        folder: An empty folder.
        points: The suggestions in order.
        result: The result of a trial by the suggestion's number, its point and the seed.
        **changes: Fields of the sweep.
    """
    store = Store(folder / "runs")
    sweep = declared(folder, store, **changes)
    log = store.sweep(sweep.spec.name)
    begin(log, sweep)
    for number, point in enumerate(points):
        log.log(Suggestion(number, point).record())
        for seed in sweep.spec.all_seeds:
            config, found = sweep.trial(point, seed), result(number, point, seed)
            epochs = config.training.epochs
            if isinstance(found, dict):
                fabricate(store, config, State.FINISHED, epochs, measures=found, metrics=found)
            elif isinstance(found, tuple):
                epoch, value = found
                name = sweep.spec.metric.name
                trial = fabricate(store, config, State.PAUSED, epoch, metrics={name: value})
                entry = RungEntry(trial.trial_id, epoch, value, True, created(trial))
                log.log(entry.record())
            elif found == State.FAILED:
                fabricate(store, config, State.FAILED, 1)
    return restore_sweep(log.declaration()), store
