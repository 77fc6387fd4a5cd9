"""`code:` on a cluster: nodes train with each revision from the store, without its repository."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.cluster.conftest import Cluster
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.pooling import EXPERIMENT, NAME, PLUGINS, Pool, wait_until
from tests.helpers.revisions import LOSS, commit, copy_repository, edit, git, start

# Plugins are none of a revision's code, so the wait of the other tests' encoder is in the loss.
WAIT = """
    import os, pathlib, time
    slow = pathlib.Path(os.environ.get("CARE_TEST_SLOW", "/none"))
    if slow.exists():
        time.sleep(float(slow.read_text()))
"""
REVISIONS = ["HEAD~1", "HEAD"]
SWEEP = {
    "name": NAME,
    "experiment": "experiment.yaml",
    "code": REVISIONS,
    "seeds": 1,
    "tracking": {"models": "none"},
}


def make_repository(folder: Path) -> Path:
    """Two commits that differ in the loss, whose trials wait as the other tests' do."""
    repository = copy_repository(folder)
    text = (repository / LOSS).read_text()
    head, _, body = text.partition("    logits = ")
    assert body
    (repository / LOSS).write_text(f"{head.rstrip()}\n{WAIT}    logits = {body}")
    commit(repository, "slow")
    edit(repository, LOSS, "z @ z.T / temperature", "z @ z.T / temperature * 2")
    commit(repository, "numbers")
    return repository


def declare(folder: Path, gpus: int) -> None:
    experiment = {**EXPERIMENT, "model": TINY["model"]}
    sweep = {**SWEEP, "resources": {"threads": 1, "gpus": gpus}}
    for name, tree in (("experiment", experiment), ("sweep", sweep)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree))


def run_here(repository: Path, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    declare(folder, 0)
    plugins = {"CARE_PLUGINS": ""}
    return start(repository, folder, "sweep", "run", "sweep.yaml", "--no-report", more=plugins)


def test_nodes_train_each_revision_as_this_machine_does(
    cluster: Cluster, pool: Callable[..., Pool], tmp_path: Path
) -> None:
    """Also a trial whose worker is requeued, and one whose process is killed."""
    repository = make_repository(tmp_path / "repository")  # in /tmp, which nodes do not see
    commits = {git(repository, "rev-parse", name) for name in REVISIONS}
    sweep = pool(seeds=1, wait=0.3)  # a step has one pass through the loss
    declare(sweep.folder, 1)
    sweep.environment["PYTHONPATH"] = os.pathsep.join([str(repository), str(PLUGINS)])
    sweep.submit()
    edit(repository, LOSS, "import torch\n", "raise SystemExit('edited code')\n")
    commit(repository, "edited after the submission")
    git(repository, "checkout", "--quiet", "HEAD~1")
    here = run_here(repository, tmp_path / "here")
    trial = sweep.wait_for_training(1)
    worker = wait_until(
        lambda: [job for job, each in sweep.workers().items() if trial.name in each["trials"]],
        what="its worker names the trial",
    )
    cluster.run("scontrol", "requeue", *worker)
    other = sweep.wait_for_training(2)
    holder = sweep.claim(other)
    cluster.on(holder["host"], "kill", "-KILL", str(holder["pid"]))
    output = here.communicate(timeout=240)[0]
    assert here.returncode == 0, output
    sweep.wait_for_end()
    trials = sweep.trials()
    assert len(trials) == 2
    for each in trials:
        assert_equal_to_the_bit(each, tmp_path / "here" / "runs" / "trials" / each.name)
    records = [json.loads((each / "provenance.json").read_text()) for each in trials]
    assert {record["git_commit"] for record in records} == commits
    assert sum(len(sweep.starts(each)) for each in (trial, other)) >= 2 + len({trial, other})
