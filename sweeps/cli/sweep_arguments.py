"""A sweep's file and options as they were typed, and the command that repeats them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from care.config.bundled import find_path, is_bundled
from care.errors import ConfigError, Problem
from sweeps.spec.sweep import Sweep, load_sweep


@dataclass(frozen=True)
class SweepArguments:
    """The arguments that select a sweep on the command line.

    Attributes:
        file: YAML file of the sweep.
        overrides: ``field=value`` to set in its base configuration; ``seeds=`` is ``--seeds``.
        profile: One of its profiles.
        only: ``AXIS=VALUE[,VALUE]``: only the points with these values.
        seeds: A number of seeds, or seeds with commas between, instead of all.
        store: Folder of the store; None for the default.
    """

    file: Path
    overrides: tuple[str, ...] = ()
    profile: str | None = None
    only: tuple[str, ...] = ()
    seeds: str | None = None
    store: Path | None = None

    def load(self) -> Sweep:
        """Load the sweep and select the chosen trials.

        Raises:
            ConfigError: A file, field or choice is wrong.
        """
        return load_sweep(self.file, self.fields, self.profile).select(self.only, self.chosen_seeds)

    @property
    def chosen_seeds(self) -> str | None:
        """The value of ``--seeds`` or ``seeds=``; None for all seeds.

        Raises:
            ConfigError: Seeds are given more than once.
        """
        given = [text.partition("=")[2] for text in self.overrides if _is_seeds(text)]
        given += [] if self.seeds is None else [self.seeds]
        if len(given) > 1:
            raise ConfigError("command line", [Problem("seeds", given[0], "allowed: once")])
        return given[0] if given else None

    @property
    def fields(self) -> tuple[str, ...]:
        """The overrides of the base configuration."""
        return tuple(text for text in self.overrides if not _is_seeds(text))

    @property
    def without_selection(self) -> SweepArguments:
        """The arguments without the choice of points and seeds."""
        return replace(self, overrides=self.fields, only=(), seeds=None)

    def command(self, verb: str, *options: str) -> str:
        """Format the command that runs or submits the sweep, quoted for a shell."""
        words = ["care", "sweep", verb, str(self.file), *self.overrides]
        words += ["--profile", self.profile] if self.profile else []
        words += [word for text in self.only for word in ("--only", text)]
        words += ["--seeds", self.seeds] if self.seeds is not None else []
        words += ["--store", str(self.store)] if self.store is not None else []
        return shlex.join([*words, *options])


@dataclass(frozen=True)
class Opening:
    """How other machines join a run.

    Attributes:
        interface: Network interface for Ray; that of the host name if None.
    """

    interface: str | None = None

    @property
    def typed(self) -> tuple[str, ...]:
        """The options that open a run."""
        return ("--open", *(("--interface", self.interface) if self.interface else ()))


def print_source(file: Path, console: Console) -> None:
    """Print which file a name with the prefix ``bundled:`` stands for."""
    if is_bundled(file):
        console.print(f"reads {find_path(file)}", soft_wrap=True)


def _is_seeds(override: str) -> bool:
    return override.partition("=")[0].strip() == "seeds"
