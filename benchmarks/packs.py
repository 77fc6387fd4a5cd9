"""A pack of trials, which share batches, against these trials one by one."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.measure import Result, compare
from care.config.loading import load_trial
from care.data.dataset import load_dataset
from care.data.shared_batches import Stream
from care.system.allocator import keep_freed_memory
from care.training.trainer import Trainer

_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_TRIALS = 4


def pack() -> list[Result]:
    """Time an epoch of four trials of the small encoder on one thread."""
    keep_freed_memory()
    config = load_trial(_EXPERIMENT)
    data = load_dataset(config.data, Path(config.runtime.data_root))
    stream = Stream()

    def trainer(shared: Stream | None) -> Trainer:
        return Trainer(config, data, torch.device("cpu"), stream=shared)

    together = [trainer(stream) for _ in range(_TRIALS)]
    apart = [trainer(None) for _ in range(_TRIALS)]

    def side_by_side() -> None:
        epochs = [member.steps(lambda: False) for member in together]
        for _ in range(together[0].steps_per_epoch):
            for epoch in epochs:
                next(epoch)
        for epoch in epochs:
            next(epoch, None)

    def one_by_one() -> None:
        for member in apart:
            member.run_epoch()

    line = compare("pack", f"{_TRIALS} trials one by one", side_by_side, one_by_one)
    states = (together[0].state()["network"], apart[0].state()["network"])
    torch.testing.assert_close(*states, rtol=0, atol=0)
    return [line]
