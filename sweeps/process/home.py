"""A user name and a home folder for users who have none, as in containers and on some clusters."""

from __future__ import annotations

import logging
import os
import pwd
from pathlib import Path

_NOWHERE = "/nonexistent"


def provide_home() -> None:
    """Set the environment that libraries need where the user has no entry in passwd.

    Ray, MLflow and torch ask for both when they are imported, and fail without. No file is
    written there: the home is a folder that does not exist.
    """
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", f"uid{os.getuid()}")
        os.environ.setdefault("LOGNAME", os.environ["USER"])
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _NOWHERE
    if not os.access(Path.home(), os.W_OK):
        # It keeps its cache elsewhere then, and warns of that each time.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
