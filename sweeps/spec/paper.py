"""The table or figure of the paper that a sweep reproduces, and the sweep's profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from care.config import Model
from care.config.bundled import beside
from care.config.yaml_reader import read_yaml
from care.errors import ConfigError, unknown_name

Figure = Literal[
    "table",
    "trajectories",
    "axis",
    "wahba",
    "circle",
    "lambda",
    "training",
    "flowers",
    "losses",
    "positives",
]

_RENAMED = {
    "bars": ("losses", "axis"),
    "cosine_histogram": ("circle",),
    "sweep": ("lambda",),
    "curves": ("training",),
    "retrieval": ("flowers",),
    "cosine_curves": ("positives",),
}
"""Figures by their names in sweeps that were stored before each had one name."""


def _refuse_renamed(value: Any) -> Any:
    if isinstance(value, str) and value in _RENAMED:
        names = " or ".join(map(repr, _RENAMED[value]))
        raise PydanticCustomError("name", f"this figure was renamed; write {names}")
    return value


def rename_stored_figure(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a stored declaration whose figure has its present name.

    Args:
        spec: A :class:`sweeps.spec.schema.SweepSpec` as JSON, of this version or an earlier one.
    """
    reproduces = spec.get("reproduces")
    if not isinstance(reproduces, dict) or reproduces.get("figure") not in _RENAMED:
        return spec
    names = _RENAMED[reproduces["figure"]]
    name = "axis" if "axis" in names and reproduces.get("metric") == "head/axis_error" else names[0]
    return {**spec, "reproduces": {**reproduces, "figure": name}}


def as_tuple(value: Any) -> Any:
    """Convert a list, as YAML has it, to a tuple."""
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


class ReferenceConfig(Model):
    """A number that the paper gives.

    Attributes:
        value: The number as printed.
        spread: The number printed after ±; None if there is none.
    """

    value: float
    spread: float | None = None


class ReproducesConfig(Model):
    """The table or figure of the paper that a sweep reproduces.

    Attributes:
        what: Its name, e.g. ``Table 1, CIFAR-10``.
        figure: The figure's word in ``analysis/figN_<word>.py``, or ``table``.
        metric: The measure of the paper's numbers; None if the paper prints none.
        unit: ``%`` if the paper's numbers are in percent.
        values: The paper's numbers, by variant.
        assumed: Fields whose values neither the paper nor the authors' code gives.
        missing: The parts that are not reproduced, with reasons.
    """

    what: str
    figure: Annotated[Figure, BeforeValidator(_refuse_renamed)]
    metric: str | None = None
    unit: Literal["", "%"] = ""
    values: dict[str, ReferenceConfig] = Field(default_factory=dict)
    assumed: Names = ()
    missing: str = ""


class ProfileConfig(Model):
    """Another size of a sweep.

    Attributes:
        include: A YAML file of dotted fields that several sweeps share, relative to the sweep's
            file; they take precedence over the sweep's overrides.
        overrides: Dotted fields set in every trial; they take precedence over ``include``.
        variants: Variants that replace the sweep's variants of equal name.
        axes: Axes that replace the sweep's axes of equal name.
        seeds: Seeds that replace the sweep's seeds.
    """

    include: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    axes: dict[str, Any] = Field(default_factory=dict)
    seeds: int | list[int] | dict[str, Any] | None = None


def apply_profile(tree: dict[str, Any], profile: str | None, file: Path) -> dict[str, Any]:
    """Apply a profile to a sweep's declaration and drop the profiles.

    Args:
        tree: The declaration as in its file.
        profile: Name of a profile; None or ``paper`` for the sweep without one.
        file: The declaration's file.

    Raises:
        ConfigError: No profile has this name, or its included file cannot be read.
    """
    profiles = tree.get("profiles")
    if not isinstance(profiles, dict):
        profiles = {}
    plain = {name: value for name, value in tree.items() if name != "profiles"}
    if profile in (None, "paper"):
        return plain
    if profile not in profiles:
        raise ConfigError(str(file), [unknown_name("profile", profile, ["paper", *profiles])])
    chosen = profiles[profile] or {}
    shared = read_yaml(beside(file, chosen["include"])) if chosen.get("include") else {}
    return {
        **plain,
        "name": f"{plain.get('name')}-{profile}",
        "overrides": {**plain.get("overrides", {}), **shared, **chosen.get("overrides", {})},
        "variants": {**plain.get("variants", {}), **chosen.get("variants", {})},
        "axes": {**plain.get("axes", {}), **chosen.get("axes", {})},
        "seeds": plain.get("seeds", (0,)) if chosen.get("seeds") is None else chosen["seeds"],
    }
