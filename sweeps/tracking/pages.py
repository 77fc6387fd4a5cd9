"""The pages of a store in MLflow that ``care ui`` prints."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from care.errors import CareError
from sweeps.inventory import find_target
from sweeps.store import Store, SweepFolder
from sweeps.tracking import links
from sweeps.tracking.database import STORE_TAG
from sweeps.tracking.sweep_views import ViewNames
from sweeps.tracking.views import PREFIX

_MOST_SWEEPS = 8


def check_target(store: Store, target: str) -> str:
    """Return the name of a sweep, or the identity of a trial from its first digits.

    Raises:
        CareError: Raised by :func:`sweeps.inventory.find_target`.
    """
    if not target:
        return ""
    return find_target(target, store).path.name


def list_pages(
    client: Any, experiment: str, store: Store, uuid: str, shared: bool, target: str
) -> dict[str, str]:
    """List the addresses of pages below the server's, by title; the wanted one first.

    Args:
        client: MLflow's client.
        experiment: Id of the experiment.
        store: The store.
        uuid: Its identity.
        shared: Whether stores share the experiment.
        target: A result of :func:`check_target`.
    """
    sweeps = [folder.name for folder in sorted(store.all_sweeps(), key=_newest, reverse=True)]
    tags = client.get_experiment(experiment).tags
    names = ViewNames(uuid if shared else "")
    pages: dict[str, str] = {}
    if target and target not in sweeps:
        query = f"tags.trial_id = '{target}' and tags.`{STORE_TAG}` = '{uuid}'"
        runs = client.search_runs([experiment], query)
        if not runs:
            raise CareError(f"MLflow has no run of trial {target}; 'care track sync' writes it")
        pages[str(runs[0].info.run_name)] = links.run_page(experiment, runs[0].info.run_id)
    elif target:
        pages |= _view(tags, experiment, target, names.by_axis(target))
        pages |= _view(tags, experiment, f"{target}, every trial", names.trials(target))
    else:
        for sweep in sweeps[:_MOST_SWEEPS]:
            pages |= _view(tags, experiment, sweep, names.by_axis(sweep))
    pages |= _view(tags, experiment, "all sweeps", names.sweeps)
    return {**pages, "table of runs": links.runs_page(experiment)}


def _view(tags: Mapping[str, str], experiment: str, title: str, view: str) -> dict[str, str]:
    """Return the page of a view, if MLflow has it: an older version wrote none."""
    known = f"{PREFIX}{view}" in tags
    return {title: links.view_page(experiment, view)} if known else {}


def _newest(folder: SweepFolder) -> str:
    with contextlib.suppress(CareError):
        return folder.declaration().created
    return ""
