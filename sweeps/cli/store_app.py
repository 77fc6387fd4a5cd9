"""The commands of ``care store``; each imports its implementation when called."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sweeps.cli.options import DEFAULT_STORE, StoreOption

store_app = typer.Typer(
    no_args_is_help=True, help="The disk of the store: usage, cleaning, deleting, merging."
)


@store_app.command("du")
def store_du(
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Bytes as one JSON object.")] = False,
) -> None:
    """Show the disk usage of the store by kind and by sweep, and what can go."""
    from sweeps.cli.store import usage_command

    usage_command(store, as_json)


@store_app.command("gc")
def store_gc(
    store: StoreOption = DEFAULT_STORE,
    keep: Annotated[
        Literal["encoder", "all", "none"],
        typer.Option(
            help="Of a finished trial: its encoder in place of the checkpoints, both, or none."
        ),
    ] = "encoder",
    older: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Only what is as old, e.g. 30d. By default checkpoints of any age; archived "
            "trials and damaged files after 30 days.",
        ),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="SWEEP", help="Only the files of this sweep.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only shown.")] = False,
) -> None:
    """Free disk space without losing a number: show what can go, or remove it with --yes."""
    from sweeps.cli.store import gc_command

    raise typer.Exit(gc_command(store, keep, older, sweep, yes))


@store_app.command("delete")
def store_delete(
    name: Annotated[
        str, typer.Argument(metavar="SWEEP|TRIAL", help="Name of a sweep, or digits of a trial.")
    ],
    store: StoreOption = DEFAULT_STORE,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it without asking.")] = False,
) -> None:
    """Delete a sweep with the trials that no other sweep has, or one trial. Asks before."""
    from sweeps.cli.store import delete_command

    raise typer.Exit(delete_command(name, store, yes))


@store_app.command("access")
def store_access(
    store: StoreOption = DEFAULT_STORE,
    group: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Share the store with a group, which may write to it."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Close the store for all other users.")
    ] = False,
) -> None:
    """Show or set who may use the store: its user alone, or a group."""
    from sweeps.cli.store_access import access_command

    raise typer.Exit(access_command(store, group, private))


@store_app.command("pull")
def store_pull(
    source: Annotated[
        str, typer.Argument(metavar="FOLDER|HOST:PATH", help="Another store; HOST by rsync.")
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy the trials of another store that are missing here. Overwrites no finished trial."""
    from sweeps.cli.store import pull_command

    raise typer.Exit(pull_command(source, store))
