"""The commands of ``care sweep``; each imports its implementation when called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sweeps.cli.options import (
    DEFAULT_CLUSTER,
    DEFAULT_STORE,
    Overrides,
    Profile,
    StoreOption,
    TrackingOption,
)

if TYPE_CHECKING:
    from sweeps.cli.sweep_arguments import SweepArguments

sweep_app = typer.Typer(no_args_is_help=True, help="Plan and run sweeps.")

SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file of the sweep.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Resume failed trials as well.")]
RerunStale = Annotated[
    bool,
    typer.Option("--rerun-stale", help="Rerun trials of other code; the old ones are archived."),
]
RerunDamaged = Annotated[
    bool,
    typer.Option("--rerun-damaged", help="Rerun trials with damaged files; these are archived."),
]
RestartSearch = Annotated[
    bool,
    typer.Option(
        "--restart-search",
        help="Restart Optuna and ASHA; finished trials that fit are used.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=VALUE[,VALUE]",
        help="Only the points with these values of an axis; repeatable.",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="N|SEED,...", help="Only the first N seeds, or these (1, for seed 1)."),
]
WriteReport = Annotated[bool, typer.Option(help="Write the report at the end.")]
SubmittedSweep = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a submitted sweep.")
]
StartedSweep = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a started sweep.")
]

_TRIALS_HELP = "The points with these values of an axis, or these seeds; repeatable."
Trials = Annotated[list[str], typer.Argument(metavar="AXIS=VALUE[,VALUE]", help=_TRIALS_HELP)]
SomeTrials = Annotated[
    list[str] | None, typer.Argument(metavar="AXIS=VALUE[,VALUE]", help=_TRIALS_HELP)
]


def _sweep_arguments(
    file: Path,
    overrides: list[str] | None,
    profile: str | None,
    only: list[str] | None,
    seeds: str | None,
    store: Path,
) -> SweepArguments:
    from sweeps.cli.sweep_arguments import SweepArguments

    folder = None if store == DEFAULT_STORE else store
    return SweepArguments(file, tuple(overrides or ()), profile, tuple(only or ()), seeds, folder)


@sweep_app.command("plan")
def sweep_plan(
    file: SweepFile,
    overrides: Overrides = None,
    profile: Profile = None,
    only: Only = None,
    seeds: Seeds = None,
    store: StoreOption = DEFAULT_STORE,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the first steps of trials without a past.")
    ] = False,
    cluster: Annotated[
        Path | None,
        typer.Option("--cluster", metavar="FILE", help="Price on a cluster; by default here."),
    ] = None,
    workers: Annotated[str, typer.Option(metavar="N", help="Workers of that cluster.")] = "4",
    as_json: Annotated[bool, typer.Option("--json", help="Counts as one JSON object.")] = False,
) -> None:
    """Show each trial of a sweep, its state, and the price. Keeps nothing."""
    from sweeps.cli.cluster import parse_workers
    from sweeps.cli.price import PriceOptions
    from sweeps.cli.sweep_plan import plan_command

    options = PriceOptions(measure, cluster, parse_workers(workers))
    arguments = _sweep_arguments(file, overrides, profile, only, seeds, store)
    plan_command(arguments, store, as_json, options)


@sweep_app.command("run")
def sweep_run(
    file: SweepFile,
    overrides: Overrides = None,
    profile: Profile = None,
    only: Only = None,
    seeds: Seeds = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: TrackingOption = None,
    retry_failed: RetryFailed = False,
    rerun_stale: RerunStale = False,
    rerun_damaged: RerunDamaged = False,
    restart_search: RestartSearch = False,
    report: WriteReport = True,
    timings: Annotated[
        bool, typer.Option("--timings", help="Print the parts of the wall time at the end.")
    ] = False,
    open_: Annotated[
        bool,
        typer.Option("--open", help="Let machines that share the store join by care worker."),
    ] = False,
    interface: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Network interface of --open, e.g. eth0."),
    ] = None,
) -> None:
    """Run the missing trials of a sweep on this machine, track and report them."""
    from sweeps.cli.sweep import run_command
    from sweeps.cli.sweep_arguments import Opening
    from sweeps.run import RunOptions

    options = RunOptions(
        retry_failed, rerun_stale, tracking_uri, report, restart_search, rerun_damaged
    )
    if interface and not open_:
        raise typer.BadParameter("is of --open", param_hint="--interface")
    arguments = _sweep_arguments(file, overrides, profile, only, seeds, store)
    opening = Opening(interface) if open_ else None
    raise typer.Exit(run_command(arguments, store, options, timings, opening))


@sweep_app.command("submit")
def sweep_submit(
    file: SweepFile,
    overrides: Overrides = None,
    cluster: Annotated[
        Path, typer.Option("--cluster", metavar="FILE", help="YAML file of the cluster.")
    ] = DEFAULT_CLUSTER,
    workers: Annotated[
        str, typer.Option(metavar="MIN:MAX", help="Range of workers; more trials, more workers.")
    ] = "1:4",
    head: Annotated[
        Literal["job", "here"],
        typer.Option(help="Where Ray's head and the driver run: a job, or this terminal."),
    ] = "job",
    profile: Profile = None,
    only: Only = None,
    seeds: Seeds = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: TrackingOption = None,
    retry_failed: RetryFailed = False,
    rerun_stale: RerunStale = False,
    rerun_damaged: RerunDamaged = False,
    restart_search: RestartSearch = False,
    report: WriteReport = True,
) -> None:
    """Submit the missing trials of a sweep to a SLURM cluster. Twice attaches to the first."""
    from sweeps.cli.cluster import parse_workers, submit_command
    from sweeps.run import RunOptions

    options = RunOptions(
        retry_failed,
        rerun_stale,
        tracking_uri,
        report,
        restart_search,
        rerun_damaged,
    )
    arguments = _sweep_arguments(file, overrides, profile, only, seeds, store)
    range_ = parse_workers(workers)
    raise typer.Exit(submit_command(arguments, store, cluster, range_, head, options))


@sweep_app.command("status")
def sweep_status(
    sweep: StartedSweep,
    store: StoreOption = DEFAULT_STORE,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until it ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show the status of a sweep that runs here or on a cluster, from any terminal."""
    from sweeps.cli.status import status_command

    raise typer.Exit(status_command(sweep, store, watch, as_json))


@sweep_app.command("study")
def sweep_study(
    sweep: StartedSweep,
    file: Annotated[
        Path | None,
        typer.Option("--storage", metavar="FILE", help="The file; by default SWEEP-study.db."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is no study of the sweep.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a sweep as a study of Optuna, which optuna-dashboard opens. Twice changes nothing."""
    from sweeps.cli.sweep_study import study_command

    study_command(sweep, store, file, overwrite)


@sweep_app.command("best")
def sweep_best(
    sweep: StartedSweep,
    points: Annotated[int, typer.Option("--points", min=1, help="Number of points.")] = 5,
    file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write them for another sweep's points."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Rank the points of a sweep by its metric, over equal seeds, without collapsed ones."""
    from sweeps.cli.sweep_best import best_command

    best_command(sweep, store, points, file)


@sweep_app.command("extend")
def sweep_extend(
    sweep: StartedSweep,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE", help="seeds=5, search.trials=60, axes.FIELD=VALUE[,VALUE]"
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Add values, seeds or points to a sweep in its file; refuses to take away a trial."""
    from sweeps.cli.sweep_extend import extend_command

    extend_command(sweep, changes, store)


@sweep_app.command("hold")
def sweep_hold(sweep: StartedSweep, trials: Trials, store: StoreOption = DEFAULT_STORE) -> None:
    """Hold points of a sweep: their trials pause, and none starts until they are released."""
    from sweeps.cli.sweep_hold import hold_command

    hold_command(sweep, trials, store)


@sweep_app.command("release")
def sweep_release(
    sweep: StartedSweep, trials: SomeTrials = None, store: StoreOption = DEFAULT_STORE
) -> None:
    """Release held points of a sweep, by default all; a driver that runs trains them at once."""
    from sweeps.cli.sweep_hold import release_command

    release_command(sweep, trials or [], store)


@sweep_app.command("cancel")
def sweep_cancel(sweep: SubmittedSweep, store: StoreOption = DEFAULT_STORE) -> None:
    """Cancel a submitted sweep. Its trials checkpoint, its jobs end; submit again to resume."""
    from sweeps.cli.cluster import cancel_command

    raise typer.Exit(cancel_command(sweep, store))
