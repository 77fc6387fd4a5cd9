"""torchvision imports where its compiled operators do not load."""

from __future__ import annotations

import subprocess
import sys


def test_imports_in_a_fresh_process_and_again() -> None:
    code = (
        "from care.vision import functional, resnet18;"
        "import torch, torchvision, care.vision;"
        "image = torch.rand(3, 8, 8);"
        "assert torch.equal(functional.horizontal_flip(image), image.flip(-1));"
        "assert resnet18(weights=None).eval()(image[None]).shape == (1, 1000)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
