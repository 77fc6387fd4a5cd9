"""What a command prints, on odd terminals, pipes and encodings, with odd names."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.process.terminal import Output, make_console
from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.processes import CARE

NAMES = ["flip [/b]", "[red]loud[/red]", ":smile:", "a " * 60 + "long one"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of four variants with odd names and two values of λ."""
    variants = {
        name: {"augmentation.grayscale": place / 10} for place, name in enumerate(NAMES)
    }  # fmt: skip
    declare(tmp_path, variants=variants, axes={WEIGHT: [0, 0.1]}, seeds=1)
    return tmp_path


def plan(folder: Path, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """``care sweep plan`` by a shell, with ``shell`` behind it."""
    command = f"{shlex.join([*CARE, 'sweep', 'plan', 'sweep.yaml'])} {shell}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_piped_plan_has_a_line_a_trial_and_names_as_they_are(folder: Path) -> None:
    done = plan(folder, COLUMNS="40", FORCE_COLOR="")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("  new ")]
    assert len(lines) == 8
    assert "\x1b" not in done.stdout
    for name in NAMES:
        assert sum(f" {name} λ=" in line for line in lines) == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_encoding_without_greek_spells_it(folder: Path, encoding: str) -> None:
    done = plan(folder, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "flip [/b] lambda=0.1 seed=0" in done.stdout


def test_a_reader_that_leaves_ends_it_quietly(folder: Path) -> None:
    done = plan(folder, "| head -1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_output_that_is_lost_is_an_error(folder: Path) -> None:
    done = plan(folder, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: the output could not be written: No space left on device\n"


def test_a_closed_stdout_is_no_error(folder: Path) -> None:
    done = plan(folder, ">&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_broken_stream_takes_whatever_follows() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Output(io.TextIOWrapper(os.fdopen(writer, "wb"), encoding="ascii")) as output:
        console = make_console(output)
        for _ in range(3):
            console.print("λ" * 10_000)
        assert isinstance(output.lost, BrokenPipeError)
        assert output.failure is None


def test_help_shows_brackets(tmp_path: Path) -> None:
    done = subprocess.run(
        [*CARE, "evaluate", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "protocols=[paper]" in done.stdout


def test_commands_are_quoted_for_a_shell() -> None:
    declared = SweepArguments(
        Path("my sweep.yaml"), ("evaluation.protocols=[paper, authors]",), "small"
    )
    command = declared.command("run")
    assert shlex.split(command) == [
        *("care", "sweep", "run", "my sweep.yaml"),
        *("evaluation.protocols=[paper, authors]", "--profile", "small"),
    ]
    assert "'my sweep.yaml'" in command
