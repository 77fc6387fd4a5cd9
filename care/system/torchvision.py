"""Import torchvision even if its compiled operators do not load.

A CUDA build of torchvision on a CPU build of torch fails on import: its Python code registers fake
kernels for ``nms`` and ``qnms``, but only the compiled part declares their schemas. This project
uses neither operator, so declaring both schemas suffices. All of its uses of torchvision go
through this module.
"""

from __future__ import annotations

import importlib
import sys

import torch

_MISSING_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]


def _ensure_importable() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for schema in _MISSING_SCHEMAS:
            _LIBRARY.define(schema)  # type: ignore[no-untyped-call]
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        importlib.import_module("torchvision")


_ensure_importable()

from torchvision import datasets, models  # noqa: E402
from torchvision.models import resnet18, resnet50  # noqa: E402
from torchvision.transforms import v2 as transforms  # noqa: E402
from torchvision.transforms.v2 import functional  # noqa: E402

__all__ = [
    "datasets",
    "functional",
    "models",
    "resnet18",
    "resnet50",
    "transforms",
]
