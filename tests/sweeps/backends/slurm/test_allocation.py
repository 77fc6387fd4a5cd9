"""What SLURM gave a job, in the words of several sites."""

from __future__ import annotations

import os

import pytest

from sweeps.backends.slurm.allocation import Allocation

CORES = len(os.sched_getaffinity(0))
MIB = 1024**2


@pytest.mark.parametrize(
    ("environment", "gpus", "devices"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, 2, {"CUDA_VISIBLE_DEVICES": "2,3"}),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1a,MIG-2b"}, 2, {"CUDA_VISIBLE_DEVICES": "GPU-1a,MIG-2b"}),
        ({"ROCR_VISIBLE_DEVICES": "1"}, 1, {"HIP_VISIBLE_DEVICES": "1"}),
        (
            {"HIP_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "0,1"},
            2,
            {"HIP_VISIBLE_DEVICES": "0,1"},
        ),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles", "SLURM_GPUS_ON_NODE": "2"}, 2, {}),
        ({"SLURM_JOB_GPUS": "0,3", "SLURM_GPUS_ON_NODE": "2"}, 2, {}),
        ({}, 0, {"CUDA_VISIBLE_DEVICES": ""}),
    ],
)
def test_gpus_are_those_that_slurm_gave(
    environment: dict[str, str], gpus: int, devices: dict[str, str]
) -> None:
    given = Allocation.of_this_job(environment)
    assert (given.gpus, given.devices) == (gpus, devices)


@pytest.mark.parametrize(
    ("environment", "cpus"),
    [
        ({}, CORES),
        ({"SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "64"}, 1),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),
        ({"SLURM_CPUS_PER_TASK": "4096"}, CORES),
    ],
)
def test_cores_are_never_more_than_the_affinity_or_the_job(
    environment: dict[str, str], cpus: int
) -> None:
    assert Allocation.of_this_job(environment).cpus == cpus


@pytest.mark.parametrize(
    ("environment", "megabytes"),
    [
        ({"SLURM_MEM_PER_NODE": "2048"}, 2048),
        ({"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_PER_TASK": "1"}, 1000),
        ({"SLURM_MEM_PER_GPU": "500", "CUDA_VISIBLE_DEVICES": "0,1"}, 1000),
    ],
)
def test_memory_is_the_jobs(environment: dict[str, str], megabytes: int) -> None:
    assert Allocation.of_this_job(environment).memory_bytes == megabytes * MIB
