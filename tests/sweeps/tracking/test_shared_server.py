"""A real MLflow server that users share: no store changes the runs of another one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import care
from care.config import TrialConfig
from care.errors import CareError, ConfigError
from care.system.git import git_state
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import SweepRecord
from care.trials.state import State
from sweeps.store import Store
from sweeps.tracking import BackgroundSync, MlflowSync
from sweeps.tracking.register import register
from sweeps.tracking.server import serve
from sweeps.tracking.source_tags import command_line, source_tags, user_name
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.declaring import WEIGHT, load
from tests.helpers.exporting import export_here
from tests.helpers.reviewing import start_sweep
from tests.helpers.serving import Proxy, Server
from tests.helpers.tracked import (
    LABEL,
    begin,
    dump,
    finish,
    open_mlflow,
    run_ids,
    seen,
    sync,
    write_epochs,
)

NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "server.db")
    made = Server(folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server)
    yield made
    made.stop()


@pytest.fixture
def folder(tmp_path: Path, tiny_config: TrialConfig) -> TrialFolder:
    """A's trial, paused."""
    return begin(tmp_path / "a", tiny_config)


def test_two_users_with_one_configuration_and_one_name(
    folder: TrialFolder, tmp_path: Path, tiny_config: TrialConfig, server: Server
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    page = tmp_path / "report.html"
    finish(folder)
    sync(a, folder, uri=server.uri)
    page.write_text("of A")
    MlflowSync(a, server.uri).attach("s", [page])
    before, ids = dump(a, server.uri), run_ids(a, server.uri)

    theirs = begin(b, tiny_config)
    sync(b, theirs, uri=server.uri)
    page.write_text("of B")
    MlflowSync(b, server.uri).attach("s", [page])
    shutil.rmtree(theirs.path)  # a rerun replaces B's run, not A's
    sync(b, begin(b, tiny_config), uri=server.uri)

    assert dump(a, server.uri) == before
    assert run_ids(a, server.uri) == ids
    assert len(before) == 2
    parent, trial = dump(b, server.uri)
    assert (parent["name"], trial["name"], trial["parent"]) == ("s", LABEL, "s")
    assert [row[:2] for row in trial["metrics"]["train/loss"]] == [(1.0, 1), (0.5, 2)]
    client, _ = open_mlflow(a, server.uri)
    reports = [
        Path(client.download_artifacts(run_ids(store, server.uri)["s"], "report/report.html"))
        for store in (a, b)
    ]
    assert [path.read_text() for path in reports] == ["of A", "of B"]


def test_runs_without_a_store_are_left_alone(
    folder: TrialFolder, tmp_path: Path, server: Server
) -> None:
    """As an older version wrote them, or a user by hand."""
    store = tmp_path / "a"
    client, experiment = open_mlflow(store, server.uri)
    tags = {"trial_id": folder.trial_id, "care.kind": "trial", "care.created": "long ago"}
    run = client.create_run(experiment, tags=tags)
    before = client.get_run(run.info.run_id).to_dictionary()
    sync(store, folder, uri=server.uri)
    assert client.get_run(run.info.run_id).to_dictionary() == before


@pytest.fixture
def declared(tmp_path: Path) -> tuple[Store, TrialFolder]:
    """A store with a sweep of one trial, finished, and its report."""
    sweep = load(tmp_path, axes={WEIGHT: [0.1]}, seeds=1, description="What λ does.")
    store = Store(tmp_path / "runs")
    (point,) = sweep.spec.axes[WEIGHT]
    config = sweep.trial({WEIGHT: point}, 0)
    folder = begin(store.root, config, trial_id(config))
    finish(folder)
    store.prepare()
    declaration = SweepRecord(
        spec=sweep.spec.model_dump(mode="json"),
        base=sweep.base_config().model_dump(mode="json"),
        paper=sweep.paper_config().model_dump(mode="json"),
        file="sweep.yaml",
        user=user_name(),
        command=command_line(),
        git_commit=git_state()["git_commit"],
    )
    store.sweep("tiny").write(declaration)
    store.sweep("tiny").report.mkdir()
    (store.sweep("tiny").report / "report.html").write_text("<p>")
    return store, folder


def test_synced_twice_nothing_is_written(declared: tuple[Store, TrialFolder], proxy: Proxy) -> None:
    store, folder = declared
    assert sync_store(store, proxy.uri).trials == 1
    assert proxy.writes()
    proxy.requests.clear()
    assert sync_store(store, proxy.uri).trials == 1
    assert proxy.writes() == []
    folder.write_status(State.FINISHED, 3, 3)
    sync_store(store, proxy.uri)
    assert proxy.writes(), "the trial had changed"
    assert [run["name"] for run in dump(store.root, proxy.uri)] == ["tiny", LABEL]


def test_one_damaged_trial_or_sweep_does_not_stop_the_others(
    declared: tuple[Store, TrialFolder], server: Server
) -> None:
    store, folder = declared
    sync_store(store, server.uri)
    (store.root / "sweeps" / "a").mkdir()
    (store.root / "sweeps" / "a" / "sweep.json").write_text("{}")
    (folder.path / "metrics.jsonl").rename(folder.path / "aside")
    (folder.path / "metrics.jsonl").mkdir()
    synced = sync_store(store, server.uri)
    assert (synced.sweeps, synced.trials) == (1, 1)
    assert any("sweep a is left out" in line for line in synced.left_out)
    assert any(f"{folder.path} is damaged: " in line for line in synced.left_out)
    trial = dump(store.root, server.uri)[1]
    assert (trial["status"], trial["tags"]["state"]) == ("FAILED", "damaged")
    assert "metrics.jsonl" in trial["tags"]["error"]
    assert sync_store(store, server.uri) == synced, "as long as it is so"
    (folder.path / "metrics.jsonl").rmdir()
    (folder.path / "aside").rename(folder.path / "metrics.jsonl")
    assert len(sync_store(store, server.uri).left_out) == 1
    healed = dump(store.root, server.uri)[1]
    assert (healed["status"], healed["tags"]["state"]) == ("FINISHED", "finished")
    assert "error" not in healed["tags"]


def test_a_reviewers_note_is_kept(folder: TrialFolder, tmp_path: Path, server: Server) -> None:
    store = tmp_path / "a"
    client, _ = open_mlflow(store, server.uri)

    def note() -> Any:
        return dump(store, server.uri)[0]["tags"][NOTE]

    projection = MlflowSync(store, server.uri)
    projection.sync_sweep("s", "first")
    projection.sync_sweep("s", "second")
    assert note() == "second", "no user had edited it"
    client.set_tag(run_ids(store, server.uri)["s"], NOTE, "second, but seed 3 looks odd")
    projection.sync_sweep("s", "third")
    MlflowSync(store, server.uri).sync_sweep("s", "fourth", State.FINISHED)
    assert note() == "second, but seed 3 looks odd"
    client.delete_tag(run_ids(store, server.uri)["s"], NOTE)
    MlflowSync(store, server.uri).sync_sweep("s", "fifth")
    assert note() == "fifth"


@pytest.mark.parametrize("name", ["s", LABEL])
def test_a_run_that_a_reviewer_deleted_stays_deleted(
    folder: TrialFolder, tmp_path: Path, server: Server, name: str
) -> None:
    store = tmp_path / "a"
    projection = MlflowSync(store, server.uri)
    projection.sync_sweep("s", "what it is")
    projection.sync_trial(seen(folder), "s")
    client, _ = open_mlflow(store, server.uri)
    ids = run_ids(store, server.uri)
    client.delete_run(ids[name])
    finish(folder)
    projection.sync_sweep("s", "what it is", State.FINISHED)  # knows the run
    projection.sync_trial(seen(folder), "s")
    projection.confirm("s", [seen(folder)])
    sync(store, folder, uri=server.uri)  # as another process
    assert run_ids(store, server.uri) == {other: ids[other] for other in ids if other != name}
    client.restore_run(ids[name])
    sync(store, folder, uri=server.uri)
    assert run_ids(store, server.uri) == ids
    trial = dump(store, server.uri)[1]
    assert (trial["status"], len(trial["metrics"]["train/loss"])) == ("FINISHED", 3)


@pytest.mark.parametrize("status", [500, 403, 429])
def test_a_server_that_refuses_for_a_while(
    folder: TrialFolder,
    tmp_path: Path,
    proxy: Proxy,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    log_lines: list[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store, uri = tmp_path / "a", proxy.uri.replace("://", "://me:hunter2@")
    projection = MlflowSync(store, uri)
    tracker = BackgroundSync(lambda _: projection.sync_trial(seen(folder), "s"))
    proxy.status = status
    tracker.touch("trial")
    tracker.start()
    while not log_lines:
        tracker._thread.join(0.05)
    write_epochs(folder, 3, 3)
    folder.write_status(State.PAUSED, 3, 3)
    tracker.touch("trial")
    proxy.status = 200
    assert tracker.close(60)
    assert len(log_lines) == 2
    assert log_lines[0].startswith("MLflow cannot be written (")
    assert "\n" not in log_lines[0]
    assert log_lines[1] == "MLflow is back; it is being brought up to date."
    assert len(dump(store, uri)[1]["metrics"]["train/loss"]) == 3
    printed = capfd.readouterr()
    shown = [*log_lines, printed.out, printed.err, str(dump(store, uri))]
    assert not any("hunter2" in text for text in shown)
    assert printed.err == ""


def test_a_command_as_typed_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://me:hunter2@server:5000"
    arguments = ["/bin/care", "sweep", "run", "my sweep.yaml", f"--tracking-uri={uri}"]
    monkeypatch.setattr(sys, "argv", arguments)
    command = "care sweep run 'my sweep.yaml' --tracking-uri=http://***@server:5000"
    assert command_line() == command
    declaration = SweepRecord(
        spec={}, base={}, file="sweeps/my sweep.yaml", command=command, git_commit="a" * 40
    )
    assert source_tags(declaration) == {
        "mlflow.source.name": "sweeps/my sweep.yaml",
        "care.command": command,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "a" * 40,
    }


def test_a_user_whom_the_system_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)
    assert user_name() == "uid 987654"
    monkeypatch.setenv("LOGNAME", "ada")
    assert user_name() == "ada"


def test_the_page_of_a_server_is_its_own(
    folder: TrialFolder, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "a"
    sync(store, folder, uri=server.uri)
    _, experiment = open_mlflow(store, server.uri)
    before = set(store.rglob("*"))
    uri = server.uri.replace("://", "://me:hunter2@")
    assert serve(Store(store), "127.0.0.1", 5000, uri) == 0
    output = capsys.readouterr().out
    assert "no page is served here" in output
    page = f"{server.uri}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert f"table of runs  {page}" in output
    assert "hunter2" not in output
    assert set(store.rglob("*")) == before, "no empty database beside it"


def test_the_page_of_a_server_that_is_away(folder: TrialFolder, tmp_path: Path) -> None:
    assert folder.path.exists()
    with pytest.raises(CareError, match=r"^http://\*\*\*@127\.0\.0\.1:9: MLflow does not answer"):
        serve(Store(tmp_path / "a"), "127.0.0.1", 5000, "http://me:hunter2@127.0.0.1:9")


def test_the_best_encoder_is_on_the_server_and_loads_from_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_here(monkeypatch)
    store, _ = start_sweep(tmp_path, [0, 0.1], 1, weights_files=True, tracking=None)
    sync_store(store, server.uri)
    made = register(
        store, next(iter(best_trials(store, server.uri))), "on-server", "best", server.uri
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    expected = care.load(made.trial, store=store.root).encode(images)
    assert torch.equal(care.load("models:/on-server@best").encode(images), expected)
    with pytest.raises(ConfigError, match="models:/on-server@best"):
        care.load("models:/on-server@bset")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(
        CareError, match=r"^http://\*\*\*@127\.0\.0\.1:9: MLflow does not give models:/a@b"
    ):
        care.load("models:/a@b")


def best_trials(store: Store, uri: str) -> set[str]:
    """The trials whose encoders MLflow has."""
    client, experiment = open_mlflow(store.root, uri)
    models = client.search_logged_models([experiment])
    return {model.tags["trial_id"] for model in models if str(model.status) == "READY"}


def test_a_server_without_a_storage_gets_the_numbers(
    tmp_path: Path, empty_database: Path, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    export_here(monkeypatch)
    shutil.copy(empty_database, tmp_path / "server.db")
    server = Server(tmp_path, artifacts="s3://no-such-bucket/care")
    server.start()
    try:
        store, _ = start_sweep(tmp_path, [0, 0.1], 1, weights_files=True, tracking=None)
        sync_store(store, server.uri)
        runs = dump(store.root, server.uri)
        assert best_trials(store, server.uri) == set()
    finally:
        server.stop()
    assert [run["status"] for run in runs] == ["FINISHED"] * 3
    assert all(run["metrics"] for run in runs)
    (line,) = [line for line in log_lines if "storage" in line]
    assert line.startswith("MLflow gets numbers but no files: its storage fails (")
