"""A small sweep on the test cluster, what happens to it, and what must be true afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from care.trials.folder import CHECKPOINT_NAME, CHECKPOINTS
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.declaring import WEIGHT
from tests.helpers.paths import ROOT
from tests.helpers.processes import CARE
from tests.helpers.tracked import copy_database

EPOCHS = 12
NAME = "pooled"
SEEDS = 2
AXES = {WEIGHT: [0, 0.1]}
# As the installed command: Python does not import from the working folder.
_CARE = [CARE[0], "-P", *CARE[1:]]
PLUGINS = ROOT / "tests" / "helpers" / "plugins"
# Of little work, in four steps an epoch; what makes the trial last is the encoder's wait.
EXPERIMENT: dict[str, Any] = {
    **TINY,
    "data": {"train_images": 128, "test_images": 128},
    "model": {**TINY["model"], "encoder": "slow-small"},
    "training": {"epochs": EPOCHS, "batch_size": 32},
}
CLUSTER: dict[str, Any] = {
    "partition": "low",
    "time": 20,
    "cpus": 1,
    "gpus": 1,
    "memory_gb": 2,
    "grace_seconds": 15,
    "idle_seconds": 30,
    "wait_seconds": 300,
    "head": {"partition": "high", "time": 60, "cpus": 1, "memory_gb": 2},
}


def declare(
    folder: Path, name: str = NAME, seeds: int = SEEDS, models: str = "none", **cluster: Any
) -> None:
    """Write the sweep, its experiment, and the cluster file with changes.

    No model is logged unless ``models`` asks for it: a process with torch takes seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep = {
        "name": name,
        "experiment": "experiment.yaml",
        "axes": AXES,
        "seeds": seeds,
        "tracking": {"models": models},
    }
    on_gpus = {**sweep, "resources": {"threads": 1, "gpus": 1}}
    files = {"experiment": EXPERIMENT, "local": sweep, "sweep": on_gpus}
    for file, tree in {**files, "cluster": {**CLUSTER, **cluster}}.items():
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def wait_until(condition: Callable[[], Any], seconds: float = 480.0, what: str = "") -> Any:
    """Wait until ``condition`` gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"did not happen in {seconds:.0f} s: {what}"
        time.sleep(0.3)
    return found


class Pool:
    """The sweep in ``folder``, as a person on a login node has it.

    Its trials train slowly until :meth:`hurry`, which :meth:`wait_for_end` calls.

    Args:
        folder: On the shared disk.
        environment: That of the cluster.
        name: The sweep's.
        seeds: At most ``SEEDS``, which an undisturbed sweep has.
        database: An empty file of MLflow, which takes the head seconds to make; None for none.
        wait: Seconds of each pass through the encoder until :meth:`hurry`. A step has two, an
            epoch four steps: with the default an epoch takes a second.
        changes: Of the cluster file; ``models``.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        name: str = NAME,
        seeds: int = SEEDS,
        *,
        database: Path | None = None,
        wait: float = 0.12,
        **changes: Any,
    ) -> None:
        self.folder, self.name, self.seeds = folder, name, seeds
        self._slow = folder / "slow"
        self.environment = {**os.environ, **environment, "CARE_TEST_SLOW": str(self._slow)}
        declare(folder, name, seeds, **changes)
        self._slow.write_text(str(wait))
        self._database = database

    def care(self, *arguments: str, check: bool = True) -> str:
        """Run a command and return what it said."""
        done = subprocess.run(
            [*_CARE, *arguments], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0 or not check, said + self.logs()
        return said

    def prepare(self) -> None:
        """Give the store its database, if it has none."""
        store = self.folder / "runs"
        if self._database and not (store / "mlflow.db").exists():
            copy_database(self._database, store)

    def submit(self, workers: str = "1:2", *more: str, report: bool = False) -> str:
        """Submit it, from a checkout whose code is edited later: no job may import that."""
        self.prepare()
        for package in ("care", "sweeps"):
            (self.folder / package).mkdir(exist_ok=True)
            (self.folder / package / "__init__.py").write_text("raise SystemExit('edited code')")
        return self.care(
            "sweep",
            "submit",
            "sweep.yaml",
            "--cluster",
            "cluster.yaml",
            "--workers",
            workers,
            *(() if report else ("--no-report",)),
            *more,
        )

    def status(self) -> dict[str, Any]:
        """As ``care sweep status --json`` tells."""
        found: dict[str, Any] = json.loads(
            self.care("sweep", "status", self.name, "--json", check=False).splitlines()[-1]
        )
        return found

    @property
    def pool(self) -> Path:
        """The pool's files."""
        return self.folder / "runs" / "sweeps" / self.name / "pool"

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.pool.parent / "report" / "report.html"

    def trials(self) -> list[Path]:
        """Folders of the trials that were started."""
        return sorted((self.folder / "runs" / "trials").glob("*/"))

    def epochs(self, trial: Path) -> int:
        """Whole epochs of a trial that a checkpoint holds."""
        found = map(CHECKPOINT_NAME.fullmatch, (path.name for path in trial.glob(CHECKPOINTS)))
        return max((int(match[1]) for match in found if match), default=0)

    def starts(self, trial: Path) -> list[dict[str, Any]]:
        """When, where and from which place a trial was started."""
        log = trial / "starts.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def wait_for_training(self, epoch: int = 3, not_on: str = "") -> Path:
        """A running trial that has a checkpoint of ``epoch`` or later, and much left to train.

        Args:
            epoch: Whole epochs that the checkpoint holds.
            not_on: A node on which the trial may not run.
        """

        def training() -> Path | None:
            for trial in self.trials():
                ready = epoch <= self.epochs(trial) < EPOCHS - 5
                if ready and not (not_on and self.claim(trial)["host"] == not_on):
                    return trial
            return None

        found: Path = wait_until(training, what=f"a trial at epoch {epoch}\n{self.logs()}")
        return found

    def claim(self, trial: Path) -> dict[str, Any]:
        """Who holds a trial: ``host``, ``pid``."""
        found: dict[str, Any] = json.loads(next(trial.glob("claim-??????")).read_text())
        return found

    def workers(self) -> dict[str, dict[str, Any]]:
        """What the workers say of themselves, by job."""
        return {
            path.stem: json.loads(path.read_text()) for path in self.pool.glob("workers/*.json")
        }

    def joined(self) -> dict[str, dict[str, Any]]:
        """What the workers that are no jobs say of themselves, by name."""
        return {name: worker for name, worker in self.workers().items() if worker["joined"]}

    def head(self) -> dict[str, Any]:
        """What the head says."""
        found: dict[str, Any] = json.loads((self.pool / "head.json").read_text())
        return found

    def finished(self) -> int:
        """Trials that are finished."""
        states = [trial / "status.json" for trial in self.trials()]
        found = [json.loads(state.read_text())["state"] for state in states if state.exists()]
        return found.count("finished")

    def hurry(self) -> None:
        """Let the trials wait no more."""
        self._slow.unlink(missing_ok=True)

    def wait_for_end(self, seconds: float = 700.0) -> None:
        """Hurry, until every trial is finished and the head has said that it is over."""
        self.hurry()
        wanted = len(AXES[WEIGHT]) * self.seeds

        def over() -> bool:
            # Files, because a command that asks takes a core from the trials.
            return self.finished() == wanted and self.head()["state"] == "ended"

        end = time.monotonic() + seconds
        while not over():
            assert time.monotonic() < end, f"no end after {seconds:.0f} s\n{self.logs()}"
            time.sleep(0.5)
        status = self.status()
        assert status["complete"], status

    def logs(self) -> str:
        """For messages: what head and workers said."""
        files = [*self.pool.glob("head.log"), *sorted(self.pool.glob("jobs/*.out"))]
        return "".join(f"\n== {file.name}\n{file.read_text()[-2000:]}" for file in files)

    def assert_as_undisturbed(self, undisturbed: Path, uri: str | None = None) -> None:
        """Every trial finished, equal to the bit to the local run; MLflow knows each once."""
        wanted = undisturbed / "runs" / "trials"
        assert len(self.trials()) == len(AXES[WEIGHT]) * self.seeds
        for trial in self.trials():
            assert json.loads((trial / "status.json").read_text())["state"] == "finished"
            assert_equal_to_the_bit(trial, wanted / trial.name)
        labels = [f"λ={w} seed={seed}" for w in AXES[WEIGHT] for seed in range(self.seeds)]
        expected = dict.fromkeys([self.name, *labels], "FINISHED")
        own = f"sqlite:///{self.folder / 'runs' / 'mlflow.db'}"
        assert mlflow_runs(uri or own) == expected

    def assert_went_on(self, trial: Path, epoch: int = 3, *, interrupted: bool = True) -> None:
        """A trial that had trained for ``epoch`` epochs was never started before that again.

        Args:
            trial: Its folder.
            epoch: Whole epochs that it had trained.
            interrupted: Whether it must have been started again at all.
        """
        again = self.starts(trial)[1:]
        assert again or not interrupted, "was not started again"
        assert all(start["epoch"] >= epoch for start in again), again


class Volunteer:
    """A ``care worker`` that runs while entered.

    Args:
        sweep: What it joins.
        prefix: Command that starts it elsewhere.
        on: Runs a command on a node; None for this machine.
        options: Of the command.
    """

    def __init__(
        self,
        sweep: Pool,
        prefix: Sequence[str] = (),
        on: Callable[..., str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._sweep, self._on = sweep, on
        self._log = sweep.folder / f"volunteer-{uuid.uuid4().hex[:6]}.log"
        self._before = set(sweep.joined())
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*prefix, *_CARE, "worker", sweep.name, *options],
                cwd=sweep.folder, env=sweep.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def output(self) -> str:
        """What it said so far."""
        return self._log.read_text()

    @property
    def name(self) -> str:
        """Its name among the workers, once it has joined."""

        here = f"{socket.gethostname()}-{self._process.pid}"

        def new() -> str | None:
            names = set(self._sweep.joined()) - self._before
            return next(iter(names if self._on else names & {here}), None)

        if not hasattr(self, "_name"):
            self._name: str = wait_until(new, what=f"it joins\n{self.output}")
        return self._name

    @property
    def host(self) -> str:
        """The machine that it runs on."""
        return self.name.rpartition("-")[0]

    def wait_for_trial(self) -> Path:
        """A trial that trains there and has a checkpoint of an epoch that it trained."""
        trials = self._sweep.folder / "runs" / "trials"

        def training() -> Path | None:
            for name in self._sweep.joined().get(self.name, {}).get("trials", []):
                trial: Path = trials / name
                starts = self._sweep.starts(trial)
                if starts and self._sweep.epochs(trial) > starts[-1]["epoch"]:
                    return trial
            return None

        found: Path = wait_until(training, what=f"it trains\n{self.output}")
        return found

    def signal(self, number: int) -> None:
        """Send a signal to it alone."""
        self._run("kill", f"-{number}", self.name.rpartition("-")[2])

    def wait(self, seconds: float = 120.0) -> int:
        """Its exit status."""
        return self._process.wait(seconds)

    def _run(self, *command: str, check: bool = True) -> str:
        if self._on:
            return self._on(self.host, *command, check=check)
        return subprocess.run(command, check=check, capture_output=True, text=True).stdout


def mlflow_runs(uri: str) -> dict[str, str]:
    """Status of each run by name; a name that two runs have is an error."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments)
    names = [run.info.run_name for run in runs]
    assert len(set(names)) == len(names), names
    return {run.info.run_name: run.info.status for run in runs}
