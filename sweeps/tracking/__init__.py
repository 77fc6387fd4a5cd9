"""The MLflow view of the store, which ``care track sync`` can rebuild at any time.

The runs are in one experiment: a parent run for each sweep, a child run for each trial. Tags with
the store and the trial identify a run. Metric rows carry the store's timestamps, and a tag records
the last epoch that was written. Therefore a repeated sync, or a sync after a crash, adds no
duplicates.
"""

from __future__ import annotations

from sweeps.tracking.background import BackgroundSync
from sweeps.tracking.mlflow_sync import MlflowSync
from sweeps.tracking.tracking_uri import default_tracking_uri

__all__ = ["BackgroundSync", "MlflowSync", "default_tracking_uri"]
