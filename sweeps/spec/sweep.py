"""A sweep: its declaration with the base configuration resolved, and the trials of each point."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from analysis.labels import CODE, UNUSED, VARIANT, value_label
from care.config import TrialConfig
from care.config.bundled import beside
from care.config.fields import read_field
from care.config.loading import parse_override, set_field, validate
from care.config.yaml_reader import parse_mapping, read_yaml
from care.errors import ConfigError, Problem
from care.trials.pinned import pin
from care.trials.records import SweepRecord
from sweeps.revisions.resolve import resolve_revisions
from sweeps.spec.axes import SEEDS_ADVICE
from sweeps.spec.designs import draw_points
from sweeps.spec.expansion import Space
from sweeps.spec.expressions import Expression, ExpressionError, convert, parse_all
from sweeps.spec.limits import LIMITS
from sweeps.spec.metric import check_metric
from sweeps.spec.order import parse_first, rank
from sweeps.spec.paper import apply_profile, rename_stored_figure
from sweeps.spec.parts import Parts, copy_tree
from sweeps.spec.points import add_points, read_points
from sweeps.spec.schema import MOST_TRIALS, SweepSpec
from sweeps.spec.search import DesignName
from sweeps.spec.selection import Selection, refuse_selection, select
from sweeps.spec.space import comparable

MadeT = TypeVar("MadeT")


class Sweep:
    """A declared sweep with its base configuration resolved.

    Attributes:
        spec: The declaration.
        base: The experiment as a tree, with the sweep's overrides.
        source: The declaration's file.
        paper: ``base`` without the profile and the overrides of the command line.
        selection: The chosen part of its trials; ``spec`` still declares all of them.
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
        """Choose a part of the sweep's trials, or all of them without arguments.

        Args:
            only: ``AXIS=VALUE[,VALUE]`` each.
            seeds: A number of seeds, or seeds with commas between.

        Raises:
            ConfigError: Raised by :func:`sweeps.spec.selection.select`.
        """
        chosen = Sweep(self.spec, self.base, self.source, self.paper)
        if only or seeds is not None:
            if self.spec.search.suggests:
                refuse_selection(self.spec.search.name, only, seeds)
            chosen.selection = select(self._levels(), self.spec.all_seeds, only, seeds)
        return chosen

    def whole(self) -> Sweep:
        """Choose all trials of the sweep."""
        return self.select((), None)

    @functools.cached_property
    def space(self) -> Space:
        """The space of its axes.

        Raises:
            ConfigError: Conditions depend on each other.
        """
        axes, zips = self.spec.parsed_axes(), self.spec.zip
        return self._named(lambda: Space(axes, zips, self._needs, self._read))

    @functools.cached_property
    def first(self) -> tuple[Selection, ...]:
        """The trials that start before the others, in this order.

        Raises:
            ConfigError: An entry names an unknown axis or value, or matches no point.
        """
        if not self.spec.first:
            return ()
        chosen = parse_first(self.spec.first, self._levels(), self.spec.all_seeds, self.source)
        left = {*range(len(chosen))}
        for point in self._all_points():
            left -= {index for index in left if chosen[index].takes(point)}
            if not left:
                return chosen
        allowed = "allowed: values that a point of the sweep has together"
        problems = [Problem("first", self.spec.first[index], allowed) for index in sorted(left)]
        raise ConfigError(self.source, problems)

    def start_order(self, point: Mapping[str, Any], seed: int) -> tuple[int, int]:
        """Return a trial's rank among those that start first, and the rank of its seed."""
        by_seed = self.spec.all_seeds.index(seed) if self.spec.order == "seeds" else 0
        return rank(self.first, point, seed), by_seed

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the chosen points of a grid or a design: dotted axis to value.

        Raises:
            ConfigError: The space has fewer points than the design.
        """
        return (point for point in self._all_points() if self.selection.takes(point))

    def _all_points(self) -> Iterator[dict[str, Any]]:
        search = self.spec.search
        if search.design:
            return iter(self._design(search.design))
        return self.space.grid()

    def _design(self, name: DesignName) -> list[dict[str, Any]]:
        trials, seed = self.spec.search.trials, self.spec.search.seed
        paired = CODE if self.spec.code else None
        return self._named(lambda: list(draw_points(self.space, name, trials, seed, paired)))

    def _named(self, make: Callable[[], MadeT]) -> MadeT:
        """Call a function and name the sweep's file in its error."""
        try:
            return make()
        except ConfigError as error:
            raise ConfigError(self.source, error.problems) from error

    def _levels(self) -> dict[str, tuple[Any, ...]]:
        """List the levels of each axis over all points."""
        if not self.spec.search.design:
            return self.space.levels()
        points = list(self._all_points())
        columns = {axis: [point[axis] for point in points] for axis in self.space.axes}
        return {
            axis: tuple({comparable(value): value for value in column}.values())
            for axis, column in columns.items()
        }

    def _needs(self, field: str) -> set[str]:
        """Return the axes that a field's value depends on."""
        if field in self._expressions:
            return {axis for name in self._expressions[field].names for axis in self._needs(name)}
        return {axis for axis in self.spec.axes if self._sets(axis, field)}

    def _sets(self, axis: str, field: str) -> bool:
        """Check whether an axis changes the value of a field, or which fields there are."""
        if axis == VARIANT and field != VARIANT:
            names = {name for fields in self.spec.variants.values() for name in fields}
            return any(_concerns(name, field) for name in names)
        return _concerns(axis, field)

    def _read(self, point: dict[str, Any], field: str) -> Any:
        """Read a field at a point, of which not all axes need be decided."""
        if field in point:
            value = point[field]
            if value != UNUSED or field not in self.space.conditional:
                return value
        return self._read_in(self._tree(point), field)

    def _read_in(self, tree: dict[str, Any], field: str) -> Any:
        """Read a field of a tree, or compute it."""
        if field in self._expressions:
            return self._compute(tree, field)
        return read_field(tree, field)

    def _operand(self, tree: dict[str, Any], field: str) -> Any:
        if field in self._expressions:
            return self._compute(tree, field)
        try:
            return read_field(tree, field)
        except ConfigError as error:
            problem = error.problems[0]
            raise ExpressionError(f"fields that this point has; {problem.allowed}") from error

    def _compute(self, tree: dict[str, Any], field: str) -> float:
        """Compute a field that has an expression.

        Raises:
            ConfigError: It has no value at this point, or one that the field cannot hold.
        """
        expression = self._expressions[field]
        try:
            value = expression.value(functools.partial(self._operand, tree))
            return convert(field, value)
        except ExpressionError as error:
            allowed = f"allowed: {error}{self._operands(tree, expression)}"
            problem = Problem(f"expressions.{field}", expression.text, allowed)
            raise ConfigError(self.source, [problem]) from error

    def _operands(self, tree: dict[str, Any], expression: Expression) -> str:
        """Describe the values of an expression's fields, for a message."""
        with contextlib.suppress(ConfigError, ExpressionError):
            values = {name: self._operand(tree, name) for name in expression.names}
            labels = (f"{name}={value_label(value)}" for name, value in values.items())
            return f" (at {', '.join(labels)})" if values else ""
        return ""

    @functools.cached_property
    def _expressions(self) -> dict[str, Expression]:
        """The expressions by field, each after those that it reads."""
        return parse_all(self.spec.expressions)

    def base_config(self) -> TrialConfig:
        """Make the configuration of the experiment, without axes."""
        return validate(TrialConfig, self.base, self.source)

    def stored_base(self) -> dict[str, Any]:
        """Return the base configuration for ``sweep.json``: every field, with its value today.

        Where points have other objectives, the objective is as declared: its other fields are
        defaults, which the other objectives lack or have with other values.
        """
        base = self.base_config().model_dump(mode="json")
        settings = {name for fields in self.spec.variants.values() for name in fields}
        if "objective.name" in settings | set(self.spec.axes):
            base["objective"] = copy_tree(self.base.get("objective", {}))
        return base

    def paper_config(self) -> TrialConfig:
        """Make the configuration of the experiment with the paper's settings, without axes."""
        return validate(TrialConfig, self.paper, self.source)

    def trials(self, point: dict[str, Any]) -> Iterator[TrialConfig]:
        """Yield the configuration of a point with each chosen seed.

        Raises:
            ConfigError: The point is not valid; names the field.
        """
        seeds = self.spec.all_seeds if self.selection.seeds is None else self.selection.seeds
        first = self.trial(point, seeds[0])
        yield first
        for seed in seeds[1:]:
            yield first.model_copy(update={"seed": seed})

    def trial(self, point: dict[str, Any], seed: int) -> TrialConfig:
        """Make the configuration of a point (dotted field to value) with a seed.

        Raises:
            ConfigError: The point is not valid; names the field.
        """
        settings = self._settings(point)
        if self._expressions:
            tree = self._parts.tree(settings)
            settings += [(field, self._compute(tree, field)) for field in self._expressions]
        if self.spec.resources.gpus > 1:
            settings.append(("runtime.processes", int(self.spec.resources.gpus)))
        config = self._parts.config(settings, seed)
        check_metric(self.spec, config, self.source)
        if self.spec.code:
            return pin(config, self.spec.code[point[CODE]].code_version)
        return config

    @functools.cached_property
    def _parts(self) -> Parts:
        return Parts(self.base, self.source)

    def _tree(self, point: dict[str, Any]) -> dict[str, Any]:
        """Make the tree of a point, without its expressions."""
        return self._parts.tree(self._settings(point))

    def _settings(self, point: dict[str, Any]) -> list[tuple[str, Any]]:
        """List the fields that a point sets; an axis that does not exist there sets nothing."""
        settings: list[tuple[str, Any]] = []
        for field, value in point.items():
            if value == UNUSED and field in self.space.conditional:
                continue
            if field == CODE:
                continue  # the code that trains the point, not a field
            if field == VARIANT:
                settings += self.spec.variants[value].items()
            else:
                settings.append((field, value))
        return settings


def _concerns(name: str, field: str) -> bool:
    """Check whether setting ``name`` changes ``field``, or which fields there are beside it."""
    model = name.removesuffix(".name")
    return (
        name == field or field.startswith((f"{name}.", f"{model}.")) or name.startswith(f"{field}.")
    )


def load_sweep(
    path: Path,
    overrides: tuple[str, ...] = (),
    profile: str | None = None,
    text: str | None = None,
) -> Sweep:
    """Load the sweep of a YAML file.

    Args:
        path: The file.
        overrides: ``field=value`` to set in its base configuration, or a limit of the sweep:
            ``budget.core_hours=60``.
        profile: One of its profiles; None for the sweep without one.
        text: What the file would hold; its own text when None.

    Raises:
        ConfigError: The file, its experiment or a field is wrong; nothing was started.
    """
    tree = read_yaml(path) if text is None else parse_mapping(text, str(path))
    validate(SweepSpec, tree, str(path))
    chosen = apply_profile(tree, profile, path)
    for limit in filter(_is_limit, overrides):
        set_field(chosen, *parse_override(limit))
    overrides = tuple(override for override in overrides if not _is_limit(override))
    spec = validate(SweepSpec, chosen, str(path))
    if spec.points:
        base = _read_base(spec, path, overrides)[0]
        chosen = add_points(chosen, read_points(spec.points, path, base), str(path))
        spec = validate(SweepSpec, chosen, str(path))
    if spec.code:
        spec = spec.model_copy(update={"code": resolve_revisions(spec.code, str(path))})
    sweep = resolve_sweep(spec, path, overrides)
    if spec.reproduces:
        plain = validate(SweepSpec, apply_profile(tree, None, path), str(path))
        sweep.paper = resolve_sweep(plain, path).base
    return sweep


def _is_limit(override: str) -> bool:
    """Check whether an override sets a limit of the sweep, not its base configuration."""
    return override.partition("=")[0].strip().partition(".")[0] in LIMITS


def _read_base(
    spec: SweepSpec, path: Path, overrides: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the base configuration with its overrides, and the overrides alone."""
    base = read_yaml(beside(path, spec.experiment))
    fields = {**spec.overrides, **dict(parse_override(text) for text in overrides)}
    for field, value in fields.items():
        set_field(base, field, value)
    return base, fields


def resolve_sweep(spec: SweepSpec, path: Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Read the experiment of a sweep, set the overrides, and check both.

    Args:
        spec: The sweep's declaration.
        path: Its file.
        overrides: ``field=value`` to set besides the declaration's own.

    Raises:
        ConfigError: The experiment or an override is wrong.
    """
    base, fields = _read_base(spec, path, overrides)
    if "seed" in fields:
        problem = Problem("seed", fields["seed"], f"allowed: any other field; {SEEDS_ADVICE}")
        raise ConfigError(str(path), [problem])
    clash = sorted(set(fields) & set(spec.axes))
    if clash:
        problem = Problem(clash[0], fields[clash[0]], "allowed: a field that is not also an axis")
        raise ConfigError(str(path), [problem])
    clash = sorted(set(fields) & set(spec.expressions))
    if clash:
        problem = Problem(clash[0], fields[clash[0]], "allowed: a field without an expression")
        raise ConfigError(str(path), [problem])
    validate(TrialConfig, base, str(beside(path, spec.experiment)))
    sweep = Sweep(spec, base, str(path))
    sweep.space.check(str(path))
    _check_size(sweep)
    _ = sweep.first  # so that a wrong entry is refused before anything starts
    return sweep


def _check_size(sweep: Sweep) -> None:
    """Refuse more trials than a driver can handle, where conditions decide their number."""
    spec, conditional = sweep.spec, sorted(sweep.space.conditional)
    if spec.search.name != "grid" or not conditional:
        return
    most = MOST_TRIALS // len(spec.all_seeds)
    if sweep.space.size(most) > most:
        field = f"axes.{conditional[0]}"
        allowed = f"allowed: at most {MOST_TRIALS} trials in all; these are more"
        raise ConfigError(sweep.source, [Problem(field, spec.axes[conditional[0]], allowed)])


def restore_sweep(declaration: SweepRecord) -> Sweep:
    """Restore a sweep from the store's ``sweep.json``."""
    spec = validate(SweepSpec, rename_stored_figure(declaration.spec), "sweep.json")
    return Sweep(spec, declaration.base, declaration.file, declaration.paper)
