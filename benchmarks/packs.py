"""A pack of trials, which share batches, against these trials one by one."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.measure import Result, compare
from care.config.loading import load_trial
from care.data.dataset import load_dataset
from care.data.shared_batches import SharedBatches
from care.system.allocator import keep_freed_memory
from care.training.trainer import Trainer

_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_TRIALS = 4


def pack() -> list[Result]:
    """Time an epoch of four trials of the small encoder on one thread."""
    keep_freed_memory()
    config = load_trial(_EXPERIMENT)
    data = load_dataset(config.data, Path(config.runtime.data_root))
    shared = SharedBatches()

    def trainer(shared: SharedBatches | None) -> Trainer:
        return Trainer(config, data, torch.device("cpu"), shared=shared)

    together = [trainer(shared) for _ in range(_TRIALS)]
    apart = [trainer(None) for _ in range(_TRIALS)]

    def side_by_side() -> None:
        for _ in zip(*(member.steps() for member in together), strict=True):
            pass
        for member in together:
            member.end_epoch()

    def one_by_one() -> None:
        for member in apart:
            member.run_epoch()

    line = compare("pack", f"{_TRIALS} trials one by one", side_by_side, one_by_one)
    states = (together[0].state()["network"], apart[0].state()["network"])
    torch.testing.assert_close(*states, rtol=0, atol=0)
    return [line]
