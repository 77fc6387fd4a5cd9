"""Who may use a store: modes of all that is written, and two users of one group."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.errors import CareError
from care.system.claim import Claim
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.backends.slurm.state_files import PoolFolder
from sweeps.cli import main
from sweeps.cli.store_access import access_command
from sweeps.disk.access import find_group, set_access
from sweeps.doctor.machine import check_access
from sweeps.plan import make_plan
from sweeps.process.lock import locked
from sweeps.report import write_sweep_report
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.declaring import fabricate
from tests.helpers.small_store import declared, train
from tests.helpers.users import ALICE, BOB, LAB, STRANGER, modes, public_folder
from tests.sweeps.backends.slurm.test_state_files import request


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which root did what other users do later.

    It imports what they need: root's Python may be closed to them.
    """
    folder = tmp_path_factory.mktemp("used")
    store = Store(folder / "runs")
    sweep = declared(folder, store)
    first, *rest = (trial.config for trial in make_plan(sweep, store).trials)
    for config in rest:
        fabricate(store, config, State.FINISHED, 3)
    train(store, first, epochs=1)
    write_sweep_report(sweep, store, if_current=False)
    sync_store(store, None)
    return store


def others(root: Path, group: bool = False) -> dict[str, str]:
    """Files and folders of a tree that others may use, or with ``group`` that its group may."""
    bits = 0o070 if group else 0o007
    return {name: mode for name, mode in modes(root).items() if int(mode, 8) & bits}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_store_is_private_whatever_the_umask(
    folder: Path, tiny_config: TrialConfig, umask: int
) -> None:
    store = Store(folder / "runs")
    with ALICE.acting(umask):
        fabricate(store, tiny_config, State.FINISHED, 3).log("a line")
        path = store.trial("0" * 16).path
        with Claim.take(path) as claim:  # type: ignore[union-attr]
            (path / "evaluation" / "probe").mkdir(parents=True)  # as the evaluation does
            claim.replace(path / "evaluation" / "probe" / "state", b"")
            assert store.root.stat().st_uid == ALICE.uid
            claimed = modes(store.root)
        pool = PoolFolder(store, "tiny")
        pool.prepare(request())
        store.archive(path.name)
    found = claimed | modes(store.root)
    assert {mode for name, mode in found.items() if "." in name[1:] or "claim" in name} >= {"0600"}
    assert set(found.values()) == {"0600", "0700"}, found


@pytest.mark.usefixtures("used")
def test_a_group_shares_all_but_tokens_and_jobs(folder: Path, tiny_config: TrialConfig) -> None:
    store = Store(folder / "runs")
    with ALICE.acting(0o077):
        store.prepare()
        assert not set_access(store, LAB.gr_name).failed
        train(store, tiny_config, epochs=1)
        pool = PoolFolder(store, "tiny")
        pool.prepare(request())
        with locked(store.root / "mlflow.lock"):
            pass
    found = modes(store.root)
    inside = {name: mode for name, mode in found.items() if "/pool" in name}
    assert set(inside.values()) == {"0600", "0700"}
    assert {mode for name, mode in found.items() if name not in inside} == {"0660", "2770"}
    assert {path.stat().st_gid for path in store.trials.rglob("*")} == {LAB.gr_gid}
    with BOB.acting(0o077):  # resumes Alice's trial
        resumed = train(Store(store.root), tiny_config, epochs=2)
        assert [start.epoch for start in resumed.read_starts()] == [0, 1]
        assert [line["epoch"] for line in resumed.read_metrics()] == [1, 2]
        assert pool.foreign
        with pytest.raises(CareError, match="submitted this sweep"):
            PoolFolder(Store(store.root), "tiny").prepare(request())
    with ALICE.acting():
        assert Store(store.root).trial(trial_id(tiny_config)).read_metrics()
        assert store.archive(trial_id(tiny_config)), "what Bob wrote"
    assert not others(store.root)
    with STRANGER.acting(), pytest.raises(CareError, match=r"private to user 60001\. Ask them"):
        Store(store.root)


@pytest.mark.usefixtures("used")
def test_reports_and_runs_are_shared(folder: Path) -> None:
    """What pandas, matplotlib, SQLite and MLflow write has the modes of the store, too."""
    store = Store(folder / "runs")
    with ALICE.acting(0o022):
        sweep = declared(folder, store)
        for trial in make_plan(sweep, store).trials:
            fabricate(store, trial.config, State.FINISHED, 3)
        write_sweep_report(sweep, store, if_current=False)
        sync_store(store, None)
    assert not others(store.root, group=True)
    with ALICE.acting(0o022):
        set_access(store, LAB.gr_name)
        assert not others(store.root)
    with BOB.acting(0o077):
        write_sweep_report(sweep, Store(store.root), if_current=False)
        sync_store(Store(store.root), None)
    found = modes(store.root)
    assert set(found.values()) == {"0660", "2770"}, found


def open_up(root: Path) -> None:
    """Give a store the modes of an earlier version under the usual umask, without a setting."""
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    record = (root / "store.json").read_text().replace('"access": "private",', "")
    (root / "store.json").write_text(record.replace('"access": "private"', '"format": 1'))


def test_a_store_of_an_earlier_version_is_closed_at_the_next_run(
    folder: Path, tiny_config: TrialConfig, log_lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(folder / "runs")
    with ALICE.acting():
        fabricate(store, tiny_config, State.FINISHED, 3)
        PoolFolder(store, "tiny").prepare(request())
        open_up(store.root)
        assert access_command(store.root, None, False) == 1
        assert "open to other users; its next run closes it" in capsys.readouterr().out
        assert [finding.verdict for finding in check_access(store.root)] == ["note"]
        Store(store.root).prepare()
        assert f"{store.root}: was open to other users and is private now" in log_lines[-1]
        PoolFolder(store, "tiny").prepare(request())
        assert access_command(store.root, None, False) == 0
        assert [finding.verdict for finding in check_access(store.root)] == ["ok"]
        before = len(log_lines)
        Store(store.root).prepare()
        assert len(log_lines) == before, "said once"
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert not others(store.root / "sweeps" / "tiny" / "pool", group=True), "kept, not made again"
    with STRANGER.acting(), pytest.raises(CareError, match="private to user"):
        Store(store.root)


def test_a_folder_of_a_group_shares_no_store(folder: Path, tiny_config: TrialConfig) -> None:
    """Neither one that is made in it nor one that lies directly in it beside other things."""
    os.chown(folder, ALICE.uid, LAB.gr_gid)
    folder.chmod(0o2775)
    with ALICE.acting(0o002):
        (folder / "paper.tex").write_text("")
        for root in (folder / "runs", folder):
            fabricate(Store(root), tiny_config, State.FINISHED, 3)
    assert folder.stat().st_mode & 0o7777 == 0o2775, "other things lie there"
    for path in folder.iterdir():
        if path.name != "paper.tex":
            assert not path.stat().st_mode & 0o077, path
    with BOB.acting(), pytest.raises(CareError, match="private to user"):
        Store(folder / "runs")


def test_a_store_behind_a_link_is_changed_as_a_whole(
    folder: Path, tiny_config: TrialConfig
) -> None:
    store = Store(folder / "runs")
    link = folder / "link"
    with ALICE.acting():
        fabricate(store, tiny_config, State.FINISHED, 3)
        link.symlink_to(store.root)
        assert access_command(link, LAB.gr_name, False) == 0
        assert set(modes(store.root).values()) == {"0660", "2770"}
        assert access_command(link, None, True) == 0
    assert set(modes(store.root).values()) == {"0600", "0700"}


def test_what_a_member_planted_is_not_changed(folder: Path, tiny_config: TrialConfig) -> None:
    """Root changes a shared store; links lead to files of others and of root."""
    store, secret = Store(folder / "runs"), folder / "secret"
    hidden = folder / "hidden"
    hidden.mkdir(0o700)
    (hidden / "inner").write_text("")
    (hidden / "inner").chmod(0o600)
    secret.write_text("")
    secret.chmod(0o600)
    with ALICE.acting():
        fabricate(store, tiny_config, State.FINISHED, 3)
        set_access(store, LAB.gr_name)
    os.link(secret, store.trials / "planted")
    (store.trials / "link").symlink_to(secret)
    (store.trials / "links").symlink_to(hidden)
    (store.trials / "ring").symlink_to(store.trials / "ring")
    (store.trials / os.fsdecode(b"\xff\n\x1b[31m")).write_text("")
    os.mkfifo(store.trials / "pipe")
    changes = set_access(store, LAB.gr_name)
    assert [Path(path).name for path in changes.linked] == ["planted"]
    assert not changes.failed
    assert access_command(store.root, None, True) == 1, "not all of it was changed"
    for path, mode in ((secret, 0o600), (hidden, 0o700), (hidden / "inner", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert path.stat().st_gid == 0


def test_only_the_owner_and_members_share(folder: Path, tiny_config: TrialConfig) -> None:
    store = Store(folder / "runs")
    with ALICE.acting():
        fabricate(store, tiny_config, State.FINISHED, 3)
        with pytest.raises(CareError, match=r"--group: got 'daemon'; allowed: a group of yours"):
            find_group("daemon")
        with pytest.raises(CareError, match="did you mean 'users'"):
            set_access(store, "user")
        set_access(store, LAB.gr_name)
    with BOB.acting():
        fabricate(Store(store.root), tiny_config.model_copy(update={"seed": 9}), State.FINISHED, 3)
        with pytest.raises(CareError, match="belongs to user 60001; only they can"):
            set_access(Store(store.root), None)
    with ALICE.acting():
        changes = set_access(store, None)
    assert changes.others[BOB.uid] >= 6
    with BOB.acting(), pytest.raises(CareError, match="private to user 60001"):
        Store(store.root)


def test_permission_errors_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ALICE.acting():
        (folder / "closed").mkdir(0o700)

    def refused(**_: object) -> None:
        with BOB.acting():
            try:
                list((folder / "closed").iterdir())
            except PermissionError as error:
                raise SystemExit(main._explain(error)) from None

    monkeypatch.setattr("sweeps.cli.app.app", refused)
    with pytest.raises(SystemExit) as caught:
        refused()
    assert str(caught.value).startswith(f"{folder / 'closed'}: {folder / 'closed'} is private to")
    (folder / "ring").symlink_to(folder / "ring")
    with pytest.raises(CareError, match="no store can be here"):
        access_command(folder / "ring", None, True)


def test_who_resumes_reads_no_code_of_another_user(folder: Path, tiny_config: TrialConfig) -> None:
    """A checkpoint of another user is data: a pickle with code is set aside, not run."""
    import torch

    store = Store(folder / "runs")
    marker = folder / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {marker}",)

    trained = train(store, tiny_config, epochs=1)
    for path in trained.path.glob("checkpoint-*"):
        torch.save({"epoch": 1, "step": 0, "network": Evil()}, path)
    with Claim.take(trained.path) as claim:  # type: ignore[union-attr]
        run = TrialRun(tiny_config, TrialFolder(trained.path, claim))
        assert run.epoch == 0
    assert not marker.exists()
