"""The cluster file: read, and held against what sinfo says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from care.errors import CareError, ConfigError, Problem
from care.system.checkout import CODE
from sweeps.backends.slurm.code_snapshot import check_code
from sweeps.backends.slurm.commands import Partition
from sweeps.backends.slurm.config import ClusterConfig, load_cluster
from sweeps.backends.slurm.job_output import last_error
from sweeps.backends.slurm.validate import check_cluster

Refused = Callable[..., Problem]
PARTITIONS = [
    Partition("cpu", True, True, None, 64, 256_000, 0, (), 10),
    Partition("gpu", False, True, 240, 32, 512_000, 4, ("a100", "nvlink"), 4),
    Partition("gpu", False, True, 240, 48, 256_000, 2, ("v100",), 4),
    Partition("old", False, False, 60, 8, 32_000, 1, (), 1),
]


def written(folder: Path, text: str) -> Path:
    file = folder / "cluster.yaml"
    file.write_text(text)
    return file


def test_the_example_is_valid() -> None:
    cluster = load_cluster(Path("sweeps/clusters/example.yaml"))
    assert (cluster.time, cluster.head.time) == (240, 2880)
    assert cluster.setup == ("module load cuda",)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ('"90"', 90),
        ('"90:30"', 91),
        ('"2:30:00"', 150),
        ('"0:00:30"', 1),
        ('"1-12"', 2160),
        ('"1-12:30"', 2190),
        ('"1-12:30:01"', 2191),
    ],
)
def test_times_are_as_slurm_writes_them(tmp_path: Path, text: str, minutes: int) -> None:
    assert load_cluster(written(tmp_path, f"time: {text}")).time == minutes


@pytest.mark.parametrize(
    "text", ["0", "-5", '"4h"', '"1:2:3:4"', "1.5", "true", '"0:00:00"', "[1]"]
)
def test_other_times_are_refused(refused: Refused, tmp_path: Path, text: str) -> None:
    problem = refused(load_cluster, written(tmp_path, f"time: {text}"))
    assert problem.field == "time"


def test_an_unquoted_time_is_never_taken_for_minutes(tmp_path: Path) -> None:
    """YAML 1.1 reads 4:00:00 as the number 14400."""
    assert load_cluster(written(tmp_path, "time: 4:00:00")).time == 240


@pytest.mark.parametrize(
    ("text", "field", "nearest"),
    [
        ("partitoin: gpu", "partitoin", "partition"),
        ("head: {memory: 4}", "head.memory", "memory_gb"),
        ("gpus: -1", "gpus", None),
        ("cpus: 0", "cpus", None),
        ("scratch: relative", "scratch", None),
        (f"scratch: /{'x' * 40}", "scratch", None),
    ],
)
def test_a_wrong_field_is_named(
    refused: Refused, tmp_path: Path, text: str, field: str, nearest: str | None
) -> None:
    problem = refused(load_cluster, written(tmp_path, text))
    assert (problem.field, problem.nearest) == (field, nearest)


@pytest.mark.parametrize("names", ["gpu,", ",gpu", "gpu,,cpu", "gpu, gpu", ""])
def test_names_of_partitions(refused: Refused, tmp_path: Path, names: str) -> None:
    problem = refused(load_cluster, written(tmp_path, f"partition: {names!r}"))
    assert problem.field == "partition"
    assert "each once" in problem.allowed


def cluster(**fields: Any) -> ClusterConfig:
    return ClusterConfig.model_validate({"partition": "gpu", "gpus": 1, **fields})


def check(config: ClusterConfig) -> None:
    check_cluster(config, PARTITIONS, "mine.yaml")


@pytest.mark.parametrize(
    "fields",
    [
        {"gpus": 4, "cpus": 32},
        {"gpus": 2, "cpus": 48},
        {"constraint": "a100"},
        {"constraint": "a100&nvlink"},
        {"partition": None, "gpus": 0, "time": 100_000},
        {"head": {"partition": "cpu"}, "time": 240},
        {"partition": "cpu, gpu", "gpus": 0, "time": 240},
        {"partition": "old,cpu", "gpus": 0, "time": 60, "cpus": 8, "memory_gb": 4.0},
    ],
)
def test_what_there_is_may_be_asked_for(fields: dict[str, Any]) -> None:
    check(cluster(**{"head": {"partition": "cpu"}, **fields}))


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"partition": "gpus"}, "partition", "cpu, gpu, old"),
        ({"partition": "old"}, "partition", "up"),
        ({"partition": "gpu,cpus"}, "partition", "cpu, gpu, old"),
        ({"partition": "gpu,cpu"}, "gpus", "at most 0, those of a node of partition cpu"),
        ({"partition": "cpu,gpu", "gpus": 0, "time": 300}, "time", "limit of partition gpu"),
        ({"gpus": 8}, "gpus", "at most 4"),
        ({"gpus": 4, "cpus": 40}, "cpus", "at most 32"),
        ({"cpus": 100}, "cpus", "at most 48"),
        ({"memory_gb": 1000.0}, "memory_gb", "at most 500"),
        ({"time": 241}, "time", "at most 240 minutes"),
        ({"constraint": "a1000"}, "constraint", "a100, nvlink, v100"),
        ({"head": {"partition": "cpus"}}, "head.partition", "cpu, gpu, old"),
        ({"head": {"partition": "cpu", "cpus": 65}}, "head.cpus", "at most 64"),
        ({"head": {"time": 300}}, "head.time", "at most 240"),
    ],
)
def test_what_there_is_not_is_refused(
    refused: Refused, fields: dict[str, Any], field: str, allowed: str
) -> None:
    problem = refused(check, cluster(**{"head": {"partition": "cpu"}, **fields}))
    assert problem.field == field
    assert allowed in problem.allowed


def test_a_misspelt_partition_is_guessed(refused: Refused) -> None:
    problem = refused(check, cluster(partition="gqu", head={"partition": "cpu"}))
    assert problem.nearest == "gpu"


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check(cluster(gpus=9, time=999, head={"partition": "none"}))
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["gpus", "time", "head.partition"]


def test_a_worker_asks_sbatch_for_what_its_fields_say() -> None:
    asked = cluster(gpus=2, cpus=8, memory_gb=1.5, constraint="a100").sbatch_options()
    assert asked == {
        "partition": "gpu",
        "constraint": "a100",
        "cpus_per_task": 8,
        "mem": "1536M",
        "gpus_per_node": 2,
    }


def test_the_head_asks_for_no_gpu_and_takes_partition_account_and_qos_from_the_workers() -> None:
    workers = cluster(gpus=2, account="vision", qos="high", head={"qos": "long"})
    assert workers.head_job().sbatch_options() == {
        "partition": "gpu",
        "account": "vision",
        "qos": "long",
        "cpus_per_task": 2,
        "mem": "8192M",
    }
    assert workers.head_job().time == 2880


def test_a_node_imports_from_a_folder_with_a_space(tmp_path: Path) -> None:
    code = tmp_path / "my code"
    code.mkdir()
    (code / "marker.py").touch()
    config = ClusterConfig(setup=("export MODULES=loaded",))
    lines = config.shell_setup(str(code))
    test = f"{config.python_command} -c 'import marker, os; print(os.environ[\"MODULES\"])'"
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, test])], capture_output=True, text=True, check=True
    )
    assert done.stdout == "loaded\n"


def test_a_node_gets_the_plugins_of_the_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the site passes no environment on."""
    monkeypatch.setenv("CARE_PLUGINS", "lab, other.lab")
    lines = ClusterConfig().shell_setup("code")
    done = subprocess.run(
        ["env", "-i", "bash", "-c", "\n".join([*lines, "echo $CARE_PLUGINS"])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "lab,other.lab\n"


def test_the_head_has_a_python_setup_and_srun_of_its_own_or_those_of_the_workers() -> None:
    container = {"python": "apptainer exec care.sif python", "setup": ["a"], "srun": {"x_y": "z"}}
    shared = ClusterConfig.model_validate(container).head_job()
    assert (shared.python, shared.setup) == (container["python"], ("a",))
    assert shared.srun_arguments() == ["--x-y=z"]
    own = ClusterConfig.model_validate(
        {**container, "head": {"python": "/bin/python", "setup": [], "srun": {}}}
    )
    # A request in the store has every field.
    own = ClusterConfig.model_validate_json(own.model_dump_json())
    assert (own.head_job().python, own.head_job().setup) == ("/bin/python", ())
    assert own.head_job().srun_arguments() == []
    assert (own.python, own.setup) == (container["python"], ("a",))


def test_options_of_srun_with_either_hyphen() -> None:
    srun: dict[str, str | int | bool] = {
        "container-image": "a b.sqsh",
        "container_mounts": "/x:/x",
        "exact": True,
        "no": False,
    }
    arguments = ClusterConfig(srun=srun).srun_arguments()
    assert arguments == ["--container-image=a b.sqsh", "--container-mounts=/x:/x", "--exact"]


@pytest.mark.parametrize("text", ["''", "' '", "3", "'python -c \"x'", '"a\\nb"'])
def test_no_command_is_refused_as_python(refused: Refused, tmp_path: Path, text: str) -> None:
    for prefix in ("", "head: "):
        inner = f"python: {text}"
        problem = refused(
            load_cluster, written(tmp_path, f"{prefix}{{{inner}}}" if prefix else inner)
        )
        assert problem.field.endswith("python")
        assert "the command that starts Python" in problem.allowed


def test_code_of_an_image_is_not_taken_for_the_submitted_code(tmp_path: Path) -> None:
    """A container may drop PYTHONPATH."""
    check_code(str(CODE))
    with pytest.raises(CareError, match="keep the variable PYTHONPATH"):
        check_code(str(tmp_path))


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "slurmstepd: error: execve(): /nowhere/python: No such file or directory\n"
            "srun: error: care1: task 0: Exited with exit code 2\n",
            "slurmstepd: error: execve(): /nowhere/python: No such file or directory",
        ),
        ("submitit INFO - Starting\nslurmstepd: error: *** JOB 1 CANCELLED AT 1 ***\n", ""),
        ("Traceback\nImportError: No module named 'care'\nsubmitit ERROR - failed\n",
         "ImportError: No module named 'care'"),
        ("all is well\n", ""),
    ],
)  # fmt: skip
def test_the_reason_in_the_output_of_a_job(tmp_path: Path, output: str, reason: str) -> None:
    assert last_error(tmp_path) == ""
    (tmp_path / "7_0_log.out").write_text(output)
    assert last_error(tmp_path) == (reason and f"{reason} ({tmp_path}/7_0_log.out)")
