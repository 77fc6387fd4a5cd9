"""A background thread that repeats a check."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def polling(name: str, seconds: float, check: Callable[[], bool]) -> Iterator[None]:
    """Repeat a check in a thread while entered, until it returns True.

    Args:
        name: Name of the thread.
        seconds: Time before each call.
        check: Returns True when it need not be called any more.
    """
    over = threading.Event()

    def work() -> None:
        while not over.wait(seconds) and not check():
            pass

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
