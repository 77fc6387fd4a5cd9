"""Find the checkout that the running code lies in."""

from __future__ import annotations

from pathlib import Path

CODE = Path(__file__).parents[2]
"""Folder with the packages: a checkout, site-packages, or a copy for the jobs of a sweep."""


def checkout() -> Path | None:
    """Return the folder of the checkout; None where the code was installed or copied.

    An installation may lie below a checkout of something else, whose commit is not the code's.
    """
    parts = ("pyproject.toml", "experiments", "docs")
    return CODE if all((CODE / part).exists() for part in parts) else None
