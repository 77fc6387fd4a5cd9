"""A trial and the data that it was trained on: other data are noticed, named and refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import care.evaluation.evaluate
from care.config import TrialConfig
from care.config.loading import validate
from care.data.prepare import prepare
from care.distributed.group import Group
from care.evaluation.reevaluate import reevaluate
from care.evaluation.results import Results
from care.training.resume import open_trainer
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from care.trials.hardware import Machine, compare_machines
from care.trials.identity import trial_id
from care.trials.staleness import OtherDataError, Versions
from sweeps.store import Store, TrialStatus, trial_status
from tests.data.test_fingerprint import pixel
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.listener import Listener
from tests.helpers.trees import SMALL, write_tree

TREE = {"name": "images", "path": "tree", "side": 8}


def config_for(root: Path, **data: Any) -> TrialConfig:
    """Two epochs on a tree of 12 images."""
    config = {
        **SMALL,
        "data": {**TREE, **data},
        "training": {"epochs": 2, "batch_size": 4},
        "runtime": {"threads": 1, "compile": "never", "data_root": str(root)},
    }
    return validate(TrialConfig, config, "test")


def prepared(root: Path) -> Path:
    """Write and decode a tree."""
    folder = write_tree(root, count=6)
    prepare(config_for(root).data, root, Listener())
    return folder


def run(config: TrialConfig, store: Store, epochs: int) -> TrialFolder:
    """Train in this process up to ``epochs``, and to the end where that is all."""
    folder = store.trial(trial_id(config))
    trial = TrialRun(config, folder)
    while not trial.finished and trial.epoch < epochs:
        trial.advance()
    trial.pause()
    return folder


def status(config: TrialConfig, store: Store) -> TrialStatus:
    return trial_status(store.trial(trial_id(config)), Versions(), config)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.prepare()
    return store


def test_a_finished_trial_is_stale_while_its_data_are_others(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    config = config_for(root)
    run(config, store, 2)
    assert status(config, store).state == "finished"
    shutil.copytree(root, tmp_path / "copy")
    assert status(config_for(tmp_path / "copy"), store).state == "finished"
    whole = (folder / "train/cat/0000.png").read_bytes()
    pixel(folder / "train/cat/0000.png")
    other = status(config, store)
    assert (other.state, other.epoch) == ("stale", 2)
    provenance = store.trial(trial_id(config)).read_provenance()
    assert provenance is not None
    recorded = provenance.data["data"][:8]
    assert other.reason.startswith(
        f"trained on other data: images, fingerprint {recorded}… recorded, "
    )
    assert f"{Versions().data(config)['data'][:8]}… now" in other.reason
    (folder / "train/cat/0000.png").write_bytes(whole)
    assert status(config, store).state == "finished"
    folder.rename(root / "away")
    versions = Versions()
    elsewhere = trial_status(store.trial(trial_id(config)), versions, config)
    assert elsewhere.state == "finished", "what is not here is not compared"
    assert versions.absent == {f"images in {root}"}


def test_a_paused_trial_resumes_on_its_own_data_only(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    config = config_for(root)
    trial = run(config, store, 1)
    assert status(config, store).state == "paused"
    before = {
        name: (trial.path / name).read_bytes() for name in ("metrics.jsonl", "provenance.json")
    }
    whole = (folder / "train/cat/0000.png").read_bytes()
    pixel(folder / "train/cat/0000.png")
    prepare(config.data, root, Listener())
    assert status(config, store).state == "stale"
    with pytest.raises(OtherDataError, match=r"trained on other data: images, fingerprint .*"
                       r"Restore the data .*care sweep run --rerun-stale"):  # fmt: skip
        TrialRun(config, trial)
    assert {name: (trial.path / name).read_bytes() for name in before} == before
    (folder / "train/cat/0000.png").write_bytes(whole)
    run(config, store, 2)
    undisturbed = Store(tmp_path / "undisturbed")
    run(config, undisturbed, 2)
    assert_equal_to_the_bit(trial.path, undisturbed.trial(trial.trial_id).path)


def test_a_trial_without_a_checkpoint_starts_on_the_data_that_are_here(
    tmp_path: Path, store: Store
) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    config = config_for(root)
    run(config, store, 0)
    pixel(folder / "train/cat/0000.png")
    prepare(config.data, root, Listener())
    assert status(config, store).state == "new"
    run(config, store, 2)
    assert status(config, store).state == "finished"


def test_other_classes_of_one_list_are_named(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    for split in ("train", "test"):
        shutil.copytree(folder / split / "cat", folder / split / "tiger")
    (root / "classes.txt").write_text("cat\ndog\n")
    config = config_for(root, class_list="classes.txt")
    prepare(config.data, root, Listener())
    run(config, store, 2)
    (root / "classes.txt").write_text("# shuffled\ndog\ncat\n")
    assert status(config, store).state == "finished"
    (root / "classes.txt").write_text("tiger\ndog\n")
    assert "trained on other data: class list classes.txt, " in status(config, store).reason


def test_transfer_data_count(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    prepared(root)
    other = write_tree(tmp_path / "other", count=6)
    shutil.copytree(other, root / "imagenet")
    (root / "imagenet100.txt").write_text("cat\ndog\n")
    tree = config_for(root).model_dump(mode="json")
    tree["evaluation"]["transfer"] = [{"name": "imagenet100"}]
    config = validate(TrialConfig, tree, "test")
    (transfer,) = config.transfer_data
    prepare(transfer, root, Listener())
    trial = run(config, store, 1)
    pixel(root / "imagenet/test/cat/0000.png")
    prepare(transfer, root, Listener())
    reason = "started with other transfer data: imagenet100, fingerprint"
    assert status(config, store).reason.startswith(reason)
    with pytest.raises(OtherDataError, match=reason):
        TrialRun(config, trial)


def with_transfer_set(root: Path) -> TrialConfig:
    """A trial that transfers to a copy of its own tree."""
    prepared(root)
    shutil.copytree(root / "tree", root / "imagenet")
    (root / "imagenet100.txt").write_text("cat\ndog\n")
    tree = config_for(root).model_dump(mode="json")
    tree["evaluation"]["transfer"] = [{"name": "imagenet100"}]
    return validate(TrialConfig, tree, "test")


def test_transfer_data_exchanged_during_the_training_end_it(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    config = with_transfer_set(root)
    (transfer,) = config.transfer_data
    prepare(transfer, root, Listener())
    trial = TrialRun(config, store.trial(trial_id(config)))
    trial.advance()
    pixel(root / "imagenet/test/cat/0000.png")
    prepare(transfer, root, Listener())
    with pytest.raises(OtherDataError, match="other transfer data: imagenet100"):
        trial.advance()
    assert trial.folder.read_evaluation() is None
    assert status(config, store).state == "stale"


def test_transfer_data_exchanged_while_they_are_measured_leave_no_measure(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    config = with_transfer_set(root)
    prepare(config.transfer_data[0], root, Listener())
    measure = care.evaluation.evaluate.evaluate

    def exchange(*arguments: Any) -> Results:
        results = measure(*arguments)
        pixel(root / "imagenet/test/cat/0000.png")
        return results

    monkeypatch.setattr("care.training.trial_run.evaluate", exchange)
    trial = TrialRun(config, store.trial(trial_id(config)))
    trial.advance()
    with pytest.raises(OtherDataError, match="other transfer data: imagenet100"):
        trial.advance()
    assert trial.folder.read_evaluation() is None
    assert not (trial.folder.path / "evaluation").exists()


def test_own_data_exchanged_during_the_last_epoch_make_a_finished_trial_stale(
    tmp_path: Path, store: Store
) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    shutil.copytree(root / "tree", root / "imagenet")
    (root / "imagenet100.txt").write_text("cat\ndog\n")
    tree = config_for(root).model_dump(mode="json")
    tree["evaluation"]["transfer"] = [{"name": "imagenet100"}]
    config = validate(TrialConfig, tree, "test")
    prepare(config.transfer_data[0], root, Listener())
    trial = TrialRun(config, store.trial(trial_id(config)))
    trial.advance()
    pixel(folder / "train/cat/0000.png")
    trial.advance()
    assert trial.finished, "its data were read at its start, and stay what they were"
    assert "trained on other data: images" in status(config, store).reason


def test_a_process_beside_rank_0_refuses_other_data(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    config = config_for(root)
    trial = TrialRun(config, store.trial(trial_id(config)))
    pixel(folder / "train/cat/0000.png")
    prepare(config.data, root, Listener())
    assert not trial.folder.has_checkpoint()
    with pytest.raises(OtherDataError, match="trained on other data: images"):
        open_trainer(config, trial.folder.path, Group(1, 2), 1, print)


def test_a_network_is_not_measured_on_other_data(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "data"
    folder = prepared(root)
    config = config_for(root)
    trial = run(config, store, 2)
    assert reevaluate(trial, config, print).measures == trial.read_evaluation()
    pixel(folder / "test/cat/0000.png")
    prepare(config.data, root, Listener())
    with pytest.raises(OtherDataError, match="trained on other data: images"):
        reevaluate(trial, config, print)


def test_machines_that_differ_are_counted() -> None:
    cpu = Machine("fp32", "cpu", "1")
    quick = Machine("bf16", "cpu", "1")
    assert compare_machines([cpu] * 3) == []
    lines = [str(mixture) for mixture in compare_machines([cpu] * 4 + [quick] * 2)]
    assert lines == ["trials differ in precision: 4 fp32, 2 bf16"]
    assert compare_machines([cpu, quick], [False, True]) == [], (
        "a precision that was asked for is no mix"
    )
    gpu = Machine("fp32", "cuda", "4")
    assert [mixture.fact for mixture in compare_machines([cpu, gpu])] == ["device", "threads"]
    assert compare_machines([cpu, Machine.of(None)]) == [], (
        "what was not recorded is not another value"
    )
