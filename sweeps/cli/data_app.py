"""The commands of ``care data``; each imports its implementation when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="List and download data sets.")

DataRoot = Annotated[Path, typer.Option("--root", help="Folder of the data sets' files.")]
_DATA = Path("data")


@data_app.command("list")
def data_list(root: DataRoot = _DATA) -> None:
    """List the data sets, and whether each can be loaded."""
    from sweeps.cli.data import list_command

    list_command(root)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=VALUE", help="Fields of data in a YAML file, e.g. side=96."),
    ] = None,
    root: DataRoot = _DATA,
) -> None:
    """Download a data set, decode its images, check it. Twice changes nothing."""
    from sweeps.cli.data import get_command

    get_command(name, fields or [], root)
