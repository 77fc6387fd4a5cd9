"""A sweep as its author declares it: experiment, axes, seeds, search, scheduler, resources."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from analysis.labels import VARIANT
from care.config import Model, PositiveInt, TrialConfig
from care.config.loading import parse_override, set_field, validate
from care.config.metrics import EPOCH_METRICS, FINAL_MEASURES, is_final_measure
from care.config.yaml_reader import read_yaml
from care.data.shared_batches import SHARED
from care.errors import ConfigError, Problem, nearest
from sweeps.spec.axes import SEEDS, AxisRange, check_axes, check_variants
from sweeps.spec.paper import ProfileConfig, ReproducesConfig, profiled, rename_stored_figure
from sweeps.spec.selection import Selection, select

MOST_SEEDS = 1_000
MOST_TRIALS = 20_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def _seed_list(value: Any) -> Any:
    """``seeds: 3`` is short for 0, 1, 2."""
    number = len(value) if isinstance(value, (list, tuple)) else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise PydanticCustomError("name", "allowed: a number of seeds or a list of seeds")
    if number > MOST_SEEDS:
        raise PydanticCustomError("name", f"allowed: at most {MOST_SEEDS} seeds")
    return tuple(range(value)) if isinstance(value, int) else tuple(value)


def _count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and value > 0 and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("name", "allowed: auto or a number greater than 0")


def _part_or_whole(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise PydanticCustomError("name", "allowed: a part of one GPU, or whole ones")
    return gpus


class SearchConfig(Model):
    """How points are chosen: every combination, or Optuna through Ray Tune's OptunaSearch.

    Attributes:
        name: ``grid`` or ``optuna``.
        trials: Points that Optuna tries; each is trained once per seed.
        sampler: Optuna's sampler.
        seed: Seed of the sampler.
    """

    name: Literal["grid", "optuna"] = "grid"
    trials: PositiveInt = 20
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Annotated[int, Field(ge=0)] = 0


class SchedulerConfig(Model):
    """Early stopping: none, or ASHA on a per-epoch metric.

    Attributes:
        name: ``none`` or ``asha``.
        grace_epochs: Epochs that every trial gets; the first rung.
        reduction_factor: Each rung keeps the best 1 / this of the trials that reached it.
    """

    name: Literal["none", "asha"] = "none"
    grace_epochs: PositiveInt = 1
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0


class ResourcesConfig(Model):
    """What one trial gets.

    Attributes:
        threads: CPU threads; ``auto`` gives each of the trials that fit an equal part of the
            cores. One thread each is the fastest split for small networks, and two trials side by
            side never lose to one with two threads (docs/performance.md).
        gpus: A part of one, which it shares with other trials, or whole ones, on which it trains
            data-parallel.
        pack: Trials of one seed, data set, augmentation and batch size that one process trains
            side by side: what they share is loaded and augmented once. Their numbers are those of
            trials alone, bit for bit. ``auto`` measures the first steps and the memory, and packs
            what it pays to, but leaves no core or GPU idle for it; with ASHA it is 1.
        retries: Times that a trial is started again at one and the same place after its process or
            node was lost.
    """

    threads: Annotated[Literal["auto"] | PositiveInt, BeforeValidator(_count)] = "auto"
    gpus: Annotated[float, Field(ge=0), AfterValidator(_part_or_whole)] = 0.0
    pack: Annotated[Literal["auto"] | PositiveInt, BeforeValidator(_count)] = "auto"
    retries: Annotated[int, Field(ge=0)] = 3


class MetricConfig(Model):
    """What the sweep is judged by."""

    name: str = "encoder/probe_accuracy"
    mode: Literal["max", "min"] = "max"

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        valid = (*EPOCH_METRICS, *FINAL_MEASURES)
        if name not in EPOCH_METRICS and not is_final_measure(name):
            close = nearest(name, valid)
            hint = f"; did you mean {close!r}?" if close else ""
            raise PydanticCustomError("name", f"allowed: {', '.join(valid)}{hint}")
        return name


class SweepSpec(Model):
    """A whole sweep.

    Attributes:
        name: Names the sweep in the store, in MLflow and as Optuna's study.
        description: One sentence for the report.
        experiment: YAML file of the base configuration, relative to the sweep's file.
        overrides: Dotted fields set in every trial.
        variants: Named sets of dotted fields, e.g. methods; the values of an axis ``variant``,
            which comes first and holds all of them where it is not given.
        axes: Dotted field to its values, or for Optuna also to ``{low, high, log}``.
        seeds: Seeds that each point is trained with; a number n is short for 0 … n - 1.
        profiles: Other sizes of the sweep; ``--profile`` chooses one.
        reproduces: What of the paper it reproduces.
    """

    name: str
    description: str = ""
    experiment: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    axes: dict[str, Any]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_seed_list)] = (0,)
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    metric: MetricConfig = MetricConfig()
    profiles: dict[str, ProfileConfig] = Field(default_factory=dict)
    reproduces: ReproducesConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _variants_are_an_axis(cls, tree: Any) -> Any:
        """Put the axis ``variant`` first, with every name where it is not given."""
        if not isinstance(tree, dict) or not isinstance(tree.get("variants"), dict):
            return tree
        axes = tree.get("axes", {})
        if not tree["variants"] or not isinstance(axes, dict):
            return tree
        chosen = {VARIANT: axes.get(VARIANT, list(tree["variants"]))}
        return {**tree, "axes": {**chosen, **axes}}

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise PydanticCustomError(
                "name", "allowed: lower-case letters, digits, '.', '_' and '-', at most 63"
            )
        return name

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise PydanticCustomError("name", "allowed: one seed or more")
        if len(set(seeds)) < len(seeds):
            raise PydanticCustomError("name", "allowed: each seed once")
        return seeds

    @model_validator(mode="after")
    def _check_across_fields(self) -> Self:
        check_axes(self.axes, self.search.name)
        check_variants(self.variants, self.axes)
        if self.search.name == "optuna" and not self.axes:
            raise PydanticCustomError(
                "search.name", "allowed with one axis or more", {"value": self.search.name}
            )
        _check_size(self)
        _check_pack(self)
        if self.scheduler.name == "asha" and self.metric.name not in EPOCH_METRICS:
            raise PydanticCustomError(
                "metric.name",
                "allowed with asha, which needs a value after every epoch: {names}",
                {"names": ", ".join(EPOCH_METRICS), "value": self.metric.name},
            )
        return self

    @property
    def pack(self) -> int | Literal["auto"]:
        """Trials that a process takes together; see :class:`ResourcesConfig`."""
        asked = self.resources.pack
        one_by_one = self.search.name == "optuna" or self.resources.gpus > 1
        # A scheduler has to be told of each epoch in turn, of a member that joins later too late.
        if asked == "auto" and (one_by_one or self.scheduler.name != "none"):
            return 1
        return asked

    def ranges(self) -> dict[str, AxisRange | tuple[Any, ...]]:
        """The axes, each an interval or a tuple of values."""
        return {
            field: AxisRange.model_validate(values) if isinstance(values, dict) else tuple(values)
            for field, values in self.axes.items()
        }


def _check_size(spec: SweepSpec) -> None:
    """Refuse more trials than a driver can handle; see docs/scaling.md."""
    if spec.search.name == "optuna":
        field, points = "search.trials", spec.search.trials
        value: Any = points
    else:
        largest = max(spec.axes, key=lambda axis: len(spec.axes[axis]), default="")
        field, value = f"axes.{largest}", spec.axes.get(largest)
        points = math.prod(len(values) for values in spec.axes.values())
    trials = points * len(spec.seeds)
    if trials > MOST_TRIALS:
        allowed = f"allowed: at most {MOST_TRIALS} trials in all; these are {trials}"
        raise PydanticCustomError(field, "{allowed}", {"allowed": allowed, "value": value})


def _check_pack(spec: SweepSpec) -> None:
    pack, reason = spec.resources.pack, None
    if spec.search.name == "optuna":
        reason = "with optuna, which suggests a point when it knows the ones before"
    elif spec.resources.gpus > 1:
        reason = "where a trial trains on several GPUs"
    elif spec.axes and all(_sets_the_stream_apart(field) for field in spec.axes):
        reason = f"as trials that differ in {', '.join(spec.axes)} share no batches"
    if isinstance(pack, int) and pack > 1 and reason:
        raise PydanticCustomError(
            "resources.pack", "allowed: 1 {reason}", {"reason": reason, "value": pack}
        )


def _sets_the_stream_apart(field: str) -> bool:
    return any(field == shared or field.startswith(f"{shared}.") for shared in SHARED)


class Sweep:
    """A declared sweep with its base configuration resolved.

    Attributes:
        spec: The declaration.
        base: The experiment as a tree, with the sweep's overrides.
        source: Where it was declared.
        paper: The same as ``base`` without profile and overrides of the command line.
        selection: The part of its trials that a plan takes; the declaration stays whole.
    """

    def __init__(
        self,
        spec: SweepSpec,
        base: dict[str, Any],
        source: str,
        paper: dict[str, Any] | None = None,
    ) -> None:
        self.spec = spec
        self.base = base
        self.source = source
        self.paper = paper or base
        self.selection = Selection()

    def select(self, only: Sequence[str], seeds: str | None) -> Sweep:
        """Return this sweep with a part of its trials chosen, or all when nothing is given.

        Args:
            only: ``AXIS=VALUE[,VALUE]`` each.
            seeds: A number of seeds, or seeds with commas between.

        Raises:
            ConfigError: See :func:`sweeps.spec.selection.select`.
        """
        chosen = Sweep(self.spec, self.base, self.source, self.paper)
        if only or seeds is not None:
            spec = self.spec
            chosen.selection = select(spec.axes, spec.seeds, spec.search.name, only, seeds)
        return chosen

    def whole(self) -> Sweep:
        """Return this sweep with all of its trials."""
        return self.select((), None)

    def base_config(self) -> TrialConfig:
        """The experiment before any axis is set."""
        return validate(TrialConfig, self.base, self.source)

    def paper_config(self) -> TrialConfig:
        """The experiment at the paper's settings, before any axis is set."""
        return validate(TrialConfig, self.paper, self.source)

    def trials(self, point: dict[str, Any]) -> Iterator[TrialConfig]:
        """Yield the configuration at ``point`` with each seed; it is checked once.

        Raises:
            ConfigError: The point is not valid; names the field.
        """
        seeds = self.spec.seeds if self.selection.seeds is None else self.selection.seeds
        first = self.trial(point, seeds[0])
        for seed in seeds:
            yield first.model_copy(update={"seed": seed})

    def trial(self, point: dict[str, Any], seed: int) -> TrialConfig:
        """The configuration at ``point`` (dotted field to value) with ``seed``.

        Raises:
            ConfigError: The point is not valid; names the field.
        """
        tree = _copy(self.base)
        for field, value in point.items():
            fields = self.spec.variants[value] if field == VARIANT else {field: value}
            for name, setting in fields.items():
                set_field(tree, name, _copy(setting))
        tree["seed"] = seed
        if self.spec.resources.gpus > 1:
            set_field(tree, "runtime.processes", int(self.spec.resources.gpus))
        return validate(TrialConfig, tree, self.source)


def _copy(tree: Any) -> Any:
    return {key: _copy(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def load_sweep(path: Path, overrides: tuple[str, ...] = (), profile: str | None = None) -> Sweep:
    """The sweep in a YAML file.

    Args:
        path: The file.
        overrides: ``field=value`` to set in its base configuration.
        profile: One of its profiles; None for the sweep as it stands.

    Raises:
        ConfigError: The file, its experiment or a field is wrong; nothing was started.
    """
    tree = read_yaml(path)
    validate(SweepSpec, tree, str(path))
    spec = validate(SweepSpec, profiled(tree, profile, path), str(path))
    sweep = resolve_sweep(spec, path, overrides)
    if spec.reproduces:
        plain = validate(SweepSpec, profiled(tree, None, path), str(path))
        sweep.paper = resolve_sweep(plain, path).base
    return sweep


def resolve_sweep(spec: SweepSpec, path: Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Read the experiment that ``spec`` names and check every axis against it."""
    base = read_yaml(path.parent / spec.experiment)
    fields = {**spec.overrides, **dict(parse_override(text) for text in overrides)}
    for field, value in fields.items():
        set_field(base, field, value)
    if "seed" in fields:
        problem = Problem("seed", fields["seed"], f"allowed: any other field; {SEEDS}")
        raise ConfigError(str(path), [problem])
    clash = sorted(set(fields) & set(spec.axes))
    if clash:
        problem = Problem(clash[0], fields[clash[0]], "allowed: a field that is not also an axis")
        raise ConfigError(str(path), [problem])
    validate(TrialConfig, base, str(path.parent / spec.experiment))
    return Sweep(spec, base, str(path))


def restore_sweep(declaration: dict[str, Any]) -> Sweep:
    """Return the sweep that the store's ``sweep.json`` declares."""
    spec = validate(SweepSpec, rename_stored_figure(declaration["spec"]), "sweep.json")
    return Sweep(spec, declaration["base"], declaration["file"], declaration.get("paper"))
