from __future__ import annotations

import subprocess
import sys

import pytest

FIRST_USE = """
{first}
import torch
from care.system.torchvision import functional, resnet18, transforms
image = torch.arange(12.0).view(3, 2, 2) / 12
assert torch.equal(functional.horizontal_flip(image), image.flip(2))
print(resnet18(num_classes=2)(torch.zeros(2, 3, 32, 32)).shape, transforms.Normalize.__name__)
"""


@pytest.mark.parametrize(
    "first",
    ["", "import contextlib\nwith contextlib.suppress(RuntimeError):\n    import torchvision"],
    ids=["fresh", "after an import that may have failed"],
)
def test_torchvision_loads_in_a_new_process(first: str) -> None:
    """Also where torchvision's compiled operators were built for another torch."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST_USE.format(first=first)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "torch.Size([2, 2]) Normalize"
