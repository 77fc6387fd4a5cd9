"""The schema of a sweep's YAML file: experiment, axes, seeds, search, scheduler, resources."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from analysis.labels import CODE, VARIANT
from care.config import Model, PositiveInt
from care.config.base import check_unique, refuse
from care.config.evaluation import is_monitor
from care.data.shared_batches import SHARED
from care.errors import nearest
from care.trials.reference import LIBRARIES, MEASURED_PARTS
from sweeps.revisions.revision import Revision
from sweeps.spec.axes import Axis, canonical_axes, check_axes, check_variants, parse_axes
from sweeps.spec.code import check_code_axis, parse_code
from sweeps.spec.expressions import check_expressions
from sweeps.spec.limits import BudgetConfig
from sweeps.spec.notify import NotifyConfig
from sweeps.spec.order import Order
from sweeps.spec.paper import Names, ProfileConfig, ReproducesConfig
from sweeps.spec.points import PointsConfig
from sweeps.spec.search import (
    MetricConfig,
    SchedulerConfig,
    SearchConfig,
    check_metrics,
    check_scheduler,
    check_search,
)
from sweeps.spec.seeds import AdaptiveSeeds, parse_seeds
from sweeps.spec.space import Choice

MOST_TRIALS = 100_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def _count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and value > 0 and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("name", "allowed: auto or a number greater than 0")


def _as_groups(value: Any) -> Any:
    """Convert the lists of YAML to tuples; one list of axes is one group."""
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return (tuple(value),)
    return tuple(value) if isinstance(value, list) else value


def _check_gpus(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise PydanticCustomError("name", "allowed: a part of one GPU, or whole ones")
    return gpus


class ResourcesConfig(Model):
    """The resources of one trial.

    Attributes:
        threads: CPU threads; ``auto`` splits the cores equally between the trials that fit. One
            thread is the fastest for small networks; two trials side by side are never slower than
            one trial with two threads (docs/performance.md).
        gpus: A fraction of a GPU that it shares with other trials, or whole GPUs, on which it
            trains data-parallel.
        pack: Number of trials that one process trains side by side. They share seed, data set,
            augmentation and batch size, so each batch is loaded and augmented once. Their numbers
            equal those of trials that train alone, bit for bit. ``auto`` measures the first steps
            and the memory to choose the number, and leaves no core or GPU idle. It is 1 with a
            scheduler.
        retries: Number of consecutive restarts without progress, after a trial lost its process
            or node.
    """

    threads: Annotated[Literal["auto"] | PositiveInt, BeforeValidator(_count)] = "auto"
    gpus: Annotated[float, Field(ge=0), AfterValidator(_check_gpus)] = 0.0
    pack: Annotated[Literal["auto"] | PositiveInt, BeforeValidator(_count)] = "auto"
    retries: Annotated[int, Field(ge=0)] = 3


class CheckpointsConfig(Model):
    """The checkpoints of a trial once it is finished.

    Attributes:
        keep: ``all`` keeps the last two, with the optimizer. ``encoder`` replaces them by a weights
            file, which is enough for ``care evaluate``.
    """

    keep: Literal["encoder", "all"] = "all"


class TrackingConfig(Model):
    """The models of a sweep in MLflow.

    Attributes:
        models: The trials whose encoder MLflow keeps as a logged model: the ``best`` one by the
            sweep's metric, ``all`` finished ones, or ``none``.
    """

    models: Literal["best", "all", "none"] = "best"


class SweepSpec(Model):
    """A sweep as its YAML file declares it.

    Attributes:
        name: Name of the sweep in the store, in MLflow and of Optuna's study.
        description: One sentence for the report.
        experiment: YAML file of the base configuration, relative to the sweep's file.
        overrides: Dotted fields set in every trial.
        variants: Named sets of dotted fields, e.g. methods. They are the values of the axis
            ``variant``, the first axis; it has all of them by default.
        axes: Dotted field to its values, or to a range ``{low, high, step, log}``; a grid needs the
            step. ``{values: […], when: {field: value}}`` exists at some points only.
        zip: Groups of axes that take their values together, the first with the first.
        points: A CSV file of points; its columns are added to the axes when the file is read.
        code: Revisions of the code, each of which trains every point: commits, tags, branches, or
            ``working``. They are the values of the axis ``code``, the last one. A sweep's file
            lists their names.
        expressions: Dotted field to an expression of other fields that gives its value.
        seeds: Seeds that each point is trained with; a number n is short for 0 … n - 1.
            ``{least: 3, most: 10, until: decided}`` gives points more until they are decided.
        search: Choice of the points.
        order: Whether all seeds of a point start before the next point (``points``), or all points
            of a seed before the next seed (``seeds``).
        first: Trials that start before the others: axis, or ``seed``, to a value or a list of
            values, each. Earlier entries come first.
        scheduler: Early stopping.
        resources: Resources of each trial.
        metric: The metric that compares the trials.
        metrics: Several metrics instead, of which the Pareto front is searched and reported. Where
            one number is shown, it is the first.
        budget: Hours that all its runs may take together; its runs stop in good order after them.
        fail_fast: Whether a run stops in good order at its first failed trial.
        max_failures: Failed trials after which a run continues; one more stops it in good order.
        notify: Messages about its end, first failure or stall; None for those of ``CARE_NOTIFY``.
        checkpoints: The checkpoints that finished trials keep.
        tracking: The models that MLflow keeps.
        references: Encoders from outside to measure beside the trials, as for ``care evaluate
            --encoder``: ``torchvision:resnet50``, ``torchvision:resnet50:random@64``.
        profiles: Other sizes of the sweep; ``--profile`` chooses one.
        reproduces: The table or figure of the paper that it reproduces.
    """

    name: str
    description: str = ""
    experiment: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    axes: Annotated[dict[str, Any], AfterValidator(canonical_axes)]
    zip: Annotated[tuple[Names, ...], BeforeValidator(_as_groups)] = ()
    points: PointsConfig | None = None
    code: Annotated[dict[str, Revision], BeforeValidator(parse_code)] = Field(default_factory=dict)
    expressions: dict[str, str] = Field(default_factory=dict)
    seeds: Annotated[tuple[int, ...] | AdaptiveSeeds, WrapValidator(parse_seeds)] = (0,)
    search: SearchConfig = SearchConfig()
    order: Order = "points"
    first: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = ()
    scheduler: SchedulerConfig = SchedulerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    metric: MetricConfig = MetricConfig()
    metrics: Annotated[tuple[MetricConfig, ...], Field(strict=False)] = ()
    budget: BudgetConfig | None = None
    fail_fast: bool = False
    max_failures: Annotated[int, Field(ge=0)] | None = None
    notify: NotifyConfig | None = None
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    tracking: TrackingConfig = TrackingConfig()
    references: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(check_unique)] = ()
    profiles: dict[str, ProfileConfig] = Field(default_factory=dict)
    reproduces: ReproducesConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _variants_are_an_axis(cls, tree: Any) -> Any:
        """Put the axis ``variant`` first, with every name by default."""
        if isinstance(tree, dict) and isinstance(tree.get("points"), dict):
            tree = {"axes": {}, **tree}
        if not isinstance(tree, dict) or not isinstance(tree.get("variants"), dict):
            return tree
        axes = tree.get("axes", {})
        if not tree["variants"] or not isinstance(axes, dict):
            return tree
        chosen = {VARIANT: axes.get(VARIANT, list(tree["variants"]))}
        return {**tree, "axes": {**chosen, **axes}}

    @model_validator(mode="before")
    @classmethod
    def _revisions_are_an_axis(cls, tree: Any) -> Any:
        """Put the axis ``code`` last, with every revision."""
        if not isinstance(tree, dict) or "code" not in tree:
            return tree
        tree = {"axes": {}, **tree}
        if not isinstance(tree["code"], dict | list):
            return tree
        axes, names = tree["axes"], list(tree["code"])
        if not names or not isinstance(axes, dict):
            return tree
        if axes.get(CODE, names) != names:
            refuse(f"axes.{CODE}", axes[CODE], f"no such axis beside '{CODE}', which makes it")
        return {**tree, "axes": {**axes, CODE: names}}

    @model_validator(mode="before")
    @classmethod
    def _check_metric_or_metrics(cls, tree: Any) -> Any:
        """Refuse ``metric`` beside ``metrics``, except the first one: a stored sweep has both."""
        if isinstance(tree, dict) and tree.get("metrics") and "metric" in tree:
            metrics = tree["metrics"]
            if not isinstance(metrics, list | tuple) or tree["metric"] != metrics[0]:
                refuse("metric.name", tree["metric"], "without 'metrics', whose first it is then")
        return tree

    @field_validator("metrics")
    @classmethod
    def _metrics_are_several(cls, metrics: tuple[MetricConfig, ...]) -> tuple[MetricConfig, ...]:
        names = [metric.name for metric in metrics]
        if len(names) == 1:
            raise PydanticCustomError("name", "allowed: two metrics or more; one is 'metric'")
        if len(set(names)) < len(names):
            raise PydanticCustomError("name", "allowed: each metric once")
        return metrics

    @model_validator(mode="after")
    def _set_first_metric(self) -> Self:
        """Set ``metric`` to the first of ``metrics``."""
        if self.metrics:
            object.__setattr__(self, "metric", self.metrics[0])  # the model is frozen
        return self

    @field_validator("order", "first")
    @classmethod
    def _known_before(cls, value: Any, info: ValidationInfo) -> Any:
        search = info.data.get("search")
        if value not in ("points", ()) and search and search.suggests:
            allowed = "allowed: with a grid or a design; optuna suggests one point after another"
            raise PydanticCustomError("name", allowed)
        if info.field_name == "first" and not all(value):
            raise PydanticCustomError("name", "allowed: an axis or 'seed' in each entry")
        return value

    @field_validator("max_failures")
    @classmethod
    def _not_with_fail_fast(cls, most: int | None, info: ValidationInfo) -> int | None:
        if most is not None and info.data.get("fail_fast"):
            raise PydanticCustomError("name", "allowed: without 'fail_fast', which is 0 of them")
        return most

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise PydanticCustomError(
                "name", "allowed: lower-case letters, digits, '.', '_' and '-', at most 63"
            )
        return name

    @field_validator("references")
    @classmethod
    def _references_are_named(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            library, colon, _ = name.partition(":")
            if not name or (colon and library not in LIBRARIES):
                close = nearest(library, LIBRARIES)
                hint = f"; did you mean {close!r}?" if close else ""
                raise PydanticCustomError(
                    "name", f"allowed: torchvision:NAME, timm:NAME or an exported folder{hint}"
                )
        return names

    @model_validator(mode="after")
    def _check_across_fields(self) -> Self:
        if self.code:
            zips, gpus = self.zip, self.resources.gpus
            check_code_axis(self.search, zips, self.references, gpus)
        elif CODE in self.axes:
            refuse(f"axes.{CODE}", self.axes[CODE], f"'{CODE}: [HEAD~1, HEAD]' beside 'axes'")
        check_axes(self.axes, self.search.name, self.zip)
        check_variants(self.variants, self.axes)
        settings = {name for fields in self.variants.values() for name in fields}
        check_expressions(self.expressions, [*self.axes, *sorted(settings), *self.overrides])
        self._check_references()
        check_search(self.search, self.axes)
        if self.points and self.search.name != "grid":
            refuse("search.name", self.search.name, "grid, as 'points' lists the points")
        _check_seeds(self)
        _check_size(self)
        _check_pack(self)
        if self.budget and self.budget.gpu_hours and not self.resources.gpus:
            allowed = "with 'resources.gpus', which is 0; core_hours limits trials on cores"
            refuse("budget.gpu_hours", self.budget.gpu_hours, allowed)
        check_metrics(self.metrics, dict(self._one_metric_only()))
        check_scheduler(self.scheduler, self.metric, len(self.all_seeds))
        return self

    def _one_metric_only(self) -> Iterator[tuple[str, tuple[Any, str]]]:
        """Yield the parts of the sweep that compare trials by one metric, with reasons."""
        if self.scheduler.name != "none":
            stopped = "a point" if self.scheduler.by_seed else "a trial"
            reason = f"{stopped} is stopped by the order of one value"
            yield "scheduler.name", (self.scheduler.name, reason)
        if self.search.name == "optuna" and self.search.sampler == "cmaes":
            reason = "it ranks points by one value; nsga2, tpe and gp take several"
            yield "search.sampler", ("cmaes", reason)
        if self.adaptive:
            reason = "a point is decided by the difference of one value"
            yield "seeds.until", (self.adaptive.until, reason)

    @property
    def objectives(self) -> tuple[MetricConfig, ...]:
        """The metrics that compare the trials; one, unless ``metrics`` has several."""
        return self.metrics or (self.metric,)

    def measured_otherwise(self) -> list[str]:
        """List the axes whose points measure on other data or with other settings."""
        fields = {axis: [axis] for axis in self.axes if axis != VARIANT}
        if VARIANT in self.axes:
            fields[VARIANT] = [field for chosen in self.variants.values() for field in chosen]
        return [
            axis
            for axis, names in fields.items()
            if any(_measures_otherwise(name) for name in names)
        ]

    def _check_references(self) -> None:
        if self.references and (axes := self.measured_otherwise()):
            allowed = "allowed: an axis of the training, as references stand beside every point"
            value = self.axes[axes[0]]
            raise PydanticCustomError(
                f"axes.{axes[0]}", "{allowed}", {"allowed": allowed, "value": value}
            )
        for field, text in self.expressions.items():
            if self.references and _measures_otherwise(field):
                allowed = "a field of the training, as references stand beside every point"
                refuse(f"expressions.{field}", text, allowed)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Every seed that a point may be trained with."""
        seeds = self.seeds
        return tuple(range(seeds.most)) if isinstance(seeds, AdaptiveSeeds) else seeds

    @property
    def adaptive(self) -> AdaptiveSeeds | None:
        """The limits of adaptive seeds; None for a fixed list."""
        return self.seeds if isinstance(self.seeds, AdaptiveSeeds) else None

    @property
    def pack(self) -> int | Literal["auto"]:
        """Number of trials in a process, with ``auto`` resolved to 1 if packs are impossible."""
        pack = self.resources.pack
        one_by_one = self.search.suggests or self.resources.gpus > 1
        # A process has the code of one revision. A scheduler by epoch needs every epoch in order;
        # the epochs of a trial that joins late would come after later epochs of the others.
        if pack == "auto" and (self.code or one_by_one or self.scheduler.by_epoch):
            return 1
        return pack

    def parsed_axes(self) -> dict[str, Axis]:
        """Return the axes with their domains and conditions."""
        return parse_axes(self.axes)

    def most_points(self) -> int:
        """Return the number of points, or a bound where conditions leave out some."""
        if self.search.name != "grid":
            return self.search.trials * max(1, len(self.code))
        zipped = {name for group in self.zip for name in group[1:]}
        return math.prod(
            _count_values(axis) + bool(axis.when)
            for name, axis in self.parsed_axes().items()
            if name not in zipped
        )


def _measures_otherwise(field: str) -> bool:
    """Check whether a field changes how encoders are measured after their training."""
    return field.partition(".")[0] in MEASURED_PARTS and not is_monitor(field)


def _check_seeds(spec: SweepSpec) -> None:
    """Refuse adaptive seeds where another choice of trials depends on values, or none compare."""
    if not spec.adaptive:
        return
    reason = ""
    if spec.search.suggests:
        reason = "with a grid or a design; optuna compares the points itself"
    elif spec.scheduler.name != "none":
        reason = f"without a scheduler; {spec.scheduler.name} ends trials early"
    elif spec.most_points() < 2 and not spec.points:
        reason = "with two points or more, one of which is the baseline"
    if reason:
        refuse("seeds.until", spec.adaptive.until, f"{reason}; otherwise a number or list of seeds")


def _check_size(spec: SweepSpec) -> None:
    """Refuse more trials than a driver can handle (docs/scaling.md)."""
    points, axes = spec.most_points(), spec.parsed_axes()
    field: str = "search.trials"
    value: Any = spec.search.trials
    if spec.search.name == "grid":
        largest = max(axes, key=lambda axis: _count_values(axes[axis]), default="")
        field, value = f"axes.{largest}", spec.axes.get(largest)
    trials = points * len(spec.all_seeds)
    conditional = any(axis.when for axis in axes.values())  # counted with the base configuration
    if trials > MOST_TRIALS and not (spec.search.name == "grid" and conditional):
        allowed = f"allowed: at most {MOST_TRIALS} trials in all; these are {trials}"
        raise PydanticCustomError(field, "{allowed}", {"allowed": allowed, "value": value})


def _count_values(axis: Axis) -> int:
    domain = axis.domain
    return len(domain.values) if isinstance(domain, Choice) else domain.count or 1


def _check_pack(spec: SweepSpec) -> None:
    pack, reason = spec.resources.pack, None
    if spec.search.suggests:
        reason = "with optuna, which suggests a point once it knows the results before it"
    elif spec.code:
        reason = "with 'code', whose trials have a process each"
    elif spec.resources.gpus > 1:
        reason = "if a trial trains on several GPUs"
    elif spec.axes and all(_changes_batches(field) for field in spec.axes):
        reason = f"as trials that differ in {', '.join(spec.axes)} share no batches"
    if isinstance(pack, int) and pack > 1 and reason:
        raise PydanticCustomError(
            "resources.pack", "allowed: 1 {reason}", {"reason": reason, "value": pack}
        )


def _changes_batches(field: str) -> bool:
    return any(field == shared or field.startswith(f"{shared}.") for shared in SHARED)
