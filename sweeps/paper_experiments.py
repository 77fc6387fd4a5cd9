"""The experiments of the paper: what there is to reproduce, at which cost, and what is done."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.config.cost import training_flops
from care.config.yaml_reader import read_yaml
from care.errors import ConfigError, Problem
from care.trials.state import State
from sweeps.plan import Plan, estimate_seconds, make_plan
from sweeps.resources import share_out
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store

PAPER = "paper"
"""The profile that a file declares without naming it: the paper's settings."""


@dataclass(frozen=True)
class Entry:
    """An experiment in one profile.

    Attributes:
        name: Of the sweep.
        file: Where it is declared.
        reproduces: What of the paper.
        profile: ``paper`` or another one that the file declares.
        command: What runs it.
        trials: Trials it wants.
        finished: Trials that are done.
        flops: Floating-point operations of the encoders in all trainings; None where the size of
            the data is not known before they are there.
        seconds: Estimated wall time of what is missing on this machine; None until a trial of the
            kind was run here.
        assumed: What neither the paper nor the authors' code says.
        missing: What is not reproduced, and why.
    """

    name: str
    file: Path
    reproduces: str
    profile: str
    command: str
    trials: int
    finished: int
    flops: float | None
    seconds: float | None
    assumed: tuple[str, ...]
    missing: str

    @property
    def status(self) -> str:
        """``new``, ``3 of 9`` or ``finished``."""
        if self.finished == self.trials:
            return State.FINISHED
        return f"{self.finished} of {self.trials}" if self.finished else State.NEW

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "file": str(self.file), "status": self.status}


def catalogue(folder: Path, store: Store) -> Iterator[Entry]:
    """Every sweep in ``folder`` that says what it reproduces, in each of its profiles.

    Raises:
        ConfigError: There is no such folder, or a file in it is wrong.
    """
    files = sorted(folder.glob("*.yaml"), key=_natural)
    if not files:
        problem = Problem("experiments", str(folder), "allowed: a folder of sweeps' YAML files")
        raise ConfigError("care experiments", [problem])
    for file in files:
        yield _entry(file, PAPER, store)  # refuses profiles that are none
        for profile in read_yaml(file).get("profiles") or {}:
            if profile != PAPER:
                yield _entry(file, profile, store)


def _natural(file: Path) -> list[tuple[int, str]]:
    """Fig 3 comes before Fig 10."""
    parts = re.findall(r"\d+|\D+", file.stem)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _entry(file: Path, profile: str, store: Store) -> Entry:
    sweep = load_sweep(file, profile=profile)
    plan = make_plan(sweep, store)
    reproduces = sweep.spec.reproduces
    if reproduces is None:
        problem = Problem("reproduces", None, "has no default and must be given")
        raise ConfigError(str(file), [problem])
    options = [] if profile == PAPER else ["--profile", profile]
    return Entry(
        name=sweep.spec.name,
        file=file,
        reproduces=reproduces.what,
        profile=profile,
        command=shlex.join(["care", "sweep", "run", str(file), *options]),
        trials=plan.wanted,
        finished=plan.counts()[State.FINISHED],
        flops=_flops(plan),
        seconds=_seconds(sweep, plan, store),
        assumed=reproduces.assumed,
        missing=reproduces.missing,
    )


def _flops(plan: Plan) -> float | None:
    known = [_trial_flops(trial.config) for trial in plan.unique().values()]
    return sum(flops for flops in known if flops is not None) if None not in known else None


def _trial_flops(config: TrialConfig) -> float | None:
    size, side = config.data.train_size, config.data.pixels
    return training_flops(config, size, side) if size and side else None


def _seconds(sweep: Sweep, plan: Plan, store: Store) -> float | None:
    resources = share_out(sweep.spec.resources, plan.wanted)
    return estimate_seconds(plan, store, resources.concurrency)
