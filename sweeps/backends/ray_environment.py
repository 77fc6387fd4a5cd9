"""The environment variables that configure Ray and Tune, all of them."""

from __future__ import annotations

import os
from pathlib import Path

_EVERYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # Tune ends the whole experiment where Ray's memory monitor ends one process. Without it the
    # kernel ends a trial's process, which Ray marks as the first to go, and the trial is retried.
    # On a cluster the monitor looks at the whole node's memory; SLURM looks at the job's.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_prestart_worker_first_driver": "0",  # each actor starts its own
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine starts Ray slowly
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the store is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver asks the trials to pause by itself
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # final measures come with the last epoch only
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's own state is never used
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_ON_A_CLUSTER = {
    "RAY_worker_num_grpc_internal_threads": "1",
}

# Without it Ray's servers listen on all addresses of the machine. Ray reads it at its import.
_ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def set_ray_environment(token: str | Path) -> None:
    """Configure each Ray that this process starts or joins from now on.

    Each one demands the token, and none that the environment names is joined. One on this machine
    alone listens on its loopback address only. To be called before ray is imported.

    Args:
        token: Token of a Ray on this machine alone; on a cluster the file that holds it.
    """
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", _ONE_MACHINE):
        os.environ.pop(name, None)
    os.environ.update(_EVERYWHERE)
    if isinstance(token, Path):
        os.environ.update(_ON_A_CLUSTER, RAY_AUTH_TOKEN_PATH=str(token))
    else:
        os.environ.update({"RAY_AUTH_TOKEN": token, _ONE_MACHINE: "0"})
