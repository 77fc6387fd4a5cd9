"""torchvision's transforms of PIL images, imported after the fix of care.system.torchvision.

Environments of peers import this, too: ``care.system.torchvision`` needs only torch and
torchvision.
"""

from __future__ import annotations

import importlib
from typing import Any

import care.system.torchvision  # noqa: F401 - first, so that the import below works on a CPU build of torch

transforms: Any = importlib.import_module("torchvision.transforms")
