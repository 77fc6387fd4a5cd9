"""``care report``, ``compare``, ``experiments``; each imports its implementation when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.options import DEFAULT_STORE, Profile, StoreOption

results_app = typer.Typer()


@results_app.command()
def report(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a sweep.")],
    profile: Profile = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the report of a sweep, finished or not: HTML, figures, tables."""
    from sweeps.cli.report import report_command

    report_command(sweep, profile, store)


@results_app.command()
def compare(
    one: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Name or YAML file of a sweep; SWEEP@VERSION for its results of a code version "
            "or commit, SWEEP@archived for those in the archive.",
        ),
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="The sweep to compare it with.")],
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS",
            help="Pair trials of equal values of this axis only; others are averaged. Repeatable.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    store_b: Annotated[
        Path | None, typer.Option("--store-b", help="Store of B; by default that of A.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page as well.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write every measure as CSV; - to print it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Compare two sweeps, two versions of one, or two stores: B minus A, paired by seed."""
    from sweeps.cli.compare import CompareOptions, compare_command

    options = CompareOptions(by or (), store_b, page, table, as_json)
    raise typer.Exit(compare_command(one, other, store, options))


@results_app.command()
def experiments(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", help="Folder of sweeps; by default experiments/paper here, or care's own."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """List the paper's tables and figures. Shows the sweep of each, its cost and status."""
    from sweeps.cli.experiments import experiments_command

    experiments_command(folder, store, as_json)
