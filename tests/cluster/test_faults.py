"""What may happen to a sweep on a cluster. Each ends with every trial finished once, to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.helpers.declaring import WEIGHT
from tests.helpers.pooling import AXES, CLUSTER, NAME, Pool, declare, wait_until
from tests.helpers.serving import Server

MakePool = Callable[..., Pool]
WHOLE_NODE = {"gpus": 2, "cpus": 2}


def kill(cluster: Cluster, pool: Pool, trial: Path, generation: str = "own") -> None:
    """SIGKILL to a trial's process, or to the raylet that started it."""
    holder = pool.claim(trial)
    pid = str(holder["pid"])
    if generation == "raylet":
        parent = cluster.on(holder["host"], "ps", "-o", "ppid=", "-p", pid).strip()
        assert cluster.on(holder["host"], "ps", "-o", "comm=", "-p", parent).strip() == "raylet"
        pid = parent
    cluster.on(holder["host"], "kill", "-KILL", pid)


def kill_head(cluster: Cluster, pool: Pool) -> None:
    """SIGKILL to every process of the head's job, and wait until it is gone."""
    job = pool.head()["job_id"]
    cluster.run("scancel", "--signal=KILL", "--full", job)
    wait_until(lambda: job not in cluster.jobs(), what="the head's job ends")


@pytest.mark.parametrize("whose", ["own", "raylet"])
def test_a_killed_process_costs_an_epoch(
    cluster: Cluster, pool: MakePool, undisturbed: Path, whose: str
) -> None:
    sweep = pool()
    sweep.submit()
    trial = sweep.wait_for_training()
    kill(cluster, sweep, trial, whose)
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial)


def test_an_urgent_job_takes_a_worker_away(
    cluster: Cluster, pool: MakePool, undisturbed: Path
) -> None:
    sweep = pool(**WHOLE_NODE)
    sweep.submit()
    trial = sweep.wait_for_training()
    node = sweep.claim(trial)["host"]
    cluster.run("srun", "--partition=high", "--gpus-per-node=2", f"--nodelist={node}", "true")
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial)


@pytest.mark.long
@pytest.mark.parametrize("verb", ["off", "down"])
def test_a_node_is_lost(cluster: Cluster, pool: MakePool, undisturbed: Path, verb: str) -> None:
    """``down``: SLURM thinks so, though its trials train on. ``off``: they are gone."""
    sweep = pool(**WHOLE_NODE)
    sweep.submit()
    head = wait_until(lambda: sweep.head()["job_id"], what="a head")
    place = cluster.run("squeue", "--noheader", f"--jobs={head}", "--format=%N").strip()
    trial = sweep.wait_for_training(not_on=place)  # losing the head is another test
    cluster.node(verb, sweep.claim(trial)["host"])
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial, interrupted=verb == "off")


@pytest.mark.long
def test_the_wall_time_is_over(cluster: Cluster, pool: MakePool, undisturbed: Path) -> None:
    """A worker of two minutes, too few for trials that wait, queues itself again."""
    sweep = pool(time=2, grace_seconds=30, wait=0.5)
    sweep.submit("1:1")

    def interrupted() -> bool:
        return any(len(sweep.starts(trial)) > 1 for trial in sweep.trials())

    wait_until(interrupted, what="a trial is interrupted")
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    assert len(sweep.workers()) == 1, "the worker was another job"


def test_the_head_is_requeued(cluster: Cluster, pool: MakePool, undisturbed: Path) -> None:
    sweep = pool()
    sweep.submit()
    trial = sweep.wait_for_training()
    workers = set(sweep.workers())
    cluster.run("scontrol", "requeue", sweep.head()["job_id"])
    sweep.wait_for_end()
    assert set(sweep.workers()) == workers, "the workers waited for the new head"
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial)


def test_the_driver_is_killed_and_the_sweep_submitted_again(
    cluster: Cluster, pool: MakePool, undisturbed: Path
) -> None:
    sweep = pool()
    sweep.submit()
    trial = sweep.wait_for_training()
    kill_head(cluster, sweep)
    sweep.submit()
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial)


def test_driver_and_worker_are_killed_at_once(
    cluster: Cluster, pool: MakePool, undisturbed: Path
) -> None:
    sweep = pool(partition="low, high")  # several are as good as one
    sweep.submit()
    trial = sweep.wait_for_training()
    kill(cluster, sweep, trial, "raylet")
    kill_head(cluster, sweep)
    sweep.submit()
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial)


def test_a_worker_never_comes(cluster: Cluster, pool: MakePool, undisturbed: Path) -> None:
    """Of three workers that are wanted two find room; the sweep does not wait for the third."""
    sweep = pool(**{**WHOLE_NODE, "memory_gb": 9})
    sweep.submit("3:3")
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    wait_until(lambda: not cluster.jobs(), what="the job that waited is taken back")


def test_cancelled_and_submitted_again(cluster: Cluster, pool: MakePool, undisturbed: Path) -> None:
    sweep = pool(wait=0.6)  # the commands take less than a trial
    sweep.submit()
    trial = sweep.wait_for_training(1)
    sweep.care("sweep", "hold", NAME, "seed=1")
    wait_until(lambda: sweep.status()["counts"].get("held") == 2, 60, "the head sees who is held")
    said = sweep.care("sweep", "status", NAME)
    assert "2 held; to release them: care sweep release" in said
    remarks = sweep.status()["remarks"]
    assert [line.partition(" by ")[0] for line in remarks] == [
        f"held: λ={weight} seed=1," for weight in AXES[WEIGHT]
    ]
    assert all(line in said for line in remarks)
    sweep.care("sweep", "release", NAME)
    said = sweep.care("sweep", "cancel", NAME)
    assert "To resume: care sweep submit sweep.yaml" in said
    assert "--no-report" in said, "as it was submitted"
    assert cluster.jobs() == []
    assert sweep.status()["active"] is False
    assert json.loads((trial / "status.json").read_text())["state"] == "paused"
    sweep.submit()
    sweep.wait_for_end()
    assert not sweep.report.exists()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial, 1)


def test_submitted_twice_it_runs_once(cluster: Cluster, pool: MakePool, undisturbed: Path) -> None:
    sweep = pool(models="best", database=None)
    sweep.submit(report=True)
    said = sweep.submit("1:1")
    assert "nothing was submitted twice" in said
    assert "workers: 1:1 from now on (were 1:2)" in said
    assert "other trials" not in said
    declaration = (sweep.folder / "sweep.yaml").read_text()
    declare(sweep.folder, NAME, seeds=3)
    assert "It runs other trials than these" in sweep.submit("1:1")
    (sweep.folder / "sweep.yaml").write_text(declaration)
    sweep.wait_for_training()
    heads = [job for job in cluster.run("squeue", "-h", "-o", "%j").split() if job.endswith("head")]
    assert len(heads) == 1
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    assert all(len(sweep.starts(trial)) == 1 for trial in sweep.trials())
    assert sweep.report.exists()
    assert "no trial to run, so nothing was submitted (4 finished)" in sweep.submit()
    assert sweep.status()["active"] is False


def test_the_shared_folder_is_read_only_for_a_while(
    cluster: Cluster, pool: MakePool, undisturbed: Path
) -> None:
    sweep = pool()
    sweep.submit()
    sweep.wait_for_training()
    folder = str(sweep.folder)
    for node in cluster.nodes:
        # A mount that a trial writes through cannot be made read-only; a copy of a read-only one is
        # so from its first moment.
        aside = cluster.on(node, "mktemp", "-d").strip()
        cluster.on(node, "mount", "--bind", folder, aside)
        cluster.on(node, "mount", "-o", "remount,ro,bind", aside)
        cluster.on(node, "mount", "--bind", aside, folder)
        cluster.on(node, "umount", aside)
    time.sleep(20)
    for node in cluster.nodes:
        cluster.on(node, "umount", "--lazy", folder)
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)


def test_of_two_pools_on_one_node_one_ends_and_the_other_lives(
    cluster: Cluster, pool: MakePool, undisturbed: Path
) -> None:
    place = {"options": {"nodelist": cluster.nodes[0]}}
    head = {**CLUSTER["head"], **place}
    first, second = (pool(name, head=head, **place) for name in ("first", "second"))
    first.submit("1:1")
    second.submit("1:1")
    trial = second.wait_for_training()
    first.wait_for_training(1)
    first.care("sweep", "cancel", "first")
    assert second.status()["active"]
    second.wait_for_end()
    second.assert_as_undisturbed(undisturbed)
    assert len(second.starts(trial)) == 1, "the other pool's end disturbed it"
    first.submit("1:1")
    first.wait_for_end()
    first.assert_as_undisturbed(undisturbed)


def test_a_wrong_token_is_refused(cluster: Cluster, pool: MakePool, tmp_path: Path) -> None:
    sweep = pool(seeds=1)
    sweep.submit("1:1")
    sweep.wait_for_training(1)
    wrong = sweep.folder / "wrong-token"
    wrong.write_text("0" * 64)
    assert oct((sweep.pool / "token").stat().st_mode & 0o777) == "0o600"
    script = (
        "import sys; from ray._raylet import GcsClient;"
        "print('nodes', len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)))"
    )
    for token, heard in ((wrong, False), (sweep.pool / "token", True)):
        done = subprocess.run(
            [sys.executable, "-c", script, sweep.head()["address"]],
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ("nodes 2" in done.stdout) == heard, done.stdout + done.stderr
        assert ("uthenticat" in done.stderr) != heard, done.stderr
    sweep.wait_for_end()


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> Iterator[Server]:
    """An MLflow server that the nodes reach."""
    made = Server(tmp_path, cluster.login_address)
    made.start()
    yield made
    made.stop()


def test_the_mlflow_server_is_away_for_a_while(
    pool: MakePool, undisturbed: Path, server: Server, tmp_path: Path
) -> None:
    sweep = pool()
    sweep.submit("1:2", "--tracking-uri", server.uri)
    sweep.wait_for_training(1)
    server.stop()
    sweep.wait_for_training(2)
    server.start()
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed, f"sqlite:///{tmp_path}/server.db")
