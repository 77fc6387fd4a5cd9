"""``python -m benchmarks.scale``: the driver with thousands of trials and simulated workers.

Real: the plan, the store and every trial's files, claims, the driver, Ray Tune's controller and
actor manager with this project's search and callbacks, MLflow's SQLite file, the status file.
Simulated: Ray's core (:mod:`benchmarks.simulated_ray`) and the training of an epoch, which takes a
set time and computes nothing. The figures are in docs/scaling.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.measure import seconds
from care.system.claim import Claim
from care.trials.code_version import code_version
from care.trials.records import SweepRecord
from care.trials.state import State
from sweeps.backends.local import local_ray
from sweeps.backends.slurm.backend import SlurmBackend
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.state_files import PoolFolder
from sweeps.backends.slurm.status_file import StatusFile
from sweeps.plan import make_plan
from sweeps.process.signals import Interrupt
from sweeps.progress import Board
from sweeps.resources import Resources
from sweeps.run import RunOptions, SweepRun
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from sweeps.tune.node import Node

if TYPE_CHECKING:
    from benchmarks.simulated_ray import SimulatedCluster

_NAME = "scale"
_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_SEEDS = 10
_WINDOWS = 10
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Load:
    """The size of a simulation.

    Attributes:
        trials: Number of trials of the sweep.
        workers: Number of trials side by side.
        processes: Number of processes that the simulated workers share.
        epochs: Epochs of a trial.
        epoch_seconds: Seconds of an epoch.
        catch_up: Whether to wait until MLflow has everything, and to time a second run.
    """

    trials: int
    workers: int
    processes: int
    epochs: int
    epoch_seconds: float
    catch_up: bool


@dataclass(frozen=True)
class Sample:
    """The driver's totals at one moment since its start.

    Attributes:
        at: Seconds.
        trials: Trials that reported something.
        results: Results that were handled.
        epochs: Epochs that they reported.
        waited: Idle seconds of the event loop.
        cpu: CPU seconds of the event loop's thread.
        runs: Runs in MLflow.
        mebibytes: Memory of the process.
    """

    at: float
    trials: int
    results: int
    epochs: int
    waited: float
    cpu: float
    runs: int
    mebibytes: float


def declare(folder: Path, trials: int, epochs: int) -> Sweep:
    """Declare a grid of ``trials`` trials of the default experiment, shortened to ``epochs``."""
    weights = trials // _SEEDS
    declared = {
        "name": _NAME,
        "experiment": str(_EXPERIMENT),
        "axes": {
            "training.epochs": [epochs],
            "objective.equivariance.weight": [number / weights for number in range(weights)],
        },
        "seeds": _SEEDS,
        "resources": {"pack": 1},
    }
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(declared))
    return load_sweep(file)


class SimulatedPool:
    """The simulated workers as the driver's backend, with a cluster's status file.

    Args:
        load: The size of the simulation.
        folder: Folder of the pool's files.
    """

    def __init__(self, load: Load, folder: PoolFolder) -> None:
        folder.path.mkdir(parents=True)
        self.resources = Resources(load.workers, 1, 0.0, 0)
        self.folder = folder
        self.queued = [QueuedJob(str(n), "RUNNING", f"node{n}", "") for n in range(load.workers)]
        self.joined = ()
        self.cluster: SimulatedCluster | None = None
        self._load = load

    @property
    def concurrency(self) -> int | None:
        """The number of trials side by side: one for each worker, as on a cluster."""
        return None

    @property
    def slots(self) -> int:
        """The number of workers."""
        return self._load.workers

    @contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Start Ray without resources, and replace its core with the simulated workers."""
        with local_ray(1, 0, log) as scratch:
            # Imported here: Ray reads the settings of local_ray on import.
            from benchmarks.simulated_ray import SimulatedCluster

            node = Node(scratch)
            load = self._load
            self.cluster = SimulatedCluster(load.workers, load.processes, load.epoch_seconds, node)
            with self.cluster.in_place_of_ray():
                yield scratch

    def pause_trials(self) -> None:
        """No-op: a simulated trial is never paused."""

    def hold(self, claim: Claim) -> None:
        """Write the status file as on a cluster."""
        self.folder.writer = claim

    def end(self, *, interrupted: bool) -> None:
        """No-op: no worker waits for another driver."""

    def wants(self, trials: int) -> None:
        """There are as many workers as there are."""


class Recorder:
    """Samples the driver while entered, and keeps its status file as on a cluster."""

    def __init__(self, pool: SimulatedPool, store: Store, board: Board) -> None:
        self.samples: list[Sample] = []
        self._pool, self._database = pool, store.root / "mlflow.db"
        self._board = board
        self._status = StatusFile(board, cast(SlurmBackend, pool))
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
            trials=sum(n for state, n in self._board.counts().items() if state != State.NEW),
            results=answers.get("train", 0),
            epochs=self._board.epochs_run,
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


def measure(load: Load) -> dict[str, Any]:
    """Time the plan, the run, and a second run without missing trials, in a temporary store."""
    # Errors are ignored: MLflow's thread may still write to the folder when it is removed.
    with tempfile.TemporaryDirectory(prefix="care-scale-", ignore_cleanup_errors=True) as folder:
        sweep, store = declare(Path(folder), load.trials, load.epochs), Store(Path(folder, "runs"))
        stages = {"plan, empty store": seconds(lambda: make_plan(sweep, store))}
        store.prepare()
        store.sweep(_NAME).write(_declaration(sweep))
        pool = SimulatedPool(load, PoolFolder(store, _NAME))
        recorders: list[Recorder] = []

        def view(board: Board) -> Recorder:
            recorders.append(Recorder(pool, store, board))
            return recorders[-1]

        total = seconds(lambda: _run(sweep, store, pool, view))
        samples = recorders[0].samples
        stages |= _split(total, samples)
        runs = _count_runs(store.root / "mlflow.db")
        stages["plan, full store"] = seconds(lambda: make_plan(sweep, store))
        if load.catch_up:
            stages["care track sync"] = seconds(lambda: sync_store(store, None))
            stages["second run"] = seconds(lambda: _run(sweep, store, pool, view))
        return {
            **asdict(load),
            "stages": stages,
            "windows": list(windows(samples, load.trials)),
            "MLflow runs at the end": runs,
            "MLflow runs/s at the end": (runs - samples[-1].runs) / (total - samples[-1].at),
            **_store_size(store, load.trials),
        }


def _declaration(sweep: Sweep) -> SweepRecord:
    """Make the record of a sweep that starts, as ``care sweep run`` does."""
    return SweepRecord(
        spec=sweep.spec.model_dump(mode="json"),
        base=sweep.base_config().model_dump(mode="json"),
        paper=sweep.paper_config().model_dump(mode="json"),
        file=sweep.source,
        code_version=code_version(),
    )


def _split(total: float, samples: list[Sample]) -> dict[str, float]:
    """Split the seconds of a run into parts."""
    last = next(sample for sample in samples if sample.results == samples[-1].results)
    return {
        "until the first result": next(s.at for s in samples if s.results),
        "until the last result": last.at,
        "Tune's end": samples[-1].at - last.at,
        "MLflow's catching up": total - samples[-1].at,
    }


def _run(sweep: Sweep, store: Store, pool: SimulatedPool, view: Callable[[Board], Any]) -> None:
    run = SweepRun(sweep, store, pool, RunOptions(report=False))
    with Interrupt() as interrupt:
        outcome = run(interrupt, view)
    assert outcome.complete, outcome.plan.counts()


def windows(samples: list[Sample], trials: int) -> Iterator[dict[str, float]]:
    """Compute the rates during each tenth of the trials."""
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
            "epochs/s": (last.epochs - first.epochs) / took,
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


def print_tables(results: dict[str, Any]) -> None:
    """Print the tables."""
    stages = Table("stage", "seconds")
    for name, took in results["stages"].items():
        stages.add_row(name, f"{took:.1f}")
    rates = Table(*results["windows"][0])
    for window in results["windows"]:
        rates.add_row(
            *(f"{value:.3g}" if value < 1e3 else f"{value:,.0f}" for value in window.values())
        )
    rest = Table("", "")
    for name, value in results.items():
        if isinstance(value, float):
            rest.add_row(name, f"{value:.3g}")
    Console().print(stages, rates, rest)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--processes", type=int, default=1, help="which the workers share")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--epoch-seconds", type=float, default=1.0)
    parser.add_argument("--catch-up", action="store_true", help="wait for MLflow; run once more")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "scale.json")
    options = vars(parser.parse_args())
    if options["trials"] % _SEEDS:
        parser.error(
            f"--trials: got {options['trials']}; allowed: multiples of {_SEEDS}, its seeds"
        )
    file = options.pop("json")
    results = measure(Load(**options))
    print_tables(results)
    file.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
