"""The commands of ``care model``; each imports its implementation when called."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeps.cli.options import DEFAULT_STORE, StoreOption

model_app = typer.Typer(no_args_is_help=True, help="Encoders in MLflow's registry of models.")


@model_app.command("register")
def model_register(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="First digits of a trial.")],
    name: Annotated[
        str, typer.Option(help="Name of the model; by default that of the trial's sweep.")
    ] = "",
    alias: Annotated[
        str, typer.Option(help="Alias that shall point to this version, e.g. best.")
    ] = "",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow server; by default an SQLite file in the store.",
        ),
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also a trial that is not trained to its end.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Also a trial of other code or data.")
    ] = False,
) -> None:
    """Register the encoder of a trial in MLflow, and print how to load it."""
    from sweeps.cli.model import register_command

    register_command(store, trial, name, alias, tracking_uri, unfinished=unfinished, stale=stale)
