"""References: measured encoders that no trial trained, kept beside the trials."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.registry import MEASURES
from care.system.files import DamagedFileError, DiskError
from care.trials import code_version, reference
from care.trials.reference import (
    add_name,
    list_references,
    read_reference,
    reference_id,
    references_of,
    setting_id,
)
from care.trials.staleness import Versions
from tests.helpers.outside import encoder, keep_reference
from tests.helpers.paths import ROOT
from tests.helpers.trained import configure

CONFIG = configure()
MEASURES_OF_IT = {"encoder/probe_accuracy": 0.87, "encoder/gamma": 0.25}


def other(**fields: object) -> TrialConfig:
    return configure(**fields)


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT)
    assert list(list_references(tmp_path)) == [kept.path]
    read = read_reference(kept.path)
    assert read is not None
    assert read.measures == MEASURES_OF_IT
    assert read.record == kept.record
    assert read.notes() == ["Of few images"]
    assert read.config() == CONFIG
    assert read.why_stale(Versions(), CONFIG) == ""
    assert read.record.encoder.label == "torchvision resnet18, random weights, at 32 px"
    assert read_reference(tmp_path / "references" / ("0" * 16)) is None


def test_identity_is_the_encoder_and_what_it_is_measured_on() -> None:
    """Settings of a training count no more than the machine, as nothing is trained."""
    known = reference_id(encoder(), CONFIG)
    known_evaluation = CONFIG.model_dump(mode="json")["evaluation"]
    for same in (
        other(seed=7),
        other(objective={"name": "simclr", "temperature": 0.2}),
        other(runtime={"threads": 7}),
        other(evaluation={**known_evaluation, "monitor": {"every": 2, "measures": ["rank"]}}),
    ):
        assert reference_id(encoder(), same) == known
        assert setting_id(same) == setting_id(CONFIG)
    evaluation = {**known_evaluation, "knn_neighbors": 7}
    assert reference_id(encoder(), other(evaluation=evaluation)) != known
    assert reference_id(encoder(), other(data={"name": "cifar10"})) != known
    assert reference_id(encoder(weights="moco.pth"), CONFIG) == known  # the hash counts
    for changed in (
        encoder(sha256="cd" * 32),
        encoder(architecture="torchvision:resnet34"),
        encoder(has_head=True),
        encoder(preprocessing=encoder().preprocessing.model_copy(update={"size": (64, 64)})),
    ):
        assert reference_id(changed, CONFIG) != known


def test_the_second_measurement_replaces_the_first_which_the_archive_keeps(tmp_path: Path) -> None:
    first = keep_reference(tmp_path, CONFIG, {"encoder/gamma": 0.5})
    second = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT)
    assert first.path == second.path
    read = read_reference(second.path)
    assert read is not None
    assert read.measures == MEASURES_OF_IT
    (archived,) = (tmp_path / "archive").iterdir()
    assert archived.name.startswith(f"{first.path.name}-")
    assert '"encoder/gamma": 0.5' in (archived / "evaluation.json").read_text()


@pytest.mark.parametrize("name", ["provenance.json", "evaluation.json", "details.npz"])
def test_a_changed_or_missing_file_is_damage(name: str, tmp_path: Path) -> None:
    kept = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT)
    file = kept.path / name
    file.write_bytes(file.read_bytes().replace(b"8", b"9", 1) + b" ")
    with pytest.raises(DamagedFileError, match=f"{name}.*was changed"):
        read_reference(kept.path)
    file.unlink()
    with pytest.raises(DamagedFileError, match=f"{name}.*is missing"):
        read_reference(kept.path)


def test_a_folder_of_another_identity_is_damage(tmp_path: Path) -> None:
    kept = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT)
    moved = kept.path.rename(kept.path.with_name("0" * 16))
    with pytest.raises(DamagedFileError, match="is of another reference"):
        read_reference(moved)
    (moved / "reference.json").unlink()
    with pytest.raises(DamagedFileError, match=r"reference\.json.*is missing"):
        read_reference(moved)


def test_other_data_and_other_code_make_it_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT, data={"data": "f" * 32})
    assert "measured on other data: digits" in old.why_stale(Versions(), CONFIG)
    kept = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT)
    monkeypatch.setattr(reference, "evaluation_version", lambda: "ast1-other")
    assert kept.why_stale(Versions(), CONFIG) == "measured with other code"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keep_reference(tmp_path, CONFIG, {"encoder/gamma": 0.5})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        keep_reference(tmp_path, CONFIG, MEASURES_OF_IT)
    monkeypatch.undo()
    assert [path.name for path in references_of(tmp_path).iterdir()] == [first.path.name]
    read = read_reference(first.path)
    assert read is not None
    assert read.measures == {"encoder/gamma": 0.5}


def test_a_second_name_is_added_once(tmp_path: Path) -> None:
    kept = keep_reference(tmp_path, CONFIG, MEASURES_OF_IT, name="torchvision:resnet18")
    for _ in range(2):
        add_name(kept, "torchvision:resnet18:IMAGENET1K_V1")
    read = read_reference(kept.path)
    assert read is not None
    assert read.record.names == ["torchvision:resnet18", "torchvision:resnet18:IMAGENET1K_V1"]


def test_what_the_evaluations_version_leaves_out_takes_no_part_in_a_measurement() -> None:
    """No module that counts imports one that does not, nor has the registry a measure there."""
    out = code_version._TRAINING
    for path in sorted((ROOT / "care").rglob("*.py")):
        name = path.relative_to(ROOT / "care").as_posix()
        counts = name in code_version._MEASURING or not code_version.is_outside(name)
        if not counts or name.startswith(out):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported = node.module.removeprefix("care.").replace(".", "/")
                assert not f"{imported}.py".startswith(out), (name, node.module)
                assert not f"{imported}/".startswith(out), (name, node.module)
    for entry in MEASURES.values():
        assert not entry.function.removeprefix("care.").replace(".", "/").startswith(out)
