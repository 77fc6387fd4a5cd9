"""``code`` in a sweep's YAML: revisions of the code, each of which trains every point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from analysis.labels import CODE
from care.config.base import refuse
from sweeps.spec.search import SearchConfig


def parse_code(value: Any) -> Any:
    """Convert the list of names in a sweep's file to revisions that are not looked up yet.

    Raises:
        PydanticCustomError: It is no list of different names.
    """
    if isinstance(value, dict):  # of a stored sweep
        return value
    allowed = "allowed: a list of commits, tags or branches, or 'working' for the working tree"
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("name", "{allowed}", {"allowed": allowed})
    for index, name in enumerate(value):
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            hint = "; a number needs quotes" if isinstance(name, int | float) else ""
            refuse(f"code.{index}", name, f"the name of a revision, as text{hint}")
        if name in value[:index]:
            refuse(f"code.{index}", name, "each revision once")
    return {name: {} for name in value}


def check_code_axis(
    search: SearchConfig, zips: Sequence[Sequence[str]], references: Sequence[str], gpus: float
) -> None:
    """Refuse parts of a sweep that leave out points of a revision, or run this code beside it.

    Raises:
        PydanticCustomError: Names the field and the allowed values.
    """
    if search.suggests:
        reason = "optuna judges points by the values of one code; 'points' takes its best ones"
        refuse("search.name", search.name, f"grid, random or sobol with 'code': {reason}")
    for index, group in enumerate(zips):
        if CODE in group:
            refuse(f"zip.{index}", list(group), "other axes: each revision trains every point")
    if references:
        refuse("references.0", references[0], "none with 'code': this code measures them")
    if gpus > 1:
        refuse("resources.gpus", gpus, "at most 1 with 'code', whose trials have one process each")
