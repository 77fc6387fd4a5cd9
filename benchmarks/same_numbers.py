"""Compare every number of two commits to the bit, after code was moved or rewritten.

``python -m benchmarks.same_numbers BASE`` trains small trials of every objective with the commit
BASE and with this checkout: alone, in two processes, in a pack, and killed and resumed. ``--sweep``
adds the default sweep. Metrics, measures, arrays, weights and optimizer states have to be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

_ROOT = Path(__file__).parent.parent
_CARE = (sys.executable, "-c", "from sweeps.cli.main import main; main()")
_TRIAL = {
    "model": {"encoder": "small", "head": {"hidden": 32, "output": 16}},
    "training": {"epochs": 3, "batch_size": 256},
    "evaluation": {"monitor_images": 64, "rotation_augmentations": 2, "knn_neighbors": 5},
    "runtime": {"threads": 1},
}
_CARE_TERM = {"weight": 0.1, "splits": 16}
_OBJECTIVES: dict[str, dict[str, Any]] = {
    "simclr": {"name": "simclr", "equivariance": {"weight": 0.0}},
    "simclr, four views": {"name": "simclr", "views": 4, "equivariance": {"weight": 0.0}},
    "CARE": {"name": "simclr", "equivariance": _CARE_TERM},
    "CARE, per batch": {
        "name": "simclr",
        "equivariance": {**_CARE_TERM, "augmentation": "per_batch", "scale": "mean"},
    },
    "CARE, shared views": {"name": "simclr", "equivariance": {**_CARE_TERM, "shared_views": True}},
    "CARE, before the head": {"name": "simclr", "equivariance": {**_CARE_TERM, "space": "encoder"}},
    "EquiMod": {
        "name": "simclr",
        "equivariance": {"weight": 0.0},
        "equimod": {"weight": 1.0, "hidden": 32, "output": 16},
    },
    "MoCo-v2": {"name": "moco_v2", "queue": 512, "equivariance": _CARE_TERM},
    "MoCo-v2, shuffled": {
        "name": "moco_v2",
        "queue": 512,
        "shuffle_groups": 4,
        "equivariance": _CARE_TERM,
    },
    "Barlow Twins": {"name": "barlow_twins", "equivariance": _CARE_TERM},
    "BYOL": {"name": "byol", "equivariance": _CARE_TERM},
    "alignment": {"name": "alignment", "equivariance": _CARE_TERM},
    "uniformity": {"name": "uniformity", "equivariance": _CARE_TERM},
    "L_equi alone": {"name": "none", "equivariance": _CARE_TERM},
}
_SWEEP = {
    "name": "packed",
    "experiment": "trial.yaml",
    "axes": {"objective.equivariance.weight": [0, 0.1, 1.0]},
    "seeds": 1,
    "metric": {"name": "head/gamma", "mode": "min"},
    "resources": {"pack": 3},
}


class Checkout:
    """A commit's code, and a folder for its results."""

    def __init__(self, code: Path, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._environment = {**os.environ, "PYTHONPATH": str(code), "RAY_USAGE_STATS_ENABLED": "0"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a ``care`` command in :attr:`folder`."""
        return subprocess.Popen(
            [*_CARE, *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> None:
        """Run a ``care`` command to its end."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=900)
        if process.returncode:
            raise SystemExit(f"care {' '.join(arguments)}: exit {process.returncode}\n{output}")

    def run_killed_once(self, *arguments: str) -> None:
        """Run a ``care`` command that is killed after its first epoch, and once more."""
        process = self.start(*arguments)
        while process.poll() is None and not list(self.folder.glob("*/trials/*/checkpoint-*.pt")):
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.run(*arguments)

    def train(self) -> None:
        """Train every trial that is compared."""
        for number, (name, objective) in enumerate(_OBJECTIVES.items()):
            file = f"trial-{number}.yaml"
            self._write(file, {**_TRIAL, "objective": objective})
            self.run("train", file, "--store", f"alone-{number}")
            print(f"  {name}", flush=True)
        parallel = ("runtime.processes=2", "runtime.threads=2")
        self.run("train", "trial-2.yaml", "--store", "parallel", *parallel)
        self.run_killed_once("train", "trial-2.yaml", "--store", "killed", "seed=1")
        self._write("trial.yaml", {**_TRIAL, "objective": _OBJECTIVES["CARE"]})
        self._write("sweep.yaml", _SWEEP)
        self.run("sweep", "run", "sweep.yaml", "--no-report", "--store", "packed")
        print("  two processes; killed and resumed; packed", flush=True)

    def _write(self, name: str, tree: object) -> None:
        (self.folder / name).write_text(yaml.safe_dump(tree), encoding="utf-8")

    def trials(self) -> dict[str, Path]:
        """Every trial's folder, by its store and identity."""
        return {
            path.relative_to(self.folder).as_posix(): path
            for path in sorted(self.folder.glob("*/trials/*"))
        }


def differences(one: Path, other: Path) -> Iterator[str]:
    """Yield the names of what differs between two folders of a trial."""
    for name in ("metrics.jsonl", "evaluation.json", "details.npz"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            yield name
    states = [_state(folder) for folder in (one, other)]
    if states[0].keys() != states[1].keys():
        yield f"names of the state: {sorted(states[0].keys() ^ states[1].keys())}"
    for name in states[0].keys() & states[1].keys():
        if not _equal(states[0][name], states[1][name]):
            yield f"state {name}"


def _state(folder: Path) -> dict[str, Any]:
    newest = max(folder.glob("checkpoint-*.pt"))
    return dict(_flat("", torch.load(newest, weights_only=True)))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    items: Sequence[tuple[Any, Any]] | None = None
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    if items is None:
        yield prefix, value
    for name, item in items or ():
        yield from _flat(f"{prefix}.{name}", item)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def main() -> int:
    """Compare; return 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="commit to compare with")
    parser.add_argument("--sweep", action="store_true", help="run the default sweep, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "base"
        git = ["git", "-C", str(_ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", code, arguments.base], check=True)
        try:
            return _compare(Path(folder), code, arguments.sweep)
        finally:
            subprocess.run([*git, "remove", "--force", code], check=True)


def _compare(folder: Path, base: Path, sweep: bool) -> int:
    checkouts = []
    for name, code in (("before", base), ("now", _ROOT)):
        print(name, flush=True)
        checkout = Checkout(code, folder / f"results-{name}")
        checkout.train()
        if sweep:
            file = str(code / "sweeps" / "digits-lambda.yaml")
            checkout.run("sweep", "run", file, "--no-report", "--store", "sweep")
        checkouts.append(checkout.trials())
    before, now = checkouts
    unequal = [f"{name}: only in one" for name in before.keys() ^ now.keys()]
    for name in sorted(before.keys() & now.keys()):
        unequal += [f"{name}: {what}" for what in differences(before[name], now[name])]
    print("\n".join(unequal) or f"{len(before)} trials are equal to the bit")
    return bool(unequal)


if __name__ == "__main__":
    sys.exit(main())
