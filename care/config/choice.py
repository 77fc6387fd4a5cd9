"""A field that holds one of several models, chosen by ``name`` when a value is validated."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Choice:
    """Annotates a field with its models, which are imported only when a value names them.

    Attributes:
        base: Base of the models.
        names: Their names.
        model: Returns the model of a name.
        default: The name of a mapping without ``name``.
    """

    base: type[BaseModel]
    names: Collection[str]
    model: Callable[[str], type[BaseModel]]
    default: str

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def model_of(self, value: Any) -> type[BaseModel] | None:
        """Return the model that a value names; None for an unknown name, or for no mapping."""
        name = value.get("name", self.default) if isinstance(value, dict) else None
        return self.model(name) if isinstance(name, str) and name in self.names else None

    def _validate(self, value: Any) -> BaseModel:
        if isinstance(value, self.base):
            return value
        model = self.model_of(value)
        if model is None:
            names = sorted(self.names)
            raise PydanticCustomError("choice", "allowed: {names}", {"names": names})
        return model.model_validate(value)
