"""What a machine that wants to join a sweep is asked, before it joins."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from care.errors import CareError, ConfigError
from care.system.claim import Claim
from sweeps.backends.slurm import volunteer
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.code_snapshot import needed_versions
from sweeps.backends.slurm.network import address_towards
from sweeps.backends.slurm.state_files import (
    Head,
    HeadState,
    PoolFolder,
    PoolStatus,
)
from sweeps.cli.worker import worker_command
from sweeps.process.signals import Interrupt
from sweeps.store import Store
from tests.helpers.users import BOB, public_folder
from tests.sweeps.backends.slurm.test_state_files import request
from tests.sweeps.cli.test_list import start


@pytest.fixture
def pool(tmp_path: Path) -> PoolFolder:
    """A submitted sweep whose head runs."""
    return submitted(tmp_path / "runs")


def submitted(root: Path, **changes: Any) -> PoolFolder:
    store = Store(root)
    store.prepare()
    folder = PoolFolder(store, "tiny")
    folder.prepare(request(store=str(folder.store.root), **changes))
    folder.write_head(Head(state=HeadState.RUNNING, address="127.0.0.1:9"))
    return folder


@pytest.fixture
def alive(pool: PoolFolder) -> Iterator[None]:
    """A head that writes its status."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.05):
            status = PoolStatus(
                at=time.time(), counts={}, running=(), metric="m", best=None, seconds_left=None
            )
            pool.write_status(status)

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("alive")
def test_a_head_that_runs_is_joined(pool: PoolFolder) -> None:
    assert volunteer.wait_for_head(pool, pool.request(), Interrupt()) == pool.head()


def test_a_copy_of_the_store_shows_no_life(
    pool: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volunteer, "_ALIVE_SECONDS", 0.5)
    with pytest.raises(CareError, match="was killed, then start another: care sweep submit"):
        volunteer.wait_for_head(pool, pool.request(), Interrupt())


def test_a_sweep_that_has_ended_names_the_command_that_starts_it(pool: PoolFolder) -> None:
    pool.write_head(Head(state=HeadState.ENDED))
    with pytest.raises(CareError, match=r"has ended. Start it, then join: care sweep submit"):
        volunteer.wait_for_head(pool, pool.request(), Interrupt())


def test_a_signal_ends_the_wait_for_a_head(pool: PoolFolder) -> None:
    pool.write_head(Head())
    interrupt = Interrupt()
    interrupt.request()
    assert volunteer.wait_for_head(pool, pool.request(), interrupt) is None


def test_the_store_has_the_path_of_the_submission_perhaps_by_a_link(tmp_path: Path) -> None:
    real = submitted(
        tmp_path / "real",
    )
    elsewhere = tmp_path / "elsewhere"
    real.write_request(real.request().model_copy(update={"store": str(elsewhere)}))
    with pytest.raises(CareError, match=f"no store is there.*ln -s {real.store.root} {elsewhere}"):
        volunteer.find_same_store(real)
    elsewhere.symlink_to(real.store.root)
    assert volunteer.find_same_store(real).path == real.path
    elsewhere.unlink()
    submitted(elsewhere)
    with pytest.raises(CareError, match="another store is there"):
        volunteer.find_same_store(real)
    shutil.rmtree(elsewhere)
    shutil.copytree(real.store.root, elsewhere)  # whose status then shows no life
    assert volunteer.find_same_store(real).path == PoolFolder(Store(elsewhere), "tiny").path


def test_versions_that_differ_are_named() -> None:
    own = needed_versions()
    assert [text.split()[0] for text in own] == ["python", "ray", "torch"]
    volunteer.check_versions(Head(versions=own))
    with pytest.raises(CareError, match=r"Use an environment with ray 1\.0;"):
        volunteer.check_versions(Head(versions=(own[0], "ray 1.0", own[2])))


def test_a_head_that_does_not_answer_is_named_with_its_port() -> None:
    with pytest.raises(CareError, match=r"does not answer at 127\.0\.0\.1, port 9\. "):
        volunteer.check_reachable(Head(address="127.0.0.1:9"))
    assert address_towards("127.0.0.1:9") == "127.0.0.1"


def test_a_shell_outside_of_its_allocation_is_refused() -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n3"}
    with pytest.raises(CareError, match=r"job 7 on n3, .* srun --pty care worker"):
        volunteer.check_place(job)
    volunteer.check_place({**job, "SLURMD_NODENAME": "n3"})
    volunteer.check_place({})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four cores and two GPUs."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sweeps.backends.slurm.allocation.available_cores", lambda: 4)
    monkeypatch.setattr(volunteer, "count_gpus", lambda: 2)


@pytest.mark.usefixtures("machine")
def test_a_machine_offers_what_it_has_or_a_part() -> None:
    with_gpu, without = Head(threads=2, gpus=0.5), Head(threads=2)
    everything = volunteer.offer(with_gpu, None, None)
    assert (everything.cpus, everything.gpus, everything.devices) == (4, 2, {})
    assert str(everything) == "4 cores, 2 GPUs"
    part = volunteer.offer(without, 2, None)
    assert (part.cpus, part.gpus) == (2, 0)
    assert part.devices == {"CUDA_VISIBLE_DEVICES": ""}, "its trials use none of the GPUs"
    assert str(part.part(1, 0)) == "1 core"
    with pytest.raises(ConfigError, match="--cores: got 5; allowed: at most 4"):
        volunteer.offer(without, 5, None)
    with pytest.raises(ConfigError, match="--gpus: got 3; allowed: at most 2"):
        volunteer.offer(with_gpu, None, 3)
    for head, cores, gpus in ((Head(threads=8), None, None), (with_gpu, None, 0)):
        with pytest.raises(CareError, match=r"a trial of this sweep needs .* It has not joined"):
            volunteer.offer(head, cores, gpus)


@pytest.mark.usefixtures("machine")
def test_a_part_is_of_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    given = volunteer.offer(Head(gpus=1.0), None, 1)
    assert (given.gpus, given.devices) == (1, {"CUDA_VISIBLE_DEVICES": "5"})


def test_one_worker_has_a_machine_and_a_second_one_a_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", f"test-{os.getpid()}")  # other tests' workers are elsewhere
    with volunteer.only_worker(whole=True):
        taken = pytest.raises(CareError, match="another worker has this machine already")
        with taken, volunteer.only_worker(whole=True):
            pass
        with volunteer.only_worker(whole=False):
            pass
    with volunteer.only_worker(whole=True):
        pass


def test_a_sweep_of_another_user_is_refused(tmp_path: Path) -> None:
    with public_folder() as public:
        root = public / "runs"
        pool = submitted(root)
        (root / "sweeps" / "tiny" / "sweep.json").write_text("{}")
        public_modes = (root, root / "sweeps", root / "sweeps" / "tiny")
        for folder in public_modes:
            folder.chmod(0o755)
        (root / "store.json").chmod(0o644)
        with BOB.acting(), pytest.raises(CareError, match="Ray's token is theirs alone"):
            worker_command("tiny", root, None, None)
        assert pool.path.stat().st_mode & 0o777 == 0o700


def test_a_run_that_is_not_open_names_the_command_that_opens_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    with pytest.raises(ConfigError, match="sweep: got 'tiny'; allowed: none yet"):
        worker_command("tiny", store.root, None, None)
    start(store, tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        worker_command("tinny", store.root, None, None)
    with pytest.raises(CareError, match=r"does not run. Start it .*: care sweep run .* --open, or"):
        worker_command("tiny", store.root, None, None)
    claim = Claim.take(store.sweep("tiny").path)
    assert claim
    with claim, pytest.raises(CareError, match=r"is run by process \d+ .*for that machine alone"):
        worker_command("tiny", store.root, None, None)


def test_an_allocation_is_written_as_people_say_it() -> None:
    assert str(Allocation(16, 1, None, {})) == "16 cores, 1 GPU"
