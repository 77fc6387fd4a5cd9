"""Bad input, typed as a user types it: a clear message, exit status 2, and nothing on disk."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import TINY
from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.paths import ROOT
from tests.helpers.processes import care


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    declare(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def refused(folder: Path, *arguments: str) -> str:
    """The message of a command that must be refused without a trace."""
    before = contents(folder)
    done = care(*arguments, cwd=folder, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert contents(folder) == before
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(("error: ", "Usage: "))
    return done.stderr


# an override of the trial, and what its message must hold
BAD_FIELDS = [
    ("trainning.epochs=3", ["trainning", "'training'"]),
    ("training.epochs=many", ["training.epochs", "'many'", "integer"]),
    (f"{WEIGHT}=-1", [WEIGHT, "-1", "greater than or equal to 0"]),
    (f"{WEIGHT}=.nan", [WEIGHT, "nan", "finite"]),
    ("objective.equivariance.splits=7", ["splits", "7", "divides the batch of 256"]),
    ("training.batch_size=4096", ["training.batch_size", "4096", "at most 600"]),
    ("data.name=digit", ["data.name", "'digit'", "'digits'"]),
    ("model.encoder=smal", ["model.encoder", "'smal'", "'small'"]),
    ("objective.name=simcrl", ["objective.name", "'simcrl'", "'simclr'"]),
    ("seed", ["'seed'", "field.path=value"]),
]  # fmt: skip


@pytest.mark.parametrize(("override", "parts"), BAD_FIELDS)
@pytest.mark.parametrize("command", [("train", "experiment.yaml"), ("sweep", "run", "other.yaml")])
def test_a_bad_field(
    folder: Path, command: tuple[str, ...], override: str, parts: list[str]
) -> None:
    other = {
        "name": "other",
        "experiment": "experiment.yaml",
        "axes": {"optimizer.weight_decay": [0]},
    }
    (folder / "other.yaml").write_text(yaml.safe_dump(other))
    message = refused(folder, *command, override)
    assert all(part in message for part in parts), message


# changes of the sweep's file, and what its message must hold
BAD_SWEEPS: list[tuple[dict[str, Any], list[str]]] = [
    ({"axes": {WEIGHT: [0, -1]}}, [WEIGHT, "-1", "greater than or equal to 0"]),
    ({"axes": {WEIGHT: [float("nan")]}}, [WEIGHT, "nan", "finite"]),
    ({"axes": {WEIGHT: []}}, [WEIGHT, "one value or more"]),
    ({"axes": {WEIGHT: [0.1, 0.1]}}, [WEIGHT, "once"]),
    ({"axes": {"objective.wieght": [1]}}, ["objective.wieght"]),
    ({"seeds": 0}, ["seeds", "one"]),
    ({"seed": 3}, ["seed", "'seeds'"]),
    ({"search": {"name": "optina"}}, ["search.name", "'optina'", "'optuna'"]),
    ({"experiment": "experimnt.yaml"}, ["experimnt.yaml", "experiment.yaml"]),
    ({"metric": {"name": "head/gama"}}, ["metric.name", "'head/gama'", "'head/gamma'"]),
    ({"resources": {"threads": 4096}}, ["resources.threads", "4096", "at most"]),
    (
        {"axes": {"augmentation.grayscale": [0, 1]}, "resources": {"pack": 4}},
        ["resources.pack", "4", "1", "augmentation.grayscale share no batches"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "parts"), BAD_SWEEPS)
def test_a_bad_sweep(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    declare(tmp_path, **changes)
    message = refused(tmp_path, "sweep", "run", "sweep.yaml")
    assert all(part in message for part in parts), message


# content of the sweep's file, and what its message must hold
BAD_FILES = [
    ("", ["sweep.yaml", "empty"]),
    ("axes: [", ["sweep.yaml", "line 1"]),
    ("just words", ["sweep.yaml"]),
    (f"axes:\n  {WEIGHT}: [0]\n  {WEIGHT}: [1]\n", [WEIGHT, "line 3"]),
]


@pytest.mark.parametrize(("content", "parts"), BAD_FILES)
def test_a_bad_file(folder: Path, content: str, parts: list[str]) -> None:
    (folder / "sweep.yaml").write_text(content)
    message = refused(folder, "sweep", "run", "sweep.yaml")
    assert all(part in message for part in parts), message


def test_a_missing_file_gets_the_nearest_name(folder: Path) -> None:
    message = refused(folder, "sweep", "run", "sweeep.yaml")
    assert "sweeep.yaml" in message
    assert "'sweep.yaml'" in message


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", "plan", "sweep.yaml"),
        ("sweep", "run", "sweep.yaml"),
        ("train", "experiment.yaml"),
        ("report", "sweep.yaml"),
        ("track", "sync"),
        ("ui",),
    ],
)
def test_a_store_of_a_newer_version(folder: Path, command: tuple[str, ...]) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "store.json").write_text(json.dumps({"format": 99}))
    message = refused(folder, *command)
    assert "runs" in message
    assert "99" in message


@pytest.mark.parametrize("command", [("track", "sync"), ("ui",)])
def test_no_store(folder: Path, command: tuple[str, ...]) -> None:
    assert "no store is here" in refused(folder, *command)


def test_a_port_that_is_taken(folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "store.json").write_text(json.dumps({"format": 1}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refused(folder, "ui", "--port", str(port))
    assert str(port) in message
    assert f"--port {port + 1}" in message


def test_names_that_a_cluster_misreads_and_a_password_that_others_could_read(folder: Path) -> None:
    cluster = ROOT / "sweeps" / "clusters" / "example.yaml"
    uri = "http://me:hunter2@server:5000"
    options = ("--cluster", str(cluster), "--store", "runs%j", "--tracking-uri", uri)
    message = refused(folder, "sweep", "submit", "sweep.yaml", *options)
    assert f"--store: got '{folder.resolve()}/runs%j'; allowed: a path without '%'" in message
    assert "--tracking-uri: got 'http://***@server:5000'" in message
    assert "MLFLOW_TRACKING_PASSWORD" in message
    assert "hunter2" not in message


def test_a_sweep_that_was_never_started(folder: Path) -> None:
    assert "'nobody'" in refused(folder, "report", "nobody")


def test_a_command_that_does_not_exist(folder: Path) -> None:
    assert "No such command 'swep'" in refused(folder, "swep")


def test_a_store_that_cannot_be_made(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    message = refused(folder, "train", "experiment.yaml", "--store", "file/store")
    assert "file/store" in message


@pytest.mark.parametrize("command", [("train", "experiment.yaml"), ("sweep", "run", "sweep.yaml")])
def test_a_device_that_is_not_here(folder: Path, command: tuple[str, ...]) -> None:
    message = refused(folder, *command, "runtime.device=warp9")
    assert "runtime.device" in message
    assert "'warp9'" in message


def test_what_was_refused_runs_once_it_is_mended(folder: Path) -> None:
    """One epoch of a trial whose first try was wrong; its folder then holds what it says."""
    shutil.rmtree(folder / "runs", ignore_errors=True)
    tiny = {**TINY, "training": {"epochs": 1, "batch_size": 256}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tiny))
    refused(folder, "train", "experiment.yaml", "training.epochs=0")
    done = care("train", "experiment.yaml", cwd=folder)
    assert "epoch 1/1" in done.stdout
    (status,) = (folder / "runs" / "trials").glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "finished"
