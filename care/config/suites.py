"""Suites of data sets, by one name in ``evaluation.transfer``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import PydanticCustomError

from care.config.data import DataConfig
from care.errors import nearest
from care.registry import DATA, SUITES


def expand_suites(transfer: Any) -> Any:
    """Replace names by mappings, and each suite of :data:`care.registry.SUITES` by its data sets.

    The data sets of ``{name: suite11, train_images: 1000}`` take the other fields of the suite.
    """
    if not isinstance(transfer, list | tuple):
        return transfer
    expanded: list[Any] = []
    for item in transfer:
        fields = {"name": item} if isinstance(item, str) else item
        name = fields.get("name") if isinstance(fields, dict) else None
        if isinstance(name, str) and name in SUITES:
            expanded += [{**fields, "name": member} for member in SUITES[name]]
        elif isinstance(name, str) and name not in DATA and nearest(name, SUITES):
            close = nearest(name, [*SUITES, *DATA])
            names = f"{', '.join(SUITES)}, or data sets: {', '.join(DATA)}"
            raise PydanticCustomError("name", f"allowed: {names}; did you mean {close!r}?")
        else:
            expanded.append(fields)
    return expanded


def whole_suites(transfer: Iterable[DataConfig]) -> tuple[str, ...]:
    """Name the suites (:data:`care.registry.SUITES`) of which ``transfer`` has every data set."""
    names = {data.name for data in transfer}
    return tuple(suite for suite, members in SUITES.items() if names.issuperset(members))
