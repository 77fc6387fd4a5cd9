"""``care logs``, ``list`` and ``show``; each imports its implementation when called."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeps.cli.options import DEFAULT_STORE, StoreOption

watch_app = typer.Typer()


@watch_app.command()
def logs(
    name: Annotated[
        str,
        typer.Argument(metavar="TRIAL|SWEEP", help="First digits of a trial, or name of a sweep."),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the trial ends.")
    ] = False,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=0, help="Only this many last lines.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print the log of a trial or of a sweep's driver."""
    from sweeps.cli.logs import logs_command

    raise typer.Exit(logs_command(name, store, lines, follow))


@watch_app.command("list")
def list_(
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="SWEEP", help="Name or YAML file of a sweep, to list its trials."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Only trials with e.g. λ>0.1 or state=failed."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by it; -COLUMN: largest first.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, with all measures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all measures.")] = False,
) -> None:
    """List the store's sweeps, or a sweep's trials."""
    from sweeps.cli.listing import ListOptions, list_command

    list_command(sweep, store, ListOptions(where or (), sort, as_csv, as_json))


@watch_app.command()
def show(
    trial: Annotated[
        str, typer.Argument(metavar="TRIAL", help="Identity of a trial, or its first digits.")
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show a trial: its settings, its end, what to do next."""
    from sweeps.cli.show import show_command

    show_command(trial, store)
