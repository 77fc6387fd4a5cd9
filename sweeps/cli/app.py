"""The commands and options of ``care``; each command imports its implementation when called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sweeps.cli.data_app import data_app
from sweeps.cli.examples import add_examples
from sweeps.cli.model_app import model_app
from sweeps.cli.options import DEFAULT_CLUSTER, DEFAULT_STORE, Profile, StoreOption
from sweeps.cli.results_app import results_app
from sweeps.cli.store_app import store_app
from sweeps.cli.study_app import study_app
from sweeps.cli.watch_app import watch_app

if TYPE_CHECKING:
    from sweeps.cli.sweep_arguments import SweepArguments

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # markup would remove [paper,authors] from help and errors
    pretty_exceptions_enable=False,
)
sweep_app = typer.Typer(no_args_is_help=True, help="Plan and run sweeps.")
track_app = typer.Typer(no_args_is_help=True, help="The MLflow view of the store.")
app.add_typer(study_app)
app.add_typer(watch_app)
app.add_typer(results_app)
app.add_typer(sweep_app, name="sweep")
app.add_typer(store_app, name="store")
app.add_typer(data_app, name="data")
app.add_typer(track_app, name="track")
app.add_typer(model_app, name="model")

TrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server; by default an SQLite file in the store.",
    ),
]
SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file of the sweep.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE", help="Dotted fields of the configuration to set."),
]
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


def _show_version(wanted: bool) -> None:
    if wanted:
        from sweeps.cli.version import describe_version

        print(describe_version())
        raise typer.Exit


@app.callback()
def care(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the versions of care, Python and torch.",
        ),
    ] = False,
) -> None:
    """Contrastive learning whose augmentations act as rotations, and its ablation sweeps."""


@app.command()
def train(
    experiment: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file of the trial.")],
    overrides: Overrides = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Train and evaluate one trial, or resume it. A finished trial is shown, not rerun."""
    from sweeps.cli.train import train_command

    train_command(experiment, overrides or [], store)


@app.command()
def evaluate(
    trial: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL",
            help="First digits of a trial; with --encoder, a YAML file or a started sweep.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD=VALUE",
            help="Of evaluation, e.g. evaluation.trained_probe.protocols=[paper].",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="torchvision:NAME[:WEIGHTS], timm:NAME, a trial, or an exported folder.",
        ),
    ] = None,
    side: Annotated[
        int | None, typer.Option(help="Pixels at which that encoder sees the images.", min=1)
    ] = None,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Only print the measures of that encoder.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Measures as JSON.")] = False,
) -> None:
    """Evaluate a trained trial with other settings, or any encoder. Trains nothing."""
    from sweeps.cli.evaluate import evaluate_command
    from sweeps.cli.measure import MeasureOptions, measure_command

    if encoder is not None:
        options = MeasureOptions(side, not no_store, as_json)
        measure_command(encoder, trial, overrides or [], store, options)
    elif side is not None or no_store:
        option = "--no-store" if side is None else "--side"
        raise typer.BadParameter("is of --encoder ENCODER", param_hint=option)
    else:
        evaluate_command(trial, overrides or [], store, as_json)


@app.command()
def export(
    trial: Annotated[
        str, typer.Argument(metavar="TRIAL", help="First digits of a trial, or its folder.")
    ],
    target: Annotated[Path, typer.Option("--to", metavar="DIR", help="New folder of the encoder.")],
    store: StoreOption = DEFAULT_STORE,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export of this trial.")
    ] = False,
    program: Annotated[
        bool, typer.Option("--program", help="Add a program that runs with torch alone.")
    ] = False,
) -> None:
    """Export a trained encoder. Weights, configuration and model card, in one folder."""
    from sweeps.cli.encoder import export_command

    export_command(trial, target, store, overwrite=overwrite, program=program)


@app.command()
def reproduce(
    source: Annotated[
        Path, typer.Argument(metavar="CARD", help="An exported folder, or its README.md.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=VALUE", help="Of runtime, e.g. runtime.data_root=/big."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Train an exported encoder again, and compare the weights bit for bit."""
    from sweeps.cli.encoder import reproduce_command

    raise typer.Exit(reproduce_command(source, overrides or [], store))


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
    from sweeps.cli.sweep import plan_command

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
) -> None:
    """Run the missing trials of a sweep on this machine, track and report them."""
    from sweeps.cli.sweep import run_command
    from sweeps.run import RunOptions

    options = RunOptions(
        retry_failed, rerun_stale, tracking_uri, report, restart_search, rerun_damaged
    )
    arguments = _sweep_arguments(file, overrides, profile, only, seeds, store)
    raise typer.Exit(run_command(arguments, store, options, timings))


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
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a started sweep.")
    ],
    store: StoreOption = DEFAULT_STORE,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until it ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show the status of a sweep that runs here or on a cluster, from any terminal."""
    from sweeps.cli.status import status_command

    raise typer.Exit(status_command(sweep, store, watch, as_json))


@sweep_app.command("study")
def sweep_study(
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a started sweep.")
    ],
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
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a started sweep.")
    ],
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
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help="YAML file, or name of a started sweep.")
    ],
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


@sweep_app.command("cancel")
def sweep_cancel(sweep: SubmittedSweep, store: StoreOption = DEFAULT_STORE) -> None:
    """Cancel a submitted sweep. Its trials checkpoint, its jobs end; submit again to resume."""
    from sweeps.cli.cluster import cancel_command

    raise typer.Exit(cancel_command(sweep, store))


@app.command()
def ui(
    target: Annotated[
        str, typer.Argument(metavar="[SWEEP|TRIAL]", help="A sweep, or a trial's first digits.")
    ] = "",
    store: StoreOption = DEFAULT_STORE,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 5000,
    tracking_uri: TrackingOption = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open the first address.")] = False,
    allow_anyone: Annotated[
        bool,
        typer.Option(
            "--allow-anyone",
            help="Serve on a --host that others reach. They can read and delete all runs.",
        ),
    ] = False,
) -> None:
    """Serve MLflow and print the addresses of the charts, or those on the server with the runs."""
    from sweeps.cli.track import ui_command

    options = {"browser": browser, "allow_anyone": allow_anyone}
    raise typer.Exit(ui_command(store, host, port, tracking_uri, target, **options))


@app.command()
def doctor(
    store: StoreOption = DEFAULT_STORE,
    cluster: Annotated[
        Path | None, typer.Option("--cluster", metavar="FILE", help="YAML file of a cluster.")
    ] = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """Check this machine, or a cluster, in a minute. Shows how to fix problems."""
    from sweeps.cli.doctor import doctor_command

    raise typer.Exit(doctor_command(store, cluster, tracking_uri))


@track_app.command("sync")
def track_sync(store: StoreOption = DEFAULT_STORE, tracking_uri: TrackingOption = None) -> None:
    """Bring MLflow up to date with the store. Twice changes nothing."""
    from sweeps.cli.track import sync_command

    raise typer.Exit(sync_command(store, tracking_uri))


add_examples(app)
