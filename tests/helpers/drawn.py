"""What a drawn figure shows."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray


def heights(line: Line2D) -> NDArray[np.float64]:
    """The y of a line's points."""
    return np.asarray(line.get_ydata(), dtype=float)
