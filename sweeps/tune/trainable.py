"""The Ray Tune trainable: trials of the store, run epoch by epoch in an actor that is reused.

Tune's own checkpoints are not used: see :mod:`sweeps.tune.trial_actor`, which does the work. It is
imported by the actors only, because the driver, which trains nothing, would wait seconds for torch
before it could start the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import tune

from sweeps.process.imports import large_imports

if TYPE_CHECKING:
    from sweeps.tune.trial_actor import TrialProcess


class CareTrainable(tune.Trainable):  # type: ignore[misc]
    """One trial or pack at a time; ``reset_config`` goes to the next one in the same process.

    The configuration Tune passes is a task of :class:`sweeps.tune.trial_actor.TrialProcess`.

    A result also has ``spent``, seconds of this process by what they were spent on.

    A result about a trial has ``warnings``, the epoch's metrics, and ``outcome``: ``running``,
    ``finished``, ``paused``, ``busy`` (somebody else holds the trial), ``disk`` (its folder cannot
    be written now), ``crowded`` (the memory is full, and others of its pack are in it),
    ``unpacked`` (it does not pay to train it with the others), ``stopped`` (by the scheduler, in a
    pack) or ``failed``. A process whose memory is full, or that lost another one of the trial's,
    ends with the error: another one starts anew.
    """

    _process: TrialProcess

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first task."""
        with large_imports():
            from sweeps.tune.trial_actor import TrialProcess

        self._process = TrialProcess(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Let go of the task that ended and take the next one."""
        self._process.next_task(new_config)
        return True

    def get_auto_filled_metrics(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """What Tune adds to a result, without the configuration, which the driver made itself."""
        filled: dict[str, Any] = super().get_auto_filled_metrics(*arguments, **named)
        filled.pop("config", None)
        return filled

    def cleanup(self) -> None:
        """Let go of the task when the actor ends."""
        self._process.close()

    def step(self) -> dict[str, Any]:
        """One epoch of each trial, or a line about one that is done."""
        return self._process.step()
