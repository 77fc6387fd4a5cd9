"""Memory settings for training on a CPU."""

from __future__ import annotations

import ctypes
import functools

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


@functools.cache
def keep_freed_memory() -> bool:
    """Make glibc reuse freed activations instead of returning them to the system.

    By default each step maps every large activation's memory and faults in its pages. That takes
    more than half of a small network's step. No number changes.

    Returns:
        True if the allocator accepted the settings; False if it is not glibc's.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
