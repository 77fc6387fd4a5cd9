"""The paper's tables and figures, with the sweep that reproduces each, its cost and status."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.config.bundled import PREFIX, find_path
from care.config.cost import training_flops
from care.config.yaml_reader import read_yaml
from care.errors import ConfigError, Problem
from care.trials.state import State
from sweeps.plan import Plan, make_plan
from sweeps.price import PastTrials, price_of
from sweeps.resources import split_this_machine
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store

PAPER = "paper"
"""Name of a sweep without a profile: the paper's settings."""
_FOLDER = Path("experiments/paper")


@dataclass(frozen=True)
class PaperExperiment:
    """A sweep that reproduces a part of the paper, in one profile.

    Attributes:
        name: Name of the sweep.
        file: Its YAML file.
        reproduces: The table or figure of the paper.
        profile: ``paper`` or a profile of the file.
        command: The command that runs it.
        trials: Number of trials.
        finished: Number of finished trials.
        flops: Floating-point operations of the encoders in all trainings; None if the size of the
            data is not known before they are downloaded.
        seconds: Estimated wall time of the missing trials on this machine; None until a trial of
            equal cost was run.
        assumed: Settings that neither the paper nor the authors' code gives.
        missing: The parts that are not reproduced, with reasons.
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
        """The progress: ``new``, ``3 of 9`` or ``finished``."""
        if self.finished == self.trials:
            return State.FINISHED
        return f"{self.finished} of {self.trials}" if self.finished else State.NEW

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {**asdict(self), "file": str(self.file), "status": self.status}


def default_folder() -> Path:
    """Return the working folder's sweeps of the paper, else those that come with care."""
    return _FOLDER if _FOLDER.is_dir() else Path(f"{PREFIX}{_FOLDER}")


def list_experiments(folder: Path, store: Store) -> Iterator[PaperExperiment]:
    """Yield every sweep in ``folder`` in each of its profiles.

    Raises:
        ConfigError: There is no such folder, or a file in it is wrong.
    """
    found = [folder / file.name for file in find_path(folder).glob("*.yaml")]
    files = sorted(found, key=_natural)
    if not files:
        problem = Problem("experiments", str(folder), "allowed: a folder of sweeps' YAML files")
        raise ConfigError("care experiments", [problem])
    for file in files:
        yield _describe(file, PAPER, store)  # also checks that the profiles are valid
        for profile in read_yaml(file).get("profiles") or {}:
            if profile != PAPER:
                yield _describe(file, profile, store)


def _natural(file: Path) -> list[tuple[int, str]]:
    """Return a key that sorts fig3 before fig10."""
    parts = re.findall(r"\d+|\D+", file.stem)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _describe(file: Path, profile: str, store: Store) -> PaperExperiment:
    sweep = load_sweep(file, profile=profile)
    plan = make_plan(sweep, store)
    reproduces = sweep.spec.reproduces
    if reproduces is None:
        problem = Problem("reproduces", None, "has no default and must be given")
        raise ConfigError(str(file), [problem])
    options = [] if profile == PAPER else ["--profile", profile]
    return PaperExperiment(
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
    resources = split_this_machine(sweep.spec.resources, plan.wanted)
    past = PastTrials(store, sweep.spec.resources.gpus, resources.threads)
    price = price_of(plan, past, resources.concurrency)
    return None if price.basis == "flops" else price.wall_seconds
