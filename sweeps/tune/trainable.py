"""The Ray Tune trainable: trials of the store, trained epoch by epoch in an actor that is reused.

Tune's own checkpoints are not used; :mod:`sweeps.tune.trial_actor` does the work. Only the actors
import it: the driver, which trains nothing, would wait seconds for torch before it could start the
first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import tune

from sweeps.process.imports import large_imports
from sweeps.tune.messages import PackTask

if TYPE_CHECKING:
    from sweeps.tune.snapshot_actor import SnapshotActor
    from sweeps.tune.trial_actor import TrialActor


class CareTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains one task at a time; ``reset_config`` takes the next one in this process.

    Configurations are those of :class:`sweeps.tune.messages.PackTask`, results those of
    :class:`sweeps.tune.messages.PackResult`. A process whose memory is full ends with the error,
    and a trial is tried again in another process.
    """

    _actor: TrialActor | SnapshotActor

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first task."""
        task = PackTask.from_config(config)
        with large_imports():
            actor_class = _actor_class(task)
        self._actor = actor_class(task)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Release the task that ended and take the next one."""
        self._actor.close()
        task = PackTask.from_config(new_config)
        self._actor = _actor_class(task)(task)
        return True

    def get_auto_filled_metrics(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Add nothing to a result: Tune would keep statistics of each number."""
        return {}

    def cleanup(self) -> None:
        """Release the task when the actor ends."""
        self._actor.close()

    def step(self) -> dict[str, Any]:
        """Train for an epoch, or for a second of short ones."""
        return self._actor.step().to_result()


def _actor_class(task: PackTask) -> type[TrialActor | SnapshotActor]:
    if task.trials[0].snapshot:
        from sweeps.tune.snapshot_actor import SnapshotActor

        return SnapshotActor
    from sweeps.tune.trial_actor import TrialActor

    return TrialActor
