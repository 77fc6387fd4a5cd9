"""The test cluster itself: what the other tests here take for granted, and that it leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.helpers.paths import ROOT
from tests.helpers.pooling import wait_until

SCRIPT = ROOT / "docker" / "slurm" / "cluster"
# Name of a cluster beside the one that the session uses, for each of pytest's processes.
OTHER = "other" + chr(ord("a") + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))
OTHER_STATE = Path(f"/var/lib/{OTHER}-slurm")


@pytest.fixture(autouse=True)
def cleared(cluster: Cluster) -> Iterator[None]:
    """After each test no job is left and every node is up."""
    yield
    cluster.clear()


@pytest.fixture
def folder(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """A folder of this test's own that every node sees."""
    made = cluster.shared / tmp_path.name
    made.mkdir()
    yield made
    shutil.rmtree(made)


def submit(cluster: Cluster, script: str, *options: str, folder: Path) -> str:
    """Submit a batch job; its number."""
    file = folder / "job.sh"
    file.write_text(f"#!/bin/bash\n{script}\n")
    where = (f"--chdir={folder}", f"--output={folder}/job-%j.out", "--open-mode=append")
    return cluster.run("sbatch", "--parsable", *where, *options, str(file)).strip()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def node_states(cluster: Cluster) -> dict[str, str]:
    listed = cluster.run("sinfo", "--noheader", "--Node", "--partition=low", "--format=%N %T")
    return dict(line.split() for line in listed.splitlines())


def test_nodes_are_machines_of_their_own(cluster: Cluster) -> None:
    assert set(node_states(cluster).values()) == {"idle"}
    assert len(cluster.nodes) >= 2
    assert [cluster.on(node, "hostname").strip() for node in cluster.nodes] == [*cluster.nodes]
    addresses = [
        cluster.on(node, "hostname", "--all-ip-addresses").strip() for node in cluster.nodes
    ]
    assert len(set(addresses)) == len(addresses)
    file = f"only-here-{uuid.uuid4().hex}"
    for private in ("/tmp", "/dev/shm"):
        cluster.on(cluster.nodes[0], "touch", f"{private}/{file}")
        assert file in cluster.on(cluster.nodes[0], "ls", private)
        assert file not in cluster.on(cluster.nodes[1], "ls", private)
        assert not Path(private, file).exists()
    holder = cluster.on(cluster.nodes[0], "sh", "-c", "cat /proc/1/cmdline")
    assert cluster.nodes[0] in holder, "processes are numbered from 1, for each node"


def test_nodes_share_the_folder_and_the_repository_and_reach_each_other(
    cluster: Cluster, folder: Path
) -> None:
    (folder / "seen").write_text("by all")
    for node in cluster.nodes:
        assert cluster.on(node, "cat", str(folder / "seen")) == "by all"
        assert cluster.on(node, "cat", __file__) == Path(__file__).read_text()
    for node, peer in [cluster.nodes[:2], cluster.nodes[1::-1]]:
        answer = cluster.on(
            node, "timeout", "5", "bash", "-c", f"</dev/tcp/{peer}/16818 && echo yes"
        )
        assert answer == "yes\n"


def test_jobs_of_one_node_get_a_stand_in_gpu_each(cluster: Cluster, folder: Path) -> None:
    script = "echo $(hostname) $CUDA_VISIBLE_DEVICES $SLURM_CPUS_ON_NODE; sleep 4"
    asked = [
        submit(
            cluster,
            script,
            f"--nodelist={node}",
            "--gres=gpu:1",
            "--cpus-per-task=2",
            folder=folder,
        )
        for node in cluster.nodes[:2]
        for _ in range(2)
    ]
    wait_until(lambda: all(lines(folder / f"job-{job}.out") for job in asked), what="jobs run")
    said = sorted(lines(folder / f"job-{job}.out")[0] for job in asked)
    assert said == [f"{node} {gpu} 2" for node in sorted(cluster.nodes[:2]) for gpu in (0, 1)]


def test_an_urgent_job_sends_a_job_back_into_the_queue(cluster: Cluster, folder: Path) -> None:
    script = """
        trap 'echo told; exit' TERM
        echo started ${SLURM_RESTART_COUNT:-0}
        [[ ${SLURM_RESTART_COUNT:-0} == 1 ]] || while :; do sleep 0.1; done
    """
    node = cluster.nodes[0]
    job = submit(cluster, script, f"--nodelist={node}", "--gres=gpu:2", folder=folder)
    output = folder / f"job-{job}.out"
    wait_until(lambda: lines(output) == ["started 0"], what="the job runs")
    urgent = ("--partition=high", f"--nodelist={node}", "--gres=gpu:2")
    submit(cluster, "echo urgent", *urgent, folder=folder)
    wait_until(lambda: "started 1" in lines(output), what="the job runs again")
    own = [line for line in lines(output) if line.split()[0] in ("started", "told")]
    assert own == ["started 0", "told", "started 1"]


def test_jobs_of_a_lost_node_run_on_another(cluster: Cluster, folder: Path) -> None:
    job = submit(cluster, "hostname; sleep 600", folder=folder)
    output = folder / f"job-{job}.out"
    wait_until(lambda: lines(output), what="the job runs")
    lost = lines(output)[0]
    cluster.on(lost, "touch", "/tmp/before")
    cluster.node("off", lost)
    cluster.run(str(SCRIPT), "status")  # up all the same: what brings it up must not begin anew
    wait_until(lambda: lines(output)[-1] != lost, what="the job runs on another node")
    assert lines(output)[-1] in cluster.nodes
    cluster.node("up", lost)
    wait_until(lambda: node_states(cluster)[lost] == "idle", what="the node is back")
    assert "before" not in cluster.on(lost, "ls", "/tmp")


def test_a_node_without_slurmd_keeps_its_processes(cluster: Cluster, folder: Path) -> None:
    job = submit(cluster, "hostname; exec sleep 601", folder=folder)
    wait_until(lambda: lines(folder / f"job-{job}.out"), what="the job runs")
    node = lines(folder / f"job-{job}.out")[0]
    cluster.node("down", node)
    found = cluster.run(str(SCRIPT), "ps", node)
    assert "sleep 601" in found
    assert "slurmd -N" not in found
    wait_until(lambda: node_states(cluster)[node].startswith("down"), what="SLURM misses the node")
    cluster.node("up", node)
    wait_until(lambda: node_states(cluster)[node] == "idle", what="the node is back")
    assert "sleep 601" not in cluster.run(str(SCRIPT), "ps", node), (
        "the job is not the node's any more"
    )


def other(*arguments: str, check: bool = True, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the script for a cluster of another name."""
    environment = {**os.environ, "CARE_SLURM_NAME": OTHER, **changes}
    return subprocess.run(
        [SCRIPT, *arguments], env=environment, check=check, capture_output=True, text=True,
        timeout=180,
    )  # fmt: skip


def traces() -> dict[str, set[str]]:
    """What a cluster could leave on this machine; namespaces stand for the processes in them."""
    namespaces = set()
    for kind in ("net", "pid", "mnt", "uts", "ipc"):
        for link in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
            try:
                namespaces.add(str(link.readlink()))
            except OSError:
                continue  # has ended meanwhile
    return {
        "namespaces": namespaces,
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "routes": set(lines(Path("/proc/net/route"))),
        "mounts": {line.split()[4] for line in lines(Path("/proc/self/mountinfo"))},
        "hosts": set(lines(Path("/etc/hosts"))),
        "files": {
            str(path)
            for top in ("/var/lib", "/run", "/tmp", "/etc")
            for path in Path(top).iterdir()
        },
    }


def assert_nothing_new(before: dict[str, set[str]]) -> None:
    # The session's own temporary files come and go.
    wait_until(
        lambda: not [new for kind, found in traces().items() for new in found - before[kind]],
        seconds=20,
        what=str({kind: found - before[kind] for kind, found in traces().items()}),
    )


@pytest.fixture
def other_ended() -> Iterator[None]:
    yield
    other("down")


@pytest.mark.alone
@pytest.mark.usefixtures("other_ended")
def test_down_leaves_nothing_and_is_quiet_the_second_time() -> None:
    before = traces()
    other("up", "--nodes", "3")
    assert "is up already" in other("up").stderr
    assert f"{OTHER}[1-3]" in other("status").stdout
    conf = {**os.environ, "SLURM_CONF": str(OTHER_STATE / "slurm.conf")}
    daemon = "setsid sleep 602 & sleep 603"  # a job that leaves its session
    subprocess.run(["sbatch", "--output=/dev/null", f"--wrap={daemon}"], env=conf, check=True)
    wait_until(lambda: "sleep 603" in other("ps", f"{OTHER}1").stdout, what="the job runs")
    assert traces()["links"] > before["links"]
    assert traces()["namespaces"] > before["namespaces"]
    other("down")
    assert_nothing_new(before)
    again = other("down")
    assert again.stdout + again.stderr == ""


@pytest.mark.alone
@pytest.mark.usefixtures("other_ended")
@pytest.mark.parametrize("then", ["down", "up"])
def test_a_start_that_was_killed_is_cleaned_up(then: str) -> None:
    before = traces()
    environment = {**os.environ, "CARE_SLURM_NAME": OTHER}
    starting = subprocess.Popen(
        [SCRIPT, "up", "--nodes", "9"], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: (OTHER_STATE / "run" / f"{OTHER}2.pid").exists(), what="some machines run")
    os.killpg(starting.pid, signal.SIGKILL)
    starting.wait()
    assert other("status", check=False).returncode == 1
    other(then)
    if then == "up":
        assert f"{OTHER}[1-2]" in other("status").stdout
        other("down")
    assert_nothing_new(before)


@pytest.mark.alone
@pytest.mark.usefixtures("other_ended")
@pytest.mark.parametrize("code", [0, 7])
def test_run_gives_its_commands_exit_status_and_takes_the_cluster_down(code: int) -> None:
    before = traces()
    ran = other(
        "run", "--nodes", "1", "--", "sh", "-c", f"sinfo --noheader; exit {code}", check=False
    )
    assert ran.returncode == code, ran.stderr
    assert f"{OTHER}1" in ran.stdout
    assert_nothing_new(before)


def test_clusters_of_two_names_do_not_meet(cluster: Cluster) -> None:
    in_use = str(cluster.environment["SLURM_CONF"])
    ran = other(
        "run", "--", "bash", "-c", f"echo $SLURM_CONF; SLURM_CONF={in_use} sinfo --noheader"
    )
    assert ran.stdout.splitlines()[0] == str(OTHER_STATE / "slurm.conf")
    assert OTHER not in "".join(ran.stdout.splitlines()[1:])
    assert set(node_states(cluster).values()) == {"idle"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--nodes", "0"], "--nodes 0: allowed is 1 to 64"),
        (["up", "--nodes", "many"], "--nodes many: allowed is 1 to 64"),
        (["ps", "nowhere"], "no node 'nowhere'"),
        (["start"], "no command start"),
        (["run", "sinfo"], "run needs -- CMD"),
    ],
)
def test_what_the_script_refuses(arguments: list[str], said: str) -> None:
    refused = other(*arguments, check=False)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert not OTHER_STATE.exists()


def test_it_has_to_be_root(folder: Path) -> None:
    script = shutil.copy(SCRIPT, folder)  # the repository may be in a folder of root's own
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    refused = subprocess.run([*nobody, script, "up"], capture_output=True, text=True, timeout=30)
    assert refused.returncode == 1
    assert "need root" in refused.stderr
