"""From YAML files and command-line overrides to checked configuration."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from care.config import TrialConfig
from care.errors import ConfigError, Problem, nearest

ModelT = TypeVar("ModelT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML with unique keys and 1e-3 as a number, where YAML 1.1 reads a string."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # refused below, as it cannot be hashed
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                problem = Problem(
                    str(key.value), f"twice (line {line})", "allowed: each key and axis once"
                )
                raise ConfigError(str(self.name), [problem])
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: The file is missing, a folder, empty, not YAML, not a mapping, or has a key
            twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(str(path), [_missing(path)]) from error
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("file", str(path), f"allowed: a readable YAML file ({error})")
        raise ConfigError(str(path), [problem]) from error
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        given = "an empty file" if tree is None else type(tree).__name__
        raise ConfigError(str(path), [Problem("file", given, "allowed: a mapping of fields")])
    return tree


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text.

    Raises:
        ConfigError: Not YAML; says where.
    """
    try:
        loader = _Loader(text)
        loader.name = source
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError) as error:  # the latter from a date such as 2024-13-45
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "file"
        what = getattr(error, "problem", None) or str(error)
        raise ConfigError(source, [Problem(where, what, "allowed: valid YAML")]) from error


def _missing(path: Path) -> Problem:
    siblings = [entry.name for entry in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    allowed = f"allowed: an existing file ({', '.join(sorted(siblings)) or 'none here'})"
    return Problem("file", str(path), allowed, nearest(path.name, siblings))


def validate(model: type[ModelT], tree: dict[str, Any], source: str) -> ModelT:
    """``tree`` as a ``model``.

    Raises:
        ConfigError: Lists every field that is wrong: its value, what is allowed, the nearest name.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        problems = [_problem(model, details) for details in error.errors()]
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
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        problem = Problem("override", text, "allowed: field.path=value")
        raise ConfigError("command line", [problem])
    return field.strip(), parse_yaml(value, f"command line, {field.strip()}")


def set_field(tree: dict[str, Any], field: str, value: Any) -> None:
    """Set a dotted ``field`` in a tree of mappings; :func:`validate` judges whether it exists."""
    *parents, last = field.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            problem = Problem(field, value, f"allowed: a field of the model; {parent!r} is a value")
            raise ConfigError("configuration", [problem])
        tree = child
    tree[last] = value


def _problem(model: type[BaseModel], details: ErrorDetails) -> Problem:
    field = ".".join(str(part) for part in details["loc"])
    value = details.get("input")
    context = details.get("ctx", {})
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_field(model, details["loc"], value)
    if kind == "missing":
        return Problem(field, None, "has no default and must be given")
    if kind == "model_type":
        names = _fields(model, details["loc"])
        return Problem(field, value, f"allowed: a mapping with {', '.join(names)}")
    if "." in kind:  # raised by a check across fields, which names the field that is wrong
        return Problem(kind, context.get("value", "?"), details["msg"])
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", str(context["expected"]))
        return Problem(field, value, f"allowed: {', '.join(names)}", nearest(str(value), names))
    if kind in ("range", "odd", "name"):
        return Problem(field, value, details["msg"])
    message = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return Problem(field, value, f"allowed: {message}")


def _unknown_field(model: type[BaseModel], loc: Iterable[int | str], value: Any) -> Problem:
    *parents, name = [str(part) for part in loc]
    names = _fields(model, parents)
    where = f"{'.'.join(parents)} has" if parents else "there are"
    allowed = f"no such field; {where} {', '.join(names)}"
    close = nearest(name, names)
    return Problem(".".join([*parents, name]), value, allowed, close)


def _fields(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    """Names of the fields of the model at ``loc``."""
    owner: type[BaseModel] | None = model
    for part in loc:
        owner = owner and _submodel(owner, str(part))
    return sorted(owner.model_fields) if owner else []


def _submodel(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    return _model_in(field.annotation) if field else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            found = _model_in(part)
            if found:
                return found
    return None
