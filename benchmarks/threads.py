"""Two splits of the cores for the small encoder: trials side by side, or threads."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from benchmarks.measure import Result, compare
from care.system.cores import available_cores

_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_EPOCHS = 4


def _train(threads: int, trials: int) -> None:
    import torch

    from care.config.loading import load_trial
    from care.data.dataset import load_dataset
    from care.system.allocator import keep_freed_memory
    from care.training.trainer import Trainer

    keep_freed_memory()
    torch.set_num_threads(threads)
    config = load_trial(_EXPERIMENT)
    for _ in range(trials):
        trainer = Trainer(
            config, load_dataset(config.data, Path(config.runtime.data_root)), torch.device("cpu")
        )
        for _ in range(_EPOCHS):
            trainer.run_epoch()


def _in_processes(processes: int, threads: int, trials: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.threads", "care.training.trial_run"])
    workers = [context.Process(target=_train, args=(threads, trials)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def threads() -> list[Result]:
    """Time a trial for each core with one thread, against one after another with all threads."""
    cores = available_cores()
    line = compare(
        "trials-side-by-side",
        f"one at a time with {cores} threads",
        lambda: _in_processes(cores, 1, 1),
        lambda: _in_processes(1, cores, cores),
        pairs=3,
    )
    return [line]
