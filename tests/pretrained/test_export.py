"""``care export``: a folder for other people, whole or absent, with features equal to the bit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

import care
from care.errors import CareError, Problem
from care.pretrained import export as module
from care.pretrained.export import export
from care.pretrained.model_card import read_card
from care.system.files import DamagedFileError, DiskError
from care.trials.folder import TrialFolder
from tests.helpers.processes import care as run_care
from tests.helpers.trained import configure, save_untrained, train

FILES = {"model.safetensors", "config.json", "README.md"}


def images(side: int = 16, count: int = 5) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def trial(store: Path) -> TrialFolder:
    """The first of two trials that differ in their seed."""
    for seed in (1, 0):
        folder = train(configure(seed=seed, training={"epochs": 1, "batch_size": 256}), store)
    return folder


@pytest.fixture
def exported(trial: TrialFolder, tmp_path: Path) -> Path:
    export(trial, tmp_path / "encoder")
    return tmp_path / "encoder"


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def test_it_gives_the_trials_features_to_the_bit(trial: TrialFolder, exported: Path) -> None:
    assert names(exported) == FILES
    mine, theirs = care.load(trial.path), care.load(exported)
    assert torch.equal(theirs.encode(images()), mine.encode(images()))
    assert torch.equal(theirs.project(images()), mine.project(images()))
    assert theirs.origin == mine.origin
    assert theirs.config.model_dump(exclude={"runtime"}) == mine.config.model_dump(
        exclude={"runtime"}
    )
    for file in FILES:
        assert care.load(exported / file).origin == mine.origin


def test_the_weights_are_the_networks_and_the_hash_is_theirs(
    trial: TrialFolder, exported: Path
) -> None:
    newest = max(trial.path.glob("checkpoint-*.pt"))
    expected = torch.load(newest, weights_only=True)["network"]
    weights = load_file(exported / "model.safetensors")
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    digest = hashlib.sha256((exported / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((exported / "config.json").read_text())
    assert config["sha256"] == digest
    assert config["measures"] == trial.read_evaluation()
    text = (exported / "config.json").read_text() + (exported / "README.md").read_text()
    assert os.uname().nodename not in text
    assert str(trial.path.parents[1]) not in text


def test_twice_gives_equal_bytes(trial: TrialFolder, exported: Path, tmp_path: Path) -> None:
    export(trial, tmp_path / "second")
    for name in FILES:
        assert (tmp_path / "second" / name).read_bytes() == (exported / name).read_bytes()


def test_the_card_says_what_it_is(trial: TrialFolder, exported: Path, store: Path) -> None:
    card = (exported / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["datasets"] == ["digits"]
    measured = [TrialFolder(path).read_evaluation() or {} for path in (store / "trials").iterdir()]
    own = (trial.read_evaluation() or {})["head/gamma"]
    mean = sum(measures["head/gamma"] for measures in measured) / 2
    assert f"| `head/gamma` | {own:.4f} | {mean:.4f} |" in body
    assert "n = 1 seed" in body
    assert "mean of n = 2 seeds" in body
    for part in ("CC BY 4.0 (UCI)", "λ = 0.1", "2306.13924", trial.trial_id, "seed 0"):
        assert part in body
    assert read_card(exported / "README.md").trial_id == trial.trial_id


@pytest.mark.parametrize(
    ("encoder", "side"), [("resnet18", 32), ("resnet50", 32), ("resnet50_imagenet", 64)]
)
def test_the_lines_of_the_card_load_a_resnet_into_torchvisions_model(
    encoder: str, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(
        model={"encoder": encoder, "head": {"hidden": 32, "output": 16}},
        data={"name": "cifar10", "side": side},
    )
    folder = save_untrained(config, tmp_path, side=side)
    export(folder, tmp_path / "encoder")
    monkeypatch.chdir(tmp_path / "encoder")
    blocks = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "torchvision" in block]
    scope: dict[str, Any] = {}
    exec(block, scope)
    model, sample = care.load("."), images(side, 3)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    with torch.no_grad():
        by_hand = scope["model"]((sample / 255 - mean) / std)
        prepared = model.preprocess(sample).contiguous(memory_format=torch.channels_last)
        outputs = scope["model"](prepared)
    assert torch.equal(outputs, model.encode(sample))
    torch.testing.assert_close(by_hand, outputs, rtol=1e-4, atol=1e-4)


def test_the_program_needs_torch_alone(trial: TrialFolder, tmp_path: Path) -> None:
    """The card's lines in a process that cannot import care."""
    target = tmp_path / "encoder"
    run_care("export", trial.path, "--to", target, "--program", cwd=tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (target / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "torch.export" in block]
    counts, model = (1, 2, 300), care.load(target)
    for count in counts:
        torch.save(images(count=count), tmp_path / f"images-{count}.pt")
    code = f"""
import sys, torch
sys.modules["care"] = None
torch.set_num_threads(1)
for count in {counts}:
    images = torch.load(f"../images-{{count}}.pt")
    exec({block!r})
    torch.save((features, embedding), f"../outputs-{{count}}.pt")
"""
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=target, check=True, timeout=120, capture_output=True)
    for count in counts:
        features, embedding = torch.load(tmp_path / f"outputs-{count}.pt")
        torch.testing.assert_close(features, model.encode(images(count=count)))
        torch.testing.assert_close(embedding, model.project(images(count=count)))


def test_changed_files_are_refused(exported: Path) -> None:
    weights, config = exported / "model.safetensors", exported / "config.json"
    content, text = weights.read_bytes(), config.read_text()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        weights.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="was changed or cut: its SHA-256 is"):
            care.load(exported)
    weights.write_bytes(content)
    changes: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda tree: tree["preprocessing"].update(mean=[0, 0, 0]), "another trial or preproc"),
        (lambda tree: tree["config"].update(seed=5), "configuration of another trial"),
        (lambda tree: tree.pop("sha256"), "has no field 'sha256'"),
        (lambda tree: tree.update(format=2), "by a newer version of care"),
    ]
    for change, message in changes:
        tree = json.loads(text)
        change(tree)
        config.write_text(json.dumps(tree))
        with pytest.raises(CareError, match=message):
            care.load(exported)
    config.write_text(text[: len(text) // 2])
    with pytest.raises(DamagedFileError, match="is not JSON"):
        care.load(exported)


def test_only_an_export_of_the_same_trial_is_replaced_and_only_when_asked(
    trial: TrialFolder, store: Path, exported: Path, refused: Callable[..., Problem]
) -> None:
    (other,) = [path for path in (store / "trials").iterdir() if path.name != trial.trial_id]
    weights = exported / "model.safetensors"
    weights.write_bytes(b"damaged")
    assert "--overwrite" in refused(export, trial, exported).allowed
    problem = refused(lambda: export(TrialFolder(other), exported, overwrite=True))
    assert f"this is of trial {trial.trial_id}" in problem.allowed
    assert weights.read_bytes() == b"damaged"
    export(trial, exported, overwrite=True)
    care.load(exported)
    assert names(exported.parent) == {"encoder"}
    folder = exported.parent / "mine"
    folder.mkdir()
    export(trial, folder)  # an empty one
    (folder / "README.md").unlink()
    shutil.copy(exported / "README.md", exported.parent / "file")
    for target in (exported.parent, exported.parent / "file", trial.path):
        refused(lambda target=target: export(trial, target, overwrite=True))


def test_a_full_disk_leaves_nothing(
    trial: TrialFolder,
    exported: Path,
    no_space: Callable[[int], contextlib.AbstractContextManager[None]],
) -> None:
    before = (exported / "model.safetensors").read_bytes()
    for target in (exported, exported.parent / "new"):
        with no_space(10_000), pytest.raises(DiskError, match="nothing was changed"):
            export(trial, target, overwrite=True)
    assert names(exported.parent) == {"encoder"}
    assert (exported / "model.safetensors").read_bytes() == before


def test_a_target_that_cannot_be_written_is_refused(trial: TrialFolder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "encoder", Path("/proc/encoder")):
        with pytest.raises(CareError, match="cannot write"):
            export(trial, target)


def test_ctrl_c_leaves_nothing(
    trial: TrialFolder, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment: before, between and after the files, and between the two renames."""
    write, rename = module._write, Path.rename

    def interrupted_write(path: Path, content: bytes) -> None:
        write(path, content)
        if path.name == "config.json":
            raise KeyboardInterrupt

    def interrupted_rename(path: Path, target: Path) -> Path:
        if path.name.endswith(".tmp"):
            raise KeyboardInterrupt
        return rename(path, target)

    for owner, name, interrupted in (
        (module, "_write", interrupted_write),
        (Path, "rename", interrupted_rename),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                export(trial, exported, overwrite=True)
        assert names(exported.parent) == {"encoder"}
        care.load(exported)
