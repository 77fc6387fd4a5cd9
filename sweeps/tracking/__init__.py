"""The MLflow view of the store: a projection that can always be made again.

One experiment, a parent run for each sweep, a child run for each trial. Runs are found again by
tags that name store and trial. Metric rows carry the store's own timestamps, and how far a trial
was written is a tag of its run. So bringing it up to date twice, or after a crash half-way, changes
nothing.
"""

from __future__ import annotations

from sweeps.tracking.background import Tracker
from sweeps.tracking.destination import default_tracking_uri
from sweeps.tracking.mlflow_sync import Projection

__all__ = ["Projection", "Tracker", "default_tracking_uri"]
