"""A plugin for tests of accidents: trials that take their time until the test has done its deed.

A trial that is small enough for two cores would be over before an accident happens to it. A wait
costs no core, changes no number, and ends between two steps as soon as the test wants results.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from care.registry import ENCODERS, EncoderEntry

if TYPE_CHECKING:
    from torch import nn

VARIABLE = "CARE_TEST_SLOW"
"""Names a file with the seconds that each pass of a training step waits, while it exists.

Child processes and jobs inherit it.
"""


def slow_encoder() -> nn.Module:
    """Build the encoder ``small``, which waits before each pass of a training step."""
    from care.models.small import small_encoder

    encoder = small_encoder()
    encoder.register_forward_pre_hook(_wait)
    return encoder


def _wait(module: nn.Module, inputs: object) -> None:
    slow = os.environ.get(VARIABLE)
    if module.training and slow:
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float(Path(slow).read_text()))


ENCODERS.register("slow-small", EncoderEntry("slow_encoder:slow_encoder", 16, 1.70e6))
