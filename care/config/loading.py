"""From YAML files and command-line overrides to checked configuration."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from care.config import TrialConfig
from care.config.yaml_reader import DEEPEST, parse_yaml, read_yaml
from care.errors import ConfigError, Problem, nearest, unknown_name

ModelT = TypeVar("ModelT", bound=BaseModel)
_MOST_PROBLEMS = 50


def validate(model: type[ModelT], tree: dict[str, Any], source: str) -> ModelT:
    """``tree`` as a ``model``.

    Raises:
        ConfigError: Lists every field that is wrong: its value, what is allowed, the nearest name.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        shown = error.errors(include_url=False)[:_MOST_PROBLEMS]
        problems = [_problem(model, details) for details in shown]
        raise ConfigError(source, problems) from error


def load_trial(path: Path, overrides: Sequence[str] = ()) -> TrialConfig:
    """The experiment in a YAML file with ``field.path=value`` overrides.

    Raises:
        ConfigError: See :func:`read_yaml`, :func:`validate`.
    """
    tree = read_yaml(path)
    for override in overrides:
        field, value = parse_override(override)
        set_field(tree, field, value)
    return validate(TrialConfig, tree, str(path))


def parse_override(text: str) -> tuple[str, Any]:
    """``objective.equivariance.weight=0.1`` as field and value, the value read as YAML.

    Raises:
        ConfigError: No equals sign, or a value that is not YAML.
    """
    field, equals, value = _as_utf8(text).partition("=")
    if not equals or not field.strip():
        one = "; one file at a time" if text.endswith((".yaml", ".yml")) else ""
        problem = Problem("override", text, f"allowed: field.path=value{one}")
        raise ConfigError("command line", [problem])
    return field.strip(), parse_yaml(value, f"command line, {field.strip()}")


def _as_utf8(text: str) -> str:
    """Decode an argument of the command line as UTF-8, whatever the locale says.

    Raises:
        ConfigError: It is not UTF-8.
    """
    try:
        return os.fsencode(text).decode()
    except UnicodeError as error:
        problem = Problem("override", text, "allowed: text in UTF-8")
        raise ConfigError("command line", [problem]) from error


def set_field(tree: dict[str, Any], field: str, value: Any) -> None:
    """Set a dotted ``field`` in a tree of mappings; :func:`validate` judges whether it exists."""
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


def _problem(model: type[BaseModel], details: ErrorDetails) -> Problem:
    loc = _without_tags(model, details["loc"])
    field = ".".join(loc)
    value = details.get("input")
    context = details.get("ctx", {})
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_field(model, details["loc"], value)
    if kind == "missing":
        return Problem(field, None, "has no default and must be given")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_choice(model, loc, value)
    if kind == "model_type":
        names = _fields(model, details["loc"])
        return Problem(field, value, f"allowed: a mapping with {', '.join(names)}")
    if "." in kind:  # raised by a check across fields, which names the field that is wrong
        return Problem(kind, context.get("value", "?"), details["msg"])
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", str(context["expected"]))
        allowed = ", ".join(names) or str(context["expected"])
        return Problem(field, value, f"allowed: {allowed}", nearest(str(value), names))
    if kind in ("range", "odd", "name"):
        return Problem(field, value, details["msg"])
    message = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return Problem(field, value, f"allowed: {message}")


def _unknown_field(model: type[BaseModel], loc: Sequence[int | str], value: Any) -> Problem:
    *parents, name = _without_tags(model, loc)
    names = _fields(model, loc[:-1])
    where = f"{'.'.join(parents)} has" if parents else "there are"
    allowed = f"no such field; {where} {', '.join(names)}"
    close = nearest(name, names)
    return Problem(".".join([*parents, name]), value, allowed, close)


def _unknown_choice(model: type[BaseModel], loc: Sequence[str], value: Any) -> Problem:
    """A mapping whose ``name`` is none of the models that the field may be."""
    names = sorted(_choices(_annotation(model, loc)))
    if not isinstance(value, dict):
        allowed = f"allowed: a mapping whose name is one of {', '.join(names)}"
        return Problem(".".join(loc), value, allowed)
    return unknown_name(".".join([*loc, "name"]), value.get("name"), names)


def _fields(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    """Names of the fields of the model at ``loc``, in which a choice is followed by its name."""
    owner = _annotation(model, loc)
    return sorted(owner.model_fields) if _is_model(owner) else []


def _without_tags(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    """``loc`` without the names of choices, which a user does not write as fields."""
    owner: Any = model
    fields = []
    for part in map(str, loc):
        chosen = part in _choices(owner)
        owner = _choices(owner)[part] if chosen else _field_annotation(owner, part)
        if not chosen:
            fields.append(part)
    return fields


def _annotation(model: type[BaseModel], loc: Iterable[int | str]) -> Any:
    """The type at ``loc``, None where there is no such field."""
    owner: Any = model
    for part in map(str, loc):
        choices = _choices(owner)
        owner = choices[part] if part in choices else _field_annotation(owner, part)
    return owner


def _field_annotation(owner: Any, name: str) -> Any:
    """The type of a model's field: a model, a choice between models, or anything else.

    Of a mapping with names of the user's own it is that of the values.
    """
    if typing.get_origin(owner) is dict:
        return typing.get_args(owner)[1]
    field = owner.model_fields.get(name) if _is_model(owner) else None
    if field is None:
        return None
    if typing.get_origin(field.annotation) is dict:
        return field.annotation
    options = typing.get_args(field.annotation)
    models = [option for option in (field.annotation, *options) if _is_model(option)]
    return models[0] if models else field.annotation


def _choices(annotation: Any) -> dict[str, type[BaseModel]]:
    """The models of a tagged union by name."""
    found = {}
    for option in typing.get_args(annotation):
        extras = getattr(option, "__metadata__", ())
        tags = [extra.tag for extra in extras if isinstance(extra, Tag)]
        if tags:
            found[tags[0]] = typing.get_args(option)[0]
    return found


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
