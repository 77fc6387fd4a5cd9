"""A thread that looks at something now and then."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def polling(name: str, seconds: float, look: Callable[[], bool]) -> Iterator[None]:
    """Call ``look`` in a thread while entered, until it returns True.

    Args:
        name: Of the thread.
        seconds: Between two calls; the first comes after as long.
        look: Whether there is nothing more to look for.
    """
    over = threading.Event()

    def work() -> None:
        while not over.wait(seconds) and not look():
            pass

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
