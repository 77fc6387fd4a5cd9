"""Options that several groups of commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path, typer.Option("--store", envvar="CARE_STORE", help="Folder of the run store.")
]
DEFAULT_STORE = Path("runs")
DEFAULT_CLUSTER = Path("sweeps/clusters/mine.yaml")
Profile = Annotated[
    str | None,
    typer.Option(help="A profile that the file declares; by default, the sweep without one."),
]
