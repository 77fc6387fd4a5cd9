"""``care init``; it imports its implementation when called."""

from __future__ import annotations

from typing import Annotated

import typer

study_app = typer.Typer()


@study_app.command("init")
def init(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A new or an empty folder; . is this one.")
    ],
) -> None:
    """Make a folder for a study of your own: sweep, experiment, cluster file, Makefile."""
    import shlex

    from care import __version__
    from sweeps.process.terminal import make_console
    from sweeps.study.make import make_study

    files = make_study(folder, __version__)
    console = make_console()
    console.print(f"made {folder}: {', '.join(files)}", soft_wrap=True)
    enter = "" if folder == "." else f"cd {shlex.quote(folder)} && "
    console.print(f"Next: {enter}care sweep run sweep.yaml", soft_wrap=True)
