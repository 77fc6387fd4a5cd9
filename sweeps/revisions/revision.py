"""The revisions that a sweep names, and what they stand for."""

from __future__ import annotations

from care.config import Model

WORKING = "working"
"""The name of the working tree, with its uncommitted changes."""


class Revision(Model):
    """What the name of a revision stood for when the sweep was read.

    Attributes:
        commit: The commit; empty for the working tree.
        code_version: Version of its code; see :mod:`care.trials.code_version`.
    """

    commit: str = ""
    code_version: str = ""
