"""A process that trains one trial with a short lease, e.g. in namespaces of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from care.config import TrialConfig
from care.system import claim
from care.system import heartbeat as liveness
from care.system.claim import Claim, LostClaimError
from care.trials.folder import TrialFolder

LEASE_SECONDS = 1.5


def main(folder: str, config: str) -> None:
    """Claim the trial as soon as it is free, train it and print how that ended."""
    liveness.LEASE_SECONDS = LEASE_SECONDS
    claim._BEAT_SECONDS = LEASE_SECONDS / 10
    from care.training.trial_run import TrialRun

    held = Claim.take(Path(folder))
    while held is None:
        time.sleep(LEASE_SECONDS / 10)
        held = Claim.take(Path(folder))
    with held:
        try:
            run = TrialRun(TrialConfig.model_validate_json(config), TrialFolder(Path(folder), held))
            while not run.finished:
                run.advance()
                time.sleep(LEASE_SECONDS / 4)  # an epoch of a trial that takes hours
        except LostClaimError:
            print("lost")
            return
    print("finished")


if __name__ == "__main__":
    main(*sys.argv[1:])
