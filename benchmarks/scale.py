"""``python -m benchmarks.scale``: the driver with thousands of trials and simulated workers.

Real: the plan, the store and every trial's files, claims, the driver, Ray Tune's controller and
actor manager with this project's search and callbacks, MLflow's SQLite file, the status file.
Simulated: Ray's core (:mod:`benchmarks.simulated_ray`) and the training of an epoch, which takes a
set time and computes nothing. docs/scaling.md has the figures and what follows from them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.measure import seconds
from sweeps.interrupt import Interrupt
from sweeps.launch.local import local_ray
from sweeps.launch.slurm.commands import QueuedJob
from sweeps.launch.slurm.folder import PoolFolder
from sweeps.launch.slurm.pool import SlurmPool
from sweeps.launch.slurm.status import StatusFile
from sweeps.node import Node
from sweeps.plan import make_plan
from sweeps.progress import Board
from sweeps.resources import Resources
from sweeps.run import RunOptions, SweepRun
from sweeps.spec import Sweep, load_sweep
from sweeps.store import Store

if TYPE_CHECKING:
    from benchmarks.simulated_ray import SimulatedCluster

_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_SEEDS = 10
_WINDOWS = 10
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Sample:
    """Where the driver stood at one moment, counted from its start.

    Attributes:
        at: Seconds.
        trials: Trials that got a worker.
        results: Results that were handled.
        waited: Seconds in which the event loop had nothing to do.
        cpu: Seconds of the event loop's thread.
        runs: Runs in MLflow.
        mebibytes: Memory of the process.
    """

    at: float
    trials: int
    results: int
    waited: float
    cpu: float
    runs: int
    mebibytes: float


class SimulatedPool:
    """Workers of the simulation, for the driver; named like a cluster's, for the status file.

    Args:
        workers: Trials side by side.
        epoch_seconds: Of each.
        folder: The pool's files.
    """

    def __init__(self, workers: int, epoch_seconds: float, folder: PoolFolder) -> None:
        self.resources = Resources(workers, 1, 0.0, 0)
        self.folder = folder
        self.jobs = [QueuedJob(str(n), "RUNNING", f"node{n}", "") for n in range(workers)]
        self.cluster: SimulatedCluster | None = None
        self._epoch_seconds = epoch_seconds

    @property
    def concurrency(self) -> int | None:
        """As many as there are workers, as on a cluster."""
        return None

    @contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Have a Ray without anything to hand out, and the workers in its place."""
        with local_ray(1, 0, log) as scratch:
            # Ray reads its settings, which local_ray makes, when it is imported.
            from benchmarks.simulated_ray import SimulatedCluster

            workers = len(self.jobs)
            self.cluster = SimulatedCluster(workers, self._epoch_seconds, Node(scratch))
            with self.cluster.in_place_of_ray():
                yield scratch

    def pause_trials(self) -> None:
        """Nobody asks for it."""

    def wants(self, trials: int) -> None:
        """There are as many workers as there are."""


class Recorder:
    """Samples the driver while entered, and keeps its status file as on a cluster."""

    def __init__(self, pool: SimulatedPool, store: Store, board: Board) -> None:
        self.samples: list[Sample] = []
        self._pool, self._database = pool, store.root / "mlflow.db"
        self._status = StatusFile(board, cast(SlurmPool, pool))
        self._cpu = time.pthread_getcpuclockid(threading.get_ident())
        self._began, self._cpu_began = time.perf_counter(), time.clock_gettime(self._cpu)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._status.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.samples.append(self._sample())
        self._status.__exit__()

    def _keep(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        cluster = self._pool.cluster
        answers = cluster.answers if cluster else {}
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Sample(
            at=time.perf_counter() - self._began,
            trials=answers.get("__ray_ready__", 0) + answers.get("reset", 0),
            results=answers.get("train", 0),
            waited=cluster.waited if cluster else 0.0,
            cpu=time.clock_gettime(self._cpu) - self._cpu_began,
            runs=_count_runs(self._database),
            mebibytes=pages * resource.getpagesize() / 2**20,
        )


def _count_runs(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("select count(*) from runs").fetchone()[0])


def declare(folder: Path, trials: int, epochs: int) -> Sweep:
    """A grid of ``trials`` trials of the small default experiment."""
    axes = {
        "training.epochs": [epochs],
        "objective.equivariance.weight": [n / trials for n in range(max(1, trials // _SEEDS))],
    }
    declared = {"name": "scale", "experiment": str(_EXPERIMENT), "axes": axes}
    file = folder / "scale.yaml"
    file.write_text(yaml.safe_dump({**declared, "seeds": min(trials, _SEEDS)}))
    return load_sweep(file)


def measure(trials: int, workers: int, epochs: int, epoch_seconds: float) -> dict[str, Any]:
    """Plan, run, and find finished, in a store of its own that is removed afterwards."""
    with ExitStack() as stack:
        # MLflow's thread may be at work still.
        parent = tempfile.TemporaryDirectory(prefix="care-scale-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(parent))
        sweep, store = declare(folder, trials, epochs), Store(folder / "runs")
        stages = {"plan, empty store": seconds(lambda: make_plan(sweep, store))}
        store.prepare()
        store.sweep("scale").path.mkdir(parents=True)
        pool_folder = PoolFolder(store, "scale")
        pool_folder.path.mkdir()
        pool = SimulatedPool(workers, epoch_seconds, pool_folder)
        recorders: list[Recorder] = []

        def view(board: Board) -> Recorder:
            recorders.append(Recorder(pool, store, board))
            return recorders[-1]

        stages["whole run"] = seconds(lambda: _run(sweep, store, pool, view))
        stages["driver"] = recorders[0].samples[-1].at
        stages["MLflow, after the last trial"] = stages["whole run"] - stages["driver"]
        stages["plan, full store"] = seconds(lambda: make_plan(sweep, store))
        stages["second run"] = seconds(lambda: _run(sweep, store, pool, view))
        return {
            "trials": trials,
            "workers": workers,
            "epochs": epochs,
            "stages": stages,
            "windows": list(windows(recorders[0].samples, trials)),
            "runs in MLflow": _count_runs(store.root / "mlflow.db"),
            **_store_size(store, trials),
        }


def _run(sweep: Sweep, store: Store, pool: SimulatedPool, view: Callable[[Board], Any]) -> None:
    run = SweepRun(sweep, store, pool, RunOptions(report=False), print)
    with Interrupt() as interrupt:
        outcome = run(interrupt, view)
    assert outcome.complete, outcome.plan.counts()


def windows(samples: list[Sample], trials: int) -> Iterator[dict[str, float]]:
    """Rates while each tenth of the trials was started."""
    edges = [trials * n // _WINDOWS for n in range(_WINDOWS + 1)]
    for low, high in itertools.pairwise(edges):
        first = next(sample for sample in samples if sample.trials >= low)
        last = next(sample for sample in samples if sample.trials >= high)
        took = last.at - first.at
        count = last.trials - first.trials
        if not count:
            continue
        busy = took - (last.waited - first.waited)
        yield {
            "known trials": last.trials,
            "trials/s": count / took,
            "results/s": (last.results - first.results) / took,
            "busy": busy / took,
            "busy ms/trial": 1e3 * busy / count,
            "CPU ms/trial": 1e3 * (last.cpu - first.cpu) / count,
            "MLflow runs/s": (last.runs - first.runs) / took,
            "MiB": last.mebibytes,
        }


def _store_size(store: Store, trials: int) -> dict[str, float]:
    files = [path for path in store.trials.rglob("*") if path.is_file()]
    return {
        "files per trial": len(files) / trials,
        "KiB per trial": sum(path.stat().st_size for path in files) / trials / 1024,
        "MLflow KiB per trial": (store.root / "mlflow.db").stat().st_size / trials / 1024,
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    stages = Table("stage", "seconds")
    for name, took in found["stages"].items():
        stages.add_row(name, f"{took:.1f}")
    columns = list(found["windows"][0])
    rates = Table(*columns)
    for window in found["windows"]:
        rates.add_row(
            *(
                f"{window[name]:,.3g}" if window[name] < 1000 else f"{window[name]:,.0f}"
                for name in columns
            )
        )
    console = Console()
    console.print(stages, rates)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--epoch-seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "scale.json")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    found = measure(options.trials, options.workers, options.epochs, options.epoch_seconds)
    show(found)
    options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
