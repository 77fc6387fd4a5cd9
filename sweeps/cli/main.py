"""The entry point of ``care``: environment, signals, and messages for the user's errors."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from sweeps.process.signals import SignalError, raise_on_signals


def main() -> None:
    """Run the command that was typed.

    Nothing large is imported before signals are handled, so that Ctrl-C prints no traceback.
    """
    raise_on_signals()
    try:
        _run()
    except SignalError as error:
        print(f"stopped by {error}", file=sys.stderr)
        sys.exit(error.status)


def _run() -> None:
    # Threads that wait sleep: beside other work, those that spin hold up the very thread they wait
    # for, and a trial with two threads takes twice as long. Ray's processes inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Python's last collection would search all of torch, Ray and MLflow for garbage: two seconds.
    atexit.register(gc.freeze)
    from care.errors import CareError
    from sweeps.process.home import provide_home
    from sweeps.process.terminal import output_failure, protect_output

    protect_output()
    provide_home()
    try:
        from sweeps.cli.app import app

        app()
    except CareError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        failure = output_failure()
        if failure:
            print(f"error: the output could not be written: {failure}", file=sys.stderr)
            if not isinstance(sys.exception(), SignalError):  # which has a status of its own
                sys.exit(1)
