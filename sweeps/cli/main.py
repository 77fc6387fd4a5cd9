"""The entry point of ``care``: environment, signals, and messages for the user's errors."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from sweeps.process.signals import SignalError, raise_on_signals


def main() -> None:
    """Run the command line; a signal or an error of the user's prints one line, no traceback.

    Signals are handled before the large imports, during which Ctrl-C is likely.
    """
    raise_on_signals()
    try:
        _run()
    except SignalError as error:
        print(f"stopped by {error}", file=sys.stderr)
        sys.exit(error.status)


def _run() -> None:
    # OpenMP threads sleep while they wait. If they spin beside other work, they delay the thread
    # that they wait for, and a trial with two threads takes twice as long. Ray's processes inherit
    # the variable.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Frozen objects are skipped by the last garbage collection, which would take two seconds for
    # the objects of torch, Ray and MLflow.
    atexit.register(gc.freeze)
    # A plan is a million objects without a cycle, which the default would visit again and again.
    gc.set_threshold(50_000, 20, 100)
    from care.errors import CareError
    from care.system.redaction import redact
    from sweeps.process.home import provide_home
    from sweeps.process.logging import show_log
    from sweeps.process.terminal import make_console, output_failure, protect_output

    protect_output()
    show_log(make_console())
    provide_home()
    try:
        from sweeps.cli.app import app

        app(prog_name="care")
    except CareError as error:
        print(redact(f"error: {error}"), file=sys.stderr)
        sys.exit(2)
    except PermissionError as error:
        print(f"error: {_explain(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        failure = output_failure()
        if failure:
            print(f"error: the output could not be written: {failure}", file=sys.stderr)
            if not isinstance(sys.exception(), SignalError):  # main() exits with its status
                sys.exit(1)


def _explain(error: PermissionError) -> str:
    """Say which path is closed, and whom to ask."""
    from pathlib import Path

    from sweeps.store_access import explain_denied

    name = error.filename
    path = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    reason = (explain_denied(Path(path)) if path else "") or error.strerror or str(error)
    return f"{path}: {reason}" if path else reason
