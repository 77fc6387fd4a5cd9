"""A sweep's trials in MLflow while it runs, and all sweeps' when asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from care.claim import LostClaimError
from care.files import Writer
from sweeps.plan import Plan, make_plan
from sweeps.spec import Sweep, restore_sweep
from sweeps.store import Store
from sweeps.tracking.projection import Projection
from sweeps.tracking.tracker import Tracker

_LONGEST_STANDSTILL_SECONDS = 60.0
# Places in the tracker that no trial's identity can take.
_PARENT, _BEFORE, _REPORT, _EVERYTHING = "parent", "before", "report", "everything"


class SweepTracking:
    """Keeps the runs of one sweep up to date in the background.

    Args:
        sweep: The sweep.
        store: Where its trials are.
        uri: Where MLflow keeps runs; None for the store's own SQLite file.
        say: Called with lines for the user.
        writer: The driver's claim on the sweep: once it is lost, nothing more is written.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        uri: str | None,
        say: Callable[[str], None],
        writer: Writer | None = None,
    ) -> None:
        self.sweep, self.store = sweep, store
        self._projection = Projection(store.root, uri)
        self._say = say
        self._writer = writer or Writer()
        self._labels: dict[str, str] = {}
        self._before: list[str] = []
        self._state = "running"
        self._files: list[Path] = []
        self._tracker = Tracker(self._sync, say)

    def start(self, plan: Plan) -> None:
        """Note every trial that was ever started: what a crash kept from MLflow is made up for."""
        self._labels = {trial.trial_id: trial.label for trial in plan.trials}
        self._before = list(plan.unique())
        self._tracker.touch(_PARENT)
        self._tracker.touch(_BEFORE)

    def touch(self, trial_id: str) -> None:
        """A trial has news, so Ray is up and it is time to begin with MLflow."""
        self._tracker.start()
        self._tracker.touch(trial_id)

    def finish(self, plan: Plan, page: Path | None, hurry: Callable[[], bool]) -> None:
        """Bring everything up to date, the parent run with the report last.

        Args:
            plan: How the sweep stands now.
            page: Its report, if it was written.
            hurry: Whether somebody wants this process to end.
        """
        self._state = _state(plan)
        self._labels.update((trial.trial_id, trial.label) for trial in plan.trials)
        for identity in plan.unique():
            self._tracker.touch(identity)
        if page:
            self._files = [page, *sorted((page.parent / "figures").glob("*.png"))]
            self._tracker.touch(_REPORT)
        self._tracker.touch(_PARENT)
        self._tracker.touch(_EVERYTHING)
        if not self._tracker.close(_LONGEST_STANDSTILL_SECONDS, hurry):
            self._say("MLflow is not up to date; 'care track sync' makes up for it.")

    def _sync(self, name: str) -> None:
        try:
            self._writer.check()
        except LostClaimError:
            return
        spec = self.sweep.spec
        if name == _PARENT:
            self._projection.sync_sweep(spec.name, spec.description, self._state)
        elif name == _BEFORE:
            if not self._projection.recall(spec.name, map(self.store.trial, self._before)):
                for identity in self._before:
                    self._tracker.touch(identity)
        elif name == _REPORT:
            self._projection.attach(spec.name, self._files)
        elif name == _EVERYTHING:
            self._projection.confirm(spec.name, map(self.store.trial, self._labels))
        else:
            label = self._labels.get(name, name)
            self._projection.sync_trial(self.store.trial(name), spec.name, label)


def sync_store(store: Store, uri: str | None) -> tuple[int, int]:
    """Bring MLflow up to date with every sweep of the store.

    Returns:
        Numbers of sweeps and of trials.
    """
    projection = Projection(store.root, uri)
    sweeps, trials = 0, 0
    for folder in store.all_sweeps():
        sweep = restore_sweep(folder.read() or {})
        plan = make_plan(sweep, store)
        projection.sync_sweep(sweep.spec.name, sweep.spec.description, _state(plan))
        for trial in plan.unique().values():
            projection.sync_trial(store.trial(trial.trial_id), sweep.spec.name, trial.label)
        projection.confirm(sweep.spec.name, map(store.trial, plan.unique()))
        if (folder.report / "report.html").exists():
            figures = sorted((folder.report / "figures").glob("*.png"))
            projection.attach(sweep.spec.name, [folder.report / "report.html", *figures])
        sweeps, trials = sweeps + 1, trials + len(plan.unique())
    return sweeps, trials


def _state(plan: Plan) -> str:
    """The state of a sweep that no driver runs."""
    counts = plan.counts()
    if counts["new"] or counts["paused"] or counts["running"] or plan.unsuggested:
        return "paused"
    return "failed" if counts["failed"] or counts["damaged"] else "finished"
