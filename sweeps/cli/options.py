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
TrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server; by default an SQLite file in the store.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE", help="Dotted fields of the configuration to set."),
]
Profile = Annotated[
    str | None,
    typer.Option(help="A profile that the file declares; by default, the sweep without one."),
]
