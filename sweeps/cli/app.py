"""The commands of ``care`` outside of groups; each imports its implementation when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.data_app import data_app
from sweeps.cli.examples import add_examples
from sweeps.cli.model_app import model_app
from sweeps.cli.options import DEFAULT_STORE, Overrides, StoreOption, TrackingOption
from sweeps.cli.results_app import results_app
from sweeps.cli.store_app import store_app
from sweeps.cli.study_app import study_app
from sweeps.cli.sweep_app import sweep_app
from sweeps.cli.watch_app import watch_app

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # markup would remove [paper,authors] from help and errors
    pretty_exceptions_enable=False,
)
track_app = typer.Typer(no_args_is_help=True, help="The MLflow view of the store.")
app.add_typer(study_app)
app.add_typer(watch_app)
app.add_typer(results_app)
app.add_typer(sweep_app, name="sweep")
app.add_typer(store_app, name="store")
app.add_typer(data_app, name="data")
app.add_typer(track_app, name="track")
app.add_typer(model_app, name="model")


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
def worker(
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help="Name or YAML file of a running sweep.")
    ],
    store: StoreOption = DEFAULT_STORE,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores for its trials; by default all.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs for its trials; by default all visible ones.")
    ] = None,
) -> None:
    """Let this machine train trials of a running sweep, until the sweep ends or Ctrl-C."""
    from sweeps.cli.worker import worker_command

    raise typer.Exit(worker_command(sweep, store, cores, gpus))


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
