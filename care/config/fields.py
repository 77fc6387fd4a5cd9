"""The fields of a trial's configuration by their dotted names: their types and values."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NoReturn

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from care.config import TrialConfig
from care.config.choice import Choice
from care.errors import ConfigError, Problem, nearest

Kind = Literal["integer", "number", "boolean", "text"]
_KINDS: dict[Any, Kind] = {int: "integer", float: "number", bool: "boolean", str: "text"}
_UNIONS = (typing.Union, types.UnionType)


def kind_of(field: str) -> Kind | None:
    """Return the kind of the values of a field, ``null`` aside.

    Returns:
        None for lists and mappings, for fields that hold values of several kinds, and for names
        that are no field.
    """
    kinds = {_kind(annotation) for annotation in _annotations(field)}
    return kinds.pop() if len(kinds) == 1 else None


def is_field(field: str) -> bool:
    """Check that some configuration has a field."""
    return bool(_annotations(field))


def canonical_values(field: str, values: Iterable[Any]) -> list[Any]:
    """Convert numbers to the type that their field has: ``1`` is 1.0 where numbers are real.

    So equal settings have one form, however they are written. Lists and mappings are converted
    inside. A value that does not fit the field is returned unchanged, for validation to refuse.
    """
    annotations = _annotations(field)
    return [_canonical(field, annotations, value) for value in values]


def _canonical(field: str, annotations: Sequence[Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: canonical_values(f"{field}.{name}", [inner])[0] for name, inner in value.items()
        }
    if not isinstance(value, (int, float, list, tuple)) or not annotations:
        return value
    converted = [_convert(annotation, value) for annotation in annotations]
    return converted[0] if all(repr(one) == repr(converted[0]) for one in converted) else value


def read_field(tree: dict[str, Any], field: str) -> Any:
    """Read the value that a field has in a tree; its default where the tree has none.

    Args:
        tree: A configuration of a trial as nested mappings, which need not be complete.
        field: The dotted name.

    Raises:
        ConfigError: There is no such field; names the nearest one.
    """
    value: Any = tree
    owner: Any = TrialConfig
    parts = field.split(".")
    for index, part in enumerate(parts):
        models = list(_models(owner, value))
        infos = [model.model_fields[part] for model in models if part in model.model_fields]
        if not infos:
            _refuse_unknown(parts, index, models)
        owner = infos[0]
        value = value[part] if isinstance(value, dict) and part in value else _default(owner)
    return value


def _refuse_unknown(parts: list[str], index: int, models: list[type[BaseModel]]) -> NoReturn:
    names = sorted({name for model in models for name in model.model_fields})
    where = f"{'.'.join(parts[:index])} has" if index else "there are"
    allowed = f"no such field; {where} {', '.join(names) or 'no fields'}"
    close = nearest(parts[index], names)
    full = ".".join([*parts[:index], close, *parts[index + 1 :]]) if close else None
    field = ".".join(parts)
    raise ConfigError("configuration", [Problem(field, field, allowed, full)])


def _default(info: FieldInfo) -> Any:
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return None
    return value.model_dump() if isinstance(value, BaseModel) else value


def _models(owner: Any, value: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field may hold; one if its value chooses between them."""
    if isinstance(owner, FieldInfo):
        for choice in owner.metadata:
            if isinstance(choice, Choice):
                model = choice.model_of(value)
                yield from [model] if model else []
                return
        owner = owner.annotation
    for part in _members(owner):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def _annotations(field: str) -> tuple[Any, ...]:
    """List the types that a field has, over all models that may hold it."""
    owners: list[Any] = [TrialConfig]
    for part in field.split("."):
        owners = [child for owner in owners for child in _children(owner, part)]
    return tuple(dict.fromkeys(owners))


def _children(owner: Any, name: str) -> Iterator[Any]:
    for member in _members(owner):
        if not (isinstance(member, type) and issubclass(member, BaseModel)):
            continue
        info = member.model_fields.get(name)
        if info is None:
            continue
        choices = [extra for extra in info.metadata if isinstance(extra, Choice)]
        if choices:
            yield from _all_models(choices[0])
        else:
            yield info.annotation


def _all_models(choice: Choice) -> Iterator[type[BaseModel]]:
    for name in choice.names:
        try:
            yield choice.model(name)
        except ConfigError:  # of a plugin, which is refused where it is used
            continue


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, without the extras of ``Annotated``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in _UNIONS:
        for member in typing.get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _kind(annotation: Any) -> Kind | None:
    kinds: set[Kind | None] = set()
    for member in _members(annotation):
        if typing.get_origin(member) is Literal:
            kinds |= {_KINDS.get(type(value)) for value in typing.get_args(member)}
        elif member is not type(None):
            kinds.add(_KINDS.get(member))
    return kinds.pop() if len(kinds) == 1 else None


def _convert(annotation: Any, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return _convert_items(annotation, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    kind = _kind(annotation)
    if kind == "number":
        number = float(value) if abs(value) < 2**1023 else value
        return 0.0 if number == 0 else number
    if kind == "integer" and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def _convert_items(annotation: Any, values: Any) -> list[Any]:
    for member in _members(annotation):
        inner = [part for part in typing.get_args(member) if part is not Ellipsis]
        if typing.get_origin(member) not in (tuple, list) or not inner:
            continue
        if len(inner) == 1:
            return [_convert(inner[0], value) for value in values]
        if len(inner) == len(values):
            return [_convert(part, value) for part, value in zip(inner, values, strict=True)]
    return list(values)
