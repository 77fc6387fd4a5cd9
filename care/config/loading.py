"""Load and validate configurations from YAML files and command-line overrides."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from care.config import TrialConfig
from care.config.choice import Choice
from care.config.yaml_reader import DEEPEST, parse_yaml, read_yaml
from care.errors import ConfigError, Problem, nearest, unknown_name

ModelT = TypeVar("ModelT", bound=BaseModel)
_MOST_PROBLEMS = 50


def validate(model: type[ModelT], tree: dict[str, Any], source: str) -> ModelT:
    """Validate a tree of plain values as a model.

    Raises:
        ConfigError: Lists each wrong field with its value, the allowed values and the nearest name.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        shown = error.errors(include_url=False)[:_MOST_PROBLEMS]
        problems = [_problem(model, tree, details) for details in shown]
        raise ConfigError(source, problems) from error


def load_trial(path: Path, overrides: Sequence[str] = ()) -> TrialConfig:
    """Load a trial's configuration from a YAML file, with ``field.path=value`` overrides.

    Raises:
        ConfigError: See :func:`read_yaml`, :func:`parse_override` and :func:`validate`.
    """
    tree = read_yaml(path)
    for override in overrides:
        field, value = parse_override(override)
        set_field(tree, field, value)
    return validate(TrialConfig, tree, str(path))


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``objective.equivariance.weight=0.1`` into field and value, parsed as YAML.

    Raises:
        ConfigError: The equals sign is missing, or the value is not valid YAML.
    """
    field, equals, value = _as_utf8(text).partition("=")
    if not equals or not field.strip():
        one = "; one file at a time" if text.endswith((".yaml", ".yml")) else ""
        problem = Problem("override", text, f"allowed: field.path=value{one}")
        raise ConfigError("command line", [problem])
    return field.strip(), parse_yaml(value, f"command line, {field.strip()}")


def _as_utf8(text: str) -> str:
    """Decode a command-line argument as UTF-8 in any locale.

    Raises:
        ConfigError: The argument is not UTF-8.
    """
    try:
        return os.fsencode(text).decode()
    except UnicodeError as error:
        problem = Problem("override", text, "allowed: text in UTF-8")
        raise ConfigError("command line", [problem]) from error


def set_field(tree: dict[str, Any], field: str, value: Any) -> None:
    """Set a dotted field in a tree of mappings; only :func:`validate` checks that it exists."""
    *parents, last = field.split(".")
    if len(parents) >= DEEPEST:
        problem = Problem(field, value, f"allowed: a field of at most {DEEPEST} parts")
        raise ConfigError("configuration", [problem])
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            problem = Problem(field, value, f"allowed: a field of the model; {parent!r} is a value")
            raise ConfigError("configuration", [problem])
        tree = child
    tree[last] = value


def _problem(model: type[BaseModel], tree: Any, details: ErrorDetails) -> Problem:
    loc = list(map(str, details["loc"]))
    field = ".".join(loc)
    value = details.get("input")
    context = details.get("ctx", {})
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_field(model, tree, loc, value)
    if kind == "missing":
        return Problem(field, None, "has no default and must be given")
    if kind == "choice":
        return _unknown_choice(field, value, context["names"])
    if kind == "model_type":
        names = _fields(model, tree, loc)
        return Problem(field, value, f"allowed: a mapping with {', '.join(names)}")
    if "." in kind:  # from care.config.base.refuse, which names the wrong field
        return Problem(kind, context.get("value", "?"), details["msg"])
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", str(context["expected"]))
        allowed = ", ".join(names) or str(context["expected"])
        return Problem(field, value, f"allowed: {allowed}", nearest(str(value), names))
    if kind in ("range", "odd", "name"):
        return Problem(field, value, details["msg"])
    message = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return Problem(field, value, f"allowed: {message}")


def _unknown_field(model: type[BaseModel], tree: Any, loc: list[str], value: Any) -> Problem:
    *parents, name = loc
    names = _fields(model, tree, parents)
    where = f"{'.'.join(parents)} has" if parents else "there are"
    allowed = f"no such field; {where} {', '.join(names)}"
    return Problem(".".join(loc), value, allowed, nearest(name, names))


def _unknown_choice(field: str, value: Any, names: list[str]) -> Problem:
    """Describe a value that names none of the models that its field may hold."""
    if not isinstance(value, dict):
        allowed = f"allowed: a mapping whose name is one of {', '.join(names)}"
        return Problem(field, value, allowed)
    return unknown_name(f"{field}.name", value.get("name"), names)


def _fields(model: type[BaseModel], tree: Any, loc: Iterable[str]) -> list[str]:
    """Name the fields of the model at ``loc``; none where there is no model.

    Args:
        model: Of the whole tree.
        tree: Holds the names that choose between models.
        loc: Parts of a dotted field.
    """
    owner: Any = model
    for part in loc:
        tree = tree.get(part) if isinstance(tree, dict) else None
        owner = _field_type(owner, part)
        if isinstance(owner, Choice):
            owner = owner.model_of(tree)
    return sorted(owner.model_fields) if _is_model(owner) else []


def _field_type(owner: Any, name: str) -> Any:
    """Return the type of a model's field: a model, a choice between models, or anything else.

    Of a mapping with names of the user's own it is that of the values.
    """
    if typing.get_origin(owner) is dict:
        return typing.get_args(owner)[1]
    field = owner.model_fields.get(name) if _is_model(owner) else None
    if field is None:
        return None
    if typing.get_origin(field.annotation) is dict:
        return field.annotation
    choices = [extra for extra in field.metadata if isinstance(extra, Choice)]
    options = typing.get_args(field.annotation)
    models = [option for option in (field.annotation, *options) if _is_model(option)]
    return (choices or models or [field.annotation])[0]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
