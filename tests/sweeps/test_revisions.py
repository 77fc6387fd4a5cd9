"""`code:` in a sweep: revisions of the code train every point, on a real Ray, from snapshots."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.comparing import assert_equal_numbers
from tests.helpers.declaring import declare
from tests.helpers.processes import (
    alive,
    command_of,
    descendants,
    lines_in,
    wait_for,
)
from tests.helpers.revisions import LOSS, commit, copy_repository, edit, git, run, start

NAMES = ["v1.0", "HEAD~1", "HEAD"]
EPOCHS = 12
MEASURE = "encoder/probe_accuracy"
LONGER = {"training.epochs": EPOCHS}
# The loss with another temperature, and a docstring in other words.
OTHER_LOSS = ("z @ z.T / temperature", "z @ z.T / temperature * 2")
OTHER_WORDS = ("Average -log softmax", "Compute the mean of -log softmax")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits: as it is (tag v1.0), another docstring, another loss and another field."""
    repository = copy_repository(tmp_path_factory.mktemp("repository"))
    git(repository, "tag", "v1.0")
    edit(repository, LOSS, *OTHER_WORDS)
    commit(repository, "words")
    edit(repository, LOSS, *OTHER_LOSS)
    field = "    batch_norm_groups: PositiveInt = 1\n"
    edit(repository, "care/config/training.py", field, f"{field}    extra: PositiveInt = 7\n")
    commit(repository, "numbers")
    return repository


@pytest.fixture(scope="module")
def study(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over code that lost a child, then every process, and was run again."""
    folder = tmp_path_factory.mktemp("study")
    declare(folder, axes=None, code=NAMES, overrides=LONGER)
    started = start(repository, folder, "sweep", "run", "sweep.yaml", "--no-report")
    trials = folder / "runs" / "trials"

    def epochs() -> int:
        return sum(map(lines_in, trials.glob("*/metrics.jsonl")))

    wait_for(lambda: epochs() >= 2)
    processes = descendants(started.pid)
    children = [pid for pid in processes if "revisions/child.py" in command_of(pid)]
    assert children
    os.kill(children[0], signal.SIGKILL)
    at_loss = epochs()
    wait_for(lambda: epochs() > at_loss)
    processes |= descendants(started.pid)
    children = [pid for pid in processes if "revisions/child.py" in command_of(pid)]
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate(timeout=60)
    wait_for(lambda: not alive(set(children)))
    assert 2 <= epochs() < 4 * EPOCHS
    run(repository, folder, "sweep", "run", "sweep.yaml")
    return folder


def records(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    trials = (folder / "runs" / "trials").iterdir()
    return {trial.name: json.loads((trial / name).read_text()) for trial in trials}


def test_each_trial_has_the_numbers_of_its_code(
    repository: Path, study: Path, tmp_path: Path
) -> None:
    """Those of an ordinary trial of that code, to the bit, though both kinds were killed."""
    trained = records(study, "provenance.json")
    assert len(trained) == 4, "v1 and HEAD~1 differ in words, so they share their trials"
    commits = {git(repository, "rev-parse", name) for name in ("v1.0", "HEAD")}
    assert {record["git_commit"] for record in trained.values()} == commits
    declare(tmp_path)
    overrides = (f"training.epochs={EPOCHS}", "seed=1")
    run(repository, tmp_path, "train", "experiment.yaml", *overrides)
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "v1.0"), "v1.0")
    (tmp_path / "old").mkdir()
    declare(tmp_path / "old")
    run(tmp_path / "v1.0", tmp_path / "old", "train", "experiment.yaml", *overrides)
    git(repository, "worktree", "remove", "--force", str(tmp_path / "v1.0"))
    for folder, name in ((tmp_path, "HEAD"), (tmp_path / "old", "v1.0")):
        (expected,) = (folder / "runs" / "trials").iterdir()
        own = [
            study / "runs" / "trials" / identity
            for identity, record in records(study, "trial.json").items()
            if record["config"]["seed"] == 1
            and trained[identity]["git_commit"] == git(repository, "rev-parse", name)
        ]
        assert len(own) == 1
        assert own[0].name != expected.name, "an ordinary trial is another trial"
        assert_equal_numbers(own[0], expected)
        assert (own[0] / "log.txt").exists()


def test_the_report_pairs_the_revisions(repository: Path, study: Path) -> None:
    report = study / "runs" / "sweeps" / "tiny" / "report"
    assert "between code=v1.0 and code=HEAD" in (report / "answer.txt").read_text()
    with (report / "tables" / "differences.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == MEASURE]
    assert {(row["code"], row["seed"]) for row in rows} == set(product(NAMES, "01"))
    difference = {row["seed"]: float(row["difference"]) for row in rows if row["code"] == "HEAD"}
    trials = records(study, "trial.json")
    accuracy = {
        (trials[identity]["config"]["seed"], trained["git_commit"]): measures[MEASURE]
        for identity, measures in records(study, "evaluation.json").items()
        for trained in [records(study, "provenance.json")[identity]]
    }
    before, after = (git(repository, "rev-parse", name) for name in ("v1.0", "HEAD"))
    for seed in (0, 1):
        expected = accuracy[seed, after] - accuracy[seed, before]
        assert difference[str(seed)] == pytest.approx(expected)


def test_a_second_run_is_a_no_op_and_the_plan_describes_the_revisions(
    repository: Path, study: Path
) -> None:
    trials = study / "runs" / "trials"
    before = {path: path.stat().st_mtime_ns for path in trials.rglob("*")}
    run(repository, study, "sweep", "run", "sweep.yaml", "--no-report")
    assert {path: path.stat().st_mtime_ns for path in trials.rglob("*")} == before
    planned = run(repository, study, "sweep", "plan", "sweep.yaml")
    assert "4 finished" in planned
    for name, subject in (("v1.0", "as it is"), ("HEAD~1", "words"), ("HEAD", "numbers")):
        commit = git(repository, "rev-parse", name)[:12]
        assert f"code={name}: {commit}" in planned
        assert f"{subject}), ast1-" in planned
    assert "v1.0 and HEAD~1 share their trials" in planned
    assert "uncommitted" not in planned
    chosen = run(repository, study, "sweep", "plan", "sweep.yaml", "--only", "code=HEAD")
    assert "2 finished" in chosen
    assert "chosen: 2 of the sweep's 6 trials" in chosen


def test_trials_follow_their_names_in_every_command(repository: Path, study: Path) -> None:
    listed = run(repository, study, "list", "tiny", "--csv")
    assert "HEAD~1" in listed
    identity = next((study / "runs" / "trials").iterdir()).name
    shown = run(repository, study, "show", identity)
    assert "seed=" in shown
    assert "code=HEAD" in shown
    assert "code_version: ast1-" in shown
    assert "finished" in shown
    refused = run(repository, study, "evaluate", identity, status=2)
    assert "with the code of another revision" in refused


def test_when_head_moves_trials_are_new_and_gone_never_stale(
    repository: Path, study: Path, tmp_path: Path
) -> None:
    moved, folder = tmp_path / "moved", tmp_path / "study"
    shutil.copytree(repository, moved)
    shutil.copytree(study, folder)
    edit(moved, LOSS, OTHER_LOSS[1], f"{OTHER_LOSS[1]} + 0.0")
    dirty = run(moved, folder, "sweep", "plan", "sweep.yaml")
    assert "uncommitted changes of care/ are not in HEAD" in dirty
    assert "4 finished" in dirty
    commit(moved, "moved")
    planned = run(moved, folder, "sweep", "plan", "sweep.yaml")
    # v1 is what it was; HEAD~1 is now what HEAD was.
    assert "4 finished, 2 new" in planned
    assert "HEAD was" in planned
    assert "2 trials are new, 0 are gone" in planned
    declare(folder, axes=None, code=["HEAD", "working"], overrides=LONGER)
    edit(moved, LOSS, f"{OTHER_LOSS[1]} + 0.0", OTHER_LOSS[1])
    both = run(moved, folder, "sweep", "plan", "sweep.yaml")
    assert "code=working: the working tree, ast1-" in both
    assert "2 finished, 2 new" in both, "the working tree is what HEAD was"
    assert "2 trials are new, 2 are gone" in both


def test_a_code_that_lacks_a_field_trains_at_its_default_only(
    repository: Path, tmp_path: Path
) -> None:
    code = ["v1.0", "HEAD"]
    declare(tmp_path, axes=None, code=code, overrides={"training.extra": 7})
    assert "4 new" in run(repository, tmp_path, "sweep", "plan", "sweep.yaml")
    declare(tmp_path, axes=None, code=code, overrides={"training.extra": 8})
    for command in ("plan", "run"):
        refused = run(repository, tmp_path, "sweep", command, "sweep.yaml", status=2)
        assert "code.0: got 'v1.0'; allowed: a revision that can train this sweep" in refused
        assert "training.extra: 8" in refused
    assert not (tmp_path / "runs").exists()


def test_a_design_pairs_the_revisions_from_snapshots_that_were_damaged(
    repository: Path, study: Path, tmp_path: Path
) -> None:
    """Each drawn point is trained with both; a damaged copy of the code is made again."""
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    rates = "optimizer.learning_rate"
    declare(
        folder,
        axes={rates: {"low": 0.001, "high": 0.1, "log": True}},
        code=["v1.0", "HEAD"],
        search={"name": "random", "trials": 2},
        seeds=1,
        overrides={"training.epochs": 1},
    )
    snapshots = list((folder / "runs/sweeps/tiny/code").iterdir())
    assert len(snapshots) == 2
    for snapshot in snapshots:
        loss = snapshot / LOSS
        loss.write_text(f"{loss.read_text()}\nraise SystemExit\n")
    done = run(repository, folder, "sweep", "run", "sweep.yaml")
    assert "trials with 'code' have a process each" in done
    tables = folder / "runs" / "sweeps" / "tiny" / "report" / "tables"
    with (tables / "differences.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == MEASURE]
    points = {(row[rates], row["code"]) for row in rows}
    assert len({rate for rate, _ in points}) == 2
    assert points == set(product({rate for rate, _ in points}, ["v1.0", "HEAD"]))


@pytest.fixture(scope="module")
def without_history(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy") / "care"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns(".git"))
    return copy


def test_revisions_that_are_not_there_are_refused(
    repository: Path, without_history: Path, tmp_path: Path
) -> None:
    def refused(checkout: Path, code: str) -> str:
        declare(tmp_path, axes=None, code=["HEAD", code])
        return run(checkout, tmp_path, "sweep", "plan", "sweep.yaml", status=2)

    unknown = refused(repository, "v1.1")
    assert "code.1: got 'v1.1'; allowed: a commit, tag or branch of" in unknown
    assert "did you mean 'v1.0'?" in unknown
    assert "code.1: got '--output=x'" in refused(repository, "--output=x")
    git(repository, "branch", "empty", git(repository, "commit-tree", "-m", "x", EMPTY_TREE))
    assert "a revision with a folder care" in refused(repository, "empty")
    git(repository, "worktree", "add", "--quiet", "--detach", str(tmp_path / "old"), "v1.0")
    shutil.rmtree(tmp_path / "old" / "care" / "training")
    broken = commit(tmp_path / "old", "broken")
    assert "has no module care.training" in refused(repository, broken)
    git(repository, "worktree", "remove", "--force", str(tmp_path / "old"))
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    assert "this clone is shallow" in refused(shallow, "HEAD~1")
    assert "in a git repository that git can read" in refused(without_history, "HEAD~1")
    shutil.rmtree(without_history / "docs")
    assert "with care in a git checkout; it is installed in" in refused(without_history, "HEAD~1")


EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
