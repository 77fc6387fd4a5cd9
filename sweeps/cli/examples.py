"""Examples at the end of each command's ``--help``."""

from __future__ import annotations

from typing import Any

import typer

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("care init my-study",),
    "train": (
        "care train experiments/digits.yaml",
        "care train experiments/digits.yaml objective.equivariance.weight=0.3 seed=7",
    ),
    "evaluate": (
        "care evaluate cbb9",
        "care evaluate cbb9 evaluation.trained_probe.protocols=[paper] --json",
        "care evaluate --encoder torchvision:resnet50@64 digits-lambda",
    ),
    "logs": (
        "care logs cbb9",
        "care logs cbb9 --lines 20 --follow",
        "care logs digits-lambda",
    ),
    "list": (
        "care list",
        "care list digits-lambda --where 'λ>0.1' --where state=finished --sort -metric",
        "care list digits-lambda --csv",
    ),
    "show": ("care show cbb9",),
    "export": ("care export cbb9 --to encoder",),
    "reproduce": ("care reproduce encoder --store again",),
    "sweep plan": (
        "care sweep plan sweeps/digits-lambda.yaml",
        "care sweep plan experiments/paper/fig7-lambda.yaml --profile small --json",
        "care sweep plan bundled:experiments/paper/fig7-lambda.yaml",
        "care sweep plan sweeps/digits-lambda.yaml --cluster sweeps/clusters/mine.yaml",
    ),
    "sweep run": (
        "care sweep run sweeps/digits-lambda.yaml",
        "care sweep run sweeps/digits-lambda.yaml --only λ=0.1,0.3 --seeds 1",
        "care sweep run sweeps/digits-lambda.yaml training.epochs=5 --store /tmp/try",
        "care sweep run sweeps/digits-lambda.yaml --retry-failed",
        "care sweep run sweeps/digits-lambda.yaml --open --store /shared/runs",
    ),
    "sweep submit": (
        "care sweep submit sweeps/digits-lambda.yaml --cluster sweeps/clusters/mine.yaml "
        "--workers 1:16",
    ),
    "sweep status": ("care sweep status digits-lambda", "care sweep status digits-lambda --watch"),
    "sweep best": (
        "care sweep best digits-lambda",
        "care sweep best digits-lambda --points 3 --csv best.csv",
    ),
    "sweep extend": (
        "care sweep extend sweeps/digits-lambda.yaml seeds=5",
        "care sweep extend digits-lambda axes.objective.equivariance.weight=3,10",
    ),
    "sweep hold": (
        "care sweep hold digits-lambda λ=0.1",
        "care sweep hold digits-lambda λ=0.1,0.3 seed=2",
    ),
    "sweep release": (
        "care sweep release digits-lambda",
        "care sweep release digits-lambda λ=0.1",
    ),
    "sweep study": (
        "care sweep study digits-lambda",
        "care sweep study digits-lambda --storage /tmp/digits.db --overwrite",
    ),
    "sweep cancel": ("care sweep cancel digits-lambda",),
    "worker": (
        "care worker digits-lambda",
        "care worker digits-lambda --cores 8 --gpus 1 --store /shared/runs",
    ),
    "report": ("care report digits-lambda", "care report sweeps/digits-lambda.yaml"),
    "compare": (
        "care compare digits-lambda temperature",
        "care compare digits-lambda@archived digits-lambda --html compare.html",
        "care compare digits-lambda digits-lambda --store runs --store-b /mnt/other/runs --csv -",
        "care compare digits-lambda temperature --by λ --json",
    ),
    "experiments": ("care experiments", "care experiments --json"),
    "ui": ("care ui", "care ui --port 5001"),
    "store access": (
        "care store access",
        "care store access --group lab --store /data/lab/runs",
        "care store access --private",
    ),
    "doctor": (
        "care doctor",
        "care doctor --cluster sweeps/clusters/mine.yaml",
        "care doctor --tracking-uri https://tracking.example.org:5443",
    ),
    "track sync": ("care track sync", "care track sync --tracking-uri http://host:5000"),
    "model register": (
        "care model register cbb9",
        "care model register cbb9 --name digits-encoder --alias best",
    ),
    "data list": ("care data list",),
    "data get": ("care data get cifar10", "care data get stl10 side=96"),
    "store du": ("care store du",),
    "store gc": (
        "care store gc",
        "care store gc --sweep digits-lambda --yes",
        "care store gc --keep all --older 7d --yes",
    ),
    "store delete": ("care store delete digits-lambda", "care store delete cbb9 --yes"),
    "store pull": ("care store pull /mnt/other/runs", "care store pull me@cluster:care/runs"),
}
"""Commands that a user can type, by the name of their command."""


def add_examples(app: typer.Typer) -> None:
    """Add the examples to the end of the help of an application's commands."""
    for name, info in commands(app).items():
        if name in EXAMPLES:
            # click keeps the lines of a paragraph that begins with \b.
            info.epilog = "\n".join(["\b", "Examples:", *(f"  {one}" for one in EXAMPLES[name])])


def commands(app: typer.Typer, prefix: str = "") -> dict[str, Any]:
    """Return the registered commands of an application and of its groups, by name."""
    named = {f"{prefix}{_name(info)}": info for info in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance
        own = f"{group.name} " if isinstance(group.name, str) else ""
        named |= commands(group.typer_instance, f"{prefix}{own}")
    return named


def _name(info: Any) -> str:
    return str(info.name or info.callback.__name__)
