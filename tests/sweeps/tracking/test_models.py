"""The encoders of trials as models in MLflow: exact, idempotent, and loaded to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

import care
from care.errors import CareError, ConfigError
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.state import State
from sweeps.disk.delete import Deleter, plan_deletion
from sweeps.plan import make_plan
from sweeps.progress import Board
from sweeps.store import Store
from sweeps.tracking.encoder_export import EncoderExporter, NoEncoderError
from sweeps.tracking.register import register
from sweeps.tracking.sweep_sync import SweepSync, sync_store
from tests.helpers.exporting import export_here
from tests.helpers.reviewing import start_sweep
from tests.helpers.tracked import copy_database, open_mlflow, run_ids

WEIGHTS = [0, 0.1]
VARYING = ("care.store", "care.note", "mlflow.note.content")  # with the id of the model
BEST = "λ=0.1 seed=0"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports without the start of a process."""
    export_here(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    copy_database(empty_database, tmp_path / "runs")
    return tmp_path


def start(folder: Path, models: str = "", weights: list[float] = WEIGHTS) -> Store:
    tracking = {"models": models} if models else None  # the default
    return start_sweep(folder, weights, 2, weights_files=True, tracking=tracking)[0]


def make_stale(trial: TrialFolder) -> None:
    """Let other code have trained a trial."""
    provenance = trial.read_provenance()
    assert provenance
    trial.write_provenance(provenance.model_copy(update={"code_version": "older"}))
    trial.write_status(State.FINISHED, 3, 3)


def trial_of(store: Store, label: str) -> str:
    client, _ = open_mlflow(store.root)
    tags = client.get_run(run_ids(store.root)[label]).data.tags
    return str(tags["trial_id"])


def models(store: Store) -> dict[str, dict[str, Any]]:
    """What MLflow shows of the models, by the name of the run of their trial."""
    client, experiment = open_mlflow(store.root)
    found = {}
    for model in client.search_logged_models([experiment]):
        run = client.get_run(model.source_run_id)
        files = store.root / "mlflow-artifacts" / "models" / model.model_id / "artifacts"
        listed = [one.model_id for one in run.outputs.model_outputs]
        assert listed.count(model.model_id) == 1, "the trial's run lists it once"
        found[run.info.run_name] = {
            "name": model.name,
            "status": str(model.status),
            "params": model.params,
            "tags": {name: tag for name, tag in model.tags.items() if name not in VARYING},
            "metrics": sorted(
                (one.key, one.value, one.step, one.dataset_digest) for one in model.metrics
            ),
            "files": sorted(file.name for file in files.glob("*")),
        }
    return found


def addresses(store: Store) -> dict[str, str]:
    client, experiment = open_mlflow(store.root)
    return {
        client.get_run(model.source_run_id).info.run_name: f"models:/{model.model_id}"
        for model in client.search_logged_models([experiment])
    }


def folders(store: Store) -> set[str]:
    return {one.name for one in (store.root / "mlflow-artifacts" / "models").iterdir()}


def test_the_best_trial_has_a_model_that_loads_to_the_bit(folder: Path) -> None:
    """With the process that exports in a sweep."""
    store = start(folder)
    sync_store(store, None)
    (name, model), *others = models(store).items()
    assert name == "λ=0.1 seed=0"
    assert not others
    trial = trial_of(store, name)
    assert model["status"] == "READY"
    assert model["name"] == f"tiny-{trial[:8]}"
    assert model["params"] == {"λ": "0.1", "τ": "0.5", "seed": "0"}
    provenance = store.trial(trial).read_provenance()
    assert provenance
    assert ("head/gamma", 0.4, 3, provenance.data["data"][:36]) in model["metrics"]
    assert model["files"] == ["README.md", "config.json", "model.safetensors"]
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    direct = care.load(trial, store=store.root)
    logged = care.load(addresses(store)[name], store=store.root)
    assert logged.origin == direct.origin
    assert torch.equal(logged.encode(images), direct.encode(images))
    assert torch.equal(logged.project(images), direct.project(images))


@pytest.mark.usefixtures("quick")
def test_a_second_sync_changes_nothing_and_a_better_trial_replaces_the_best(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    before = addresses(store)
    sync_store(store, None)
    assert addresses(store) == before
    start(folder, weights=[*WEIGHTS, 0.3])
    sync_store(store, None)
    assert list(models(store)) == ["λ=0.3 seed=0"]
    assert folders(store) == {one.removeprefix("models:/") for one in addresses(store).values()}


@pytest.mark.usefixtures("quick")
def test_all_best_and_none(folder: Path) -> None:
    store = start(folder, "all")
    sync_store(store, None)
    every = models(store)
    assert len(every) == 4
    start(folder, "best")
    sync_store(store, None)
    assert models(store) == {BEST: every[BEST]}
    start(folder, "none")
    sync_store(store, None)
    assert models(store) == {}
    assert folders(store) == set()


WRITES = [
    "create_logged_model",
    "log_outputs",
    "log_batch",
    "set_logged_model_tags",
    "finalize_logged_model",
]


def crash_after(write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a write of MLflow's client be the last thing that a process does."""
    method = getattr(MlflowClient, write)

    def crash(*arguments: Any, **named: Any) -> None:
        method(*arguments, **named)
        raise RuntimeError("KILLED")

    monkeypatch.setattr(MlflowClient, write, crash)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("write", WRITES)
def test_a_crash_after_any_write_is_repaired_by_the_next_sync(
    folder: Path, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = start(folder, "none", [0.1])
    sync_store(store, None)
    start(folder, "all", [0.1])
    with monkeypatch.context() as broken:
        crash_after(write, broken)
        with pytest.raises(CareError, match="KILLED"):
            sync_store(store, None)
    sync_store(store, None)
    repaired = models(store)
    assert len(repaired) == len(folders(store)) == 2
    (store.root / "mlflow.db").unlink()
    sync_store(store, None)
    assert models(store) == repaired, "as built from nothing"


@pytest.mark.usefixtures("quick")
def test_a_crash_after_a_deletion_is_repaired_by_the_next_sync(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = start(folder, "all", [0.1])
    sync_store(store, None)
    start(folder, "none", [0.1])
    with monkeypatch.context() as broken:
        crash_after("delete_logged_model", broken)
        with pytest.raises(CareError, match="KILLED"):
            sync_store(store, None)
    sync_store(store, None)
    assert models(store) == {}
    assert folders(store) == set()


@pytest.mark.usefixtures("quick")
def test_a_lost_database_is_rebuilt_and_leaves_no_files_behind(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    before = models(store)
    (store.root / "mlflow.db").unlink()
    sync_store(store, None)
    assert models(store) == before
    assert len(folders(store)) == 1


@pytest.mark.usefixtures("quick")
def test_lost_files_are_written_again_and_no_weights_mean_no_model(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    before = models(store)
    shutil.rmtree(store.root / "mlflow-artifacts" / "models")
    with pytest.raises(CareError, match="care track sync"):
        care.load(addresses(store)[BEST], store=store.root)
    sync_store(store, None)
    assert models(store) == before
    for checkpoint in store.trials.glob("*/checkpoint-*"):
        checkpoint.unlink()
    sync_store(store, None)
    assert models(store) == before, "what MLflow has, stays"
    (store.root / "mlflow.db").unlink()
    sync_store(store, None)
    assert models(store) == {}


@pytest.mark.usefixtures("quick")
def test_a_deleted_trial_and_a_deleted_sweep_lose_their_models(folder: Path) -> None:
    store = start(folder, "all")
    sync_store(store, None)
    Deleter(store).delete(plan_deletion(trial_of(store, BEST), store))
    sync_store(store, None)
    assert BEST not in models(store)
    assert len(folders(store)) == 3
    Deleter(store).delete(plan_deletion("tiny", store))
    sync_store(store, None)
    assert models(store) == {}
    assert folders(store) == set()


@pytest.mark.usefixtures("quick")
def test_a_registered_model_loads_by_alias_and_version_and_stays(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    other = trial_of(store, "λ=0 seed=1")
    made = register(store, other, alias="best")
    assert (made.name, made.version, made.new) == ("tiny", "1", True)
    again = register(store, other[:6])
    assert (again.version, again.new) == ("1", False)
    assert register(store, trial_of(store, BEST), alias="best").version == "2"
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    for address, trial in (("models:/tiny/1", other), ("models:/tiny@best", None)):
        trial = trial or trial_of(store, BEST)
        expected = care.load(trial, store=store.root).encode(images)
        assert torch.equal(care.load(address, store=store.root).encode(images), expected)
    start(folder, "none")
    sync_store(store, None)
    assert set(models(store)) == {BEST, "λ=0 seed=1"}, "a version needs it"


@pytest.mark.usefixtures("quick")
def test_a_model_that_a_reviewer_described_stays(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    client, _ = open_mlflow(store.root)
    identity = addresses(store)[BEST].removeprefix("models:/")
    note = client.get_logged_model(identity).tags["mlflow.note.content"]
    assert f'care.load("models:/{identity}")' in note
    client.set_logged_model_tags(identity, {"mlflow.note.content": f"{note} Keep it."})
    start(folder, "none")
    sync_store(store, None)
    assert list(models(store)) == [BEST]


@pytest.mark.usefixtures("quick")
def test_only_a_finished_trial_of_this_code_is_registered_unasked(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    trial = store.trial(trial_of(store, BEST))
    trial.write_status(State.PAUSED, 2, 3)
    with pytest.raises(ConfigError, match=r"or --unfinished \(it is paused, 2 of 3 epochs\)"):
        register(store, trial.trial_id)
    make_stale(trial)
    with pytest.raises(ConfigError, match="or --stale"):
        register(store, trial.trial_id)
    assert register(store, trial.trial_id, stale=True).version == "1"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "alias", "message"),
    [("a/b", "", "--name"), ("", "v1", "--alias"), ("", "latest", "--alias")],
)
def test_a_name_that_mlflow_refuses_is_refused_first(
    folder: Path, name: str, alias: str, message: str
) -> None:
    store = start(folder)
    with pytest.raises(ConfigError, match=message):
        register(store, next(iter(store.trials.iterdir())).name, name, alias)


@pytest.mark.usefixtures("quick")
def test_what_is_no_model_is_named_with_the_nearest(folder: Path) -> None:
    store = start(folder)
    with pytest.raises(CareError, match="no run of trial"):
        register(store, next(iter(store.trials.iterdir())).name)
    sync_store(store, None)
    register(store, trial_of(store, BEST), "digits-encoder", "best")
    for source, message in (
        ("models:/digit-encoder@best", "did you mean 'models:/digits-encoder'"),
        ("models:/digits-encoder@bset", "did you mean 'models:/digits-encoder@best'"),
        ("models:/digits-encoder/7", "none of that name"),
        ("models:/m-0123", "none of that name"),
        ("models:/digits-encoder", "NAME@ALIAS"),
    ):
        with pytest.raises(ConfigError, match=message):
            care.load(source, store=store.root)
    with pytest.raises(CareError, match="no MLflow file is here"):
        care.load("models:/digits-encoder@best", store=folder / "nowhere")


@pytest.mark.usefixtures("quick")
def test_changed_weights_are_refused(folder: Path) -> None:
    store = start(folder)
    sync_store(store, None)
    address = addresses(store)[BEST]
    files = store.root / "mlflow-artifacts" / "models" / address.removeprefix("models:/")
    weights = files / "artifacts" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        care.load(address, store=store.root)


def test_the_process_that_exports_names_what_it_cannot_export(folder: Path) -> None:
    store = start(folder)
    trial = next(store.trials.iterdir())
    with EncoderExporter() as exporter:
        exporter.export(trial, folder / "encoder", with_seeds=False)
        assert (folder / "encoder" / "model.safetensors").is_file()
        for checkpoint in trial.glob("checkpoint-*"):
            checkpoint.unlink()
        with pytest.raises(NoEncoderError, match="has no weights"):
            exporter.export(trial, folder / "other", with_seeds=False)
        assert not (folder / "other").exists()


def test_a_model_of_a_stale_trial_stays(folder: Path, quick: None) -> None:
    store = start(folder, "all")
    sync_store(store, None)
    before = addresses(store)
    for trial in store.trials.iterdir():
        make_stale(store.trial(trial.name))
    sync_store(store, None)
    assert addresses(store) == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("hurry", "wanted"), [(False, [BEST]), (True, [])])
def test_the_end_of_a_run_logs_the_model_unless_its_user_waits(
    folder: Path, hurry: bool, wanted: list[str]
) -> None:
    store, sweep = start_sweep(folder, WEIGHTS, 2, weights_files=True, tracking=None)
    plan = make_plan(sweep, store)
    tracking = SweepSync(sweep, store, Board(sweep.spec.metric, 4), None)
    tracking.start(plan)
    tracking.finish(plan, None, lambda: hurry)
    assert list(models(store)) == wanted
    sync_store(store, None)
    assert list(models(store)) == [BEST]
