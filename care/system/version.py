"""Find the version of the running code: that of the newest tag, and the commits since."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

from care.system.checkout import CODE, checkout
from care.system.files import read_json
from care.system.git import SNAPSHOT, git

PACKAGE = "care-contrastive"
UNKNOWN = "0.0"
"""Version of a copy without git that was not installed."""
_TAG = re.compile(r"v(\d.*?)(\d*)-(\d+)-g[0-9a-f]+")


def find_version() -> str:
    """Return the version of an installation, of a copy, or of the checkout as it is now.

    A checkout's is the one that a wheel built from it has: ``0.1.0`` at the tag v0.1.0, and
    ``0.1.1.dev5`` five commits later.
    """
    copied = read_json(CODE / SNAPSHOT)
    if copied:
        return str(copied.get("version", UNKNOWN))
    if checkout() is not None:
        return _version_of_checkout()
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return UNKNOWN


def _version_of_checkout() -> str:
    tag = _TAG.fullmatch(git("describe", "--tags", "--long", "--match", "v[0-9]*") or "")
    if tag is None:
        commits = git("rev-list", "--count", "HEAD")
        return f"0.1.dev{commits}" if commits else UNKNOWN
    start, last, distance = tag.groups()
    return f"{start}{last}" if distance == "0" else f"{start}{int(last or 0) + 1}.dev{distance}"


VERSION = find_version()
