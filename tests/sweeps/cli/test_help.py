"""``care --help``, ``--version`` and completion: what a user types from them works."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main

import care
from care.config.bundled import find_path
from care.trials.identity import trial_id
from sweeps.cli.app import app
from sweeps.cli.examples import EXAMPLES, commands
from sweeps.plan import plan_configs
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.paths import ROOT
from tests.helpers.processes import CARE

_TRIAL = re.compile(
    r"care (?:evaluate|export|logs|show|ui|model register) ([0-9a-f]{4,16})\b"
    r"|care\.load\(\"([0-9a-f]{4,16})\"\)"
)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CARE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The trials of the default sweep, which every reader of the README has."""
    sweep = load_sweep(ROOT / "sweeps" / "digits-lambda.yaml")
    store = Store(tmp_path_factory.mktemp("store"))
    return [trial_id(config) for _, config in plan_configs(sweep, store)]


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(commands(app))


@pytest.mark.parametrize("example", [one for given in EXAMPLES.values() for one in given])
def test_an_example_has_arguments_that_its_command_takes(example: str) -> None:
    words = shlex.split(example)
    assert words.pop(0) == "care"
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    context = command.make_context("care", words)  # raises if an option or a value is wrong
    assert not context.args


def test_files_of_the_examples_exist() -> None:
    words = {word for given in EXAMPLES.values() for one in given for word in shlex.split(one)}
    files = {word for word in words if word.endswith(".yaml")} - {"sweeps/clusters/mine.yaml"}
    assert files
    assert not [file for file in files if not (ROOT / find_path(Path(file))).exists()]


def test_trials_of_examples_and_documents_are_those_of_the_default_sweep(
    trials: list[str],
) -> None:
    texts = {str(path): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
    texts["examples"] = "\n".join(one for given in EXAMPLES.values() for one in given)
    digits = {
        (name, one or other) for name, text in texts.items() for one, other in _TRIAL.findall(text)
    }
    assert {Path(name).name for name, _ in digits} >= {"README.md", "examples"}
    matches = {pair: sum(trial.startswith(pair[1]) for trial in trials) for pair in digits}
    assert set(matches.values()) == {1}, matches


def test_help_shows_each_example_on_a_line_of_its_own() -> None:
    lines = run("sweep", "plan", "--help").stdout.splitlines()
    for example in EXAMPLES["sweep plan"]:
        assert f"    {example}" in lines


def test_the_version_without_torch() -> None:
    code = (
        "import sys; from sweeps.cli.main import main; sys.argv = ['care', '--version']\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [CARE[0], "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    shown, loaded = done.stdout.splitlines()
    assert shown.startswith(f"care {care.__version__}")
    assert f"Python {platform.python_version()}, torch {version('torch')}" in shown
    assert loaded == "False"


def test_commands_are_completed() -> None:
    words = {"COMP_WORDS": "care sweep sta", "COMP_CWORD": "2"}
    done = run(_CARE_COMPLETE="complete_bash", **words)
    assert done.stdout.split() == ["status"]
