"""A user name and a home folder for users without a passwd entry, e.g. in containers."""

from __future__ import annotations

import logging
import os
import pwd
from pathlib import Path

_MISSING_FOLDER = "/nonexistent"


def provide_home() -> None:
    """Set the variables for the user's name and home if passwd has no entry for the user.

    Ray, MLflow and torch read both on import and fail without them. The home is a folder that does
    not exist, so nothing is written there.
    """
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", f"uid{os.getuid()}")
        os.environ.setdefault("LOGNAME", os.environ["USER"])
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _MISSING_FOLDER
    if not os.access(Path.home(), os.W_OK):
        # Without a home it warns on each import that its cache is in a temporary folder.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
