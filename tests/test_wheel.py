"""The wheel, installed outside of any checkout: all that a user without a clone has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from care.config.bundled import PREFIX, list_bundled
from care.trials.code_version import code_version
from tests.helpers.paths import ROOT
from tests.helpers.references import files

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
LEFT_OUT = {"tests", "docs", "benchmarks", "docker"}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Installed:
    """A wheel of the working tree as version 9.8.7, in an environment below another checkout."""

    source: Path
    wheel: Path
    environment: Path

    def run(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        path = f"{self.environment / 'bin'}:{os.environ['PATH']}"
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [*map(str, words)],
            cwd=cwd,
            env={**env, "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def output(self, *words: str | Path, cwd: Path) -> str:
        done = self.run(*words, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    source, environment = folder / "source", folder / "project" / "venv"
    for path in files():
        name = path.relative_to(ROOT)
        if name.parts[0] not in LEFT_OUT:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / name)
    (source / "docs").mkdir()  # a folder of each checkout
    (source / "docs" / "method.md").touch()
    git(source, "init", "--quiet")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "--message", "a")
    git(source, "tag", "v9.8.7")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder / "dist"),
        ".",
    ]
    subprocess.run(build, cwd=source, check=True)
    (wheel,) = (folder / "dist").iterdir()

    (folder / "project").mkdir()
    git(folder / "project", "init", "--quiet")
    git(folder / "project", "commit", "--quiet", "--allow-empty", "--message", "of the user")
    venv.create(environment, symlinks=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    # The libraries are those of this environment; its own care is not among them.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    python = str(environment / "bin" / "python")
    install = ["install", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run([*pip, "--python", python, *install], check=True)
    return Installed(source, wheel, environment)


def test_it_has_each_file_of_the_checkout_once(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    start = "care/bundled/"
    brought = {name.removeprefix(start) for name in names if name.startswith(start)}
    assert brought == {name.removeprefix(PREFIX) for name in list_bundled()}
    assert "experiments/paper/fig7-lambda.yaml" in brought
    assert "sweeps/clusters/example.yaml" in brought
    assert {"analysis/templates/report.html.j2", "care/py.typed"} <= set(names)
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"care", "sweeps", "analysis", "care_contrastive-9.8.7.dist-info"}
    assert not [name for name in names if name.startswith("sweeps/") and "clusters" in name]


def test_version_and_commit_are_those_of_the_build(installed: Installed, tmp_path: Path) -> None:
    """The environment lies in a checkout of the user's, whose commit is not ours."""
    commit = git(installed.source, "rev-parse", "HEAD")
    shown = installed.output("care", "--version", cwd=tmp_path)
    assert shown.startswith(f"care 9.8.7 ({commit[:8]}), Python ")
    script = """
import json, pathlib, care
from care.trials.code_version import code_version
from sweeps.backends.slurm.code_snapshot import take_snapshot
copy = take_snapshot(pathlib.Path("code"))
print(json.dumps([care.__file__, code_version(), str(copy), (copy / "snapshot.json").read_text()]))
"""
    seen = json.loads(installed.output("python", "-c", script, cwd=tmp_path))
    file, code, copy, record = seen
    assert Path(file).is_relative_to(installed.environment)
    assert code == code_version()
    assert json.loads(record) == {"version": "9.8.7", "git_commit": commit, "git_dirty": False}
    # A job runs the copy, with the wheel's files.
    words = ("-c", "import care; print(care.__file__, care.__version__); ")
    shown = installed.output("env", f"PYTHONPATH={copy}", "python", *words, cwd=tmp_path)
    assert shown.split() == [str(tmp_path / copy / "care" / "__init__.py"), "9.8.7"]


def test_a_bundled_sweep_runs_only_by_its_prefix(installed: Installed, tmp_path: Path) -> None:
    name = "experiments/paper/fig7-lambda.yaml"
    refused = installed.run("care", "sweep", "plan", name, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"one comes with care: bundled:{name}" in refused.stderr
    assert not list(tmp_path.iterdir())
    planned = installed.output(
        "care", "sweep", "plan", f"bundled:{name}", "--profile", "small", cwd=tmp_path
    )
    first, *rest = planned.splitlines()
    assert Path(first.removeprefix("reads ")).is_relative_to(installed.environment)
    assert "18 new" in rest


def test_the_papers_experiments_are_listed_with_commands_that_work(
    installed: Installed, tmp_path: Path
) -> None:
    listed = json.loads(installed.output("care", "experiments", "--json", cwd=tmp_path))
    assert {entry["reproduces"] for entry in listed} >= {"Fig 7", "Table 1, STL-10"}
    words = listed[-1]["command"].split()
    assert words[:3] == ["care", "sweep", "run"]
    assert " new" in installed.output("care", "sweep", "plan", *words[3:], cwd=tmp_path)


def test_a_new_study_runs(installed: Installed, tmp_path: Path) -> None:
    made = installed.output("care", "init", "my study", cwd=tmp_path)
    assert "cd 'my study' && care sweep run sweep.yaml" in made
    study = tmp_path / "my study"
    options = "ARGS=--seeds 1 --only λ=0 --no-report training.epochs=1"
    assert "1 finished" in installed.output("make", "sweep", options, cwd=study)
    (trial,) = study.glob("runs/trials/*/provenance.json")
    record: dict[str, Any] = json.loads(trial.read_text())
    assert record["git_commit"] == git(installed.source, "rev-parse", "HEAD")


def version_of_wheel(folder: Path) -> str:
    """The version that a build in ``folder`` asks for."""
    command = [sys.executable, "-W", "ignore", "-m", "setuptools_scm"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("history", ["tag", "commits", "none", "shallow"])
def test_a_checkout_has_the_version_of_its_wheel(
    history: str, installed: Installed, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    depth = ["--depth", "1"] if history == "shallow" else []
    git(tmp_path, "clone", "--quiet", *depth, f"file://{installed.source}", str(copy))
    if history == "commits":
        for _ in range(2):
            git(copy, "commit", "--quiet", "--allow-empty", "--message", "more")
    elif history in ("none", "shallow"):
        git(copy, "tag", "--delete", "v9.8.7")
    built = version_of_wheel(copy).partition("+")[0]
    code = "import care; print(care.__version__)"
    shown = installed.output("env", f"PYTHONPATH={copy}", "python", "-c", code, cwd=tmp_path)
    assert shown.strip() == built
    assert (built == "9.8.7") == (history == "tag")


def test_a_copy_without_git_can_be_built(installed: Installed, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(
        installed.source, copy, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info")
    )
    assert version_of_wheel(copy) == "0.0"
    code = "import care; print(care.__version__)"
    shown = installed.output("env", f"PYTHONPATH={copy}", "python", "-c", code, cwd=tmp_path)
    assert shown.strip() == "0.0"
