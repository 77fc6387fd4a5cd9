"""``care show``: what a trial is, how it ended, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from care.errors import CareError, ConfigError
from care.system.claim import Claim
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.cli.show import show_command
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate
from tests.sweeps.cli.test_list import start


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def shown(store: Store, digits: str, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The lines by their label."""
    show_command(digits, store.root)
    lines: dict[str, list[str]] = {}
    label = ""
    for line in capsys.readouterr().out.splitlines():
        label = line[:10].strip() or label
        lines.setdefault(label, []).append(line[10:].strip())
    return lines


def test_a_finished_trial(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = start(store, tmp_path / "a", axes={WEIGHT: [0, 0.1, 0.2]})
    start(store, tmp_path / "b", name="other", axes={WEIGHT: [0.2], "training.epochs": [3]})
    provenance = {"hostname": "node1", "device": "cuda", "device_name": "H100", "git_commit": "ab"}
    folder = fabricate(store, made[0.2, 1], State.FINISHED, 3, provenance=provenance)
    folder.append_start(0, 0)
    timings = folder.path / "timings.jsonl"
    line, rest = timings.read_text().split("\n", 1)
    timings.write_text(json.dumps({**json.loads(line), "monitor_seconds": 0.06}) + "\n" + rest)
    lines = shown(store, folder.trial_id[:6], capsys)
    assert lines["trial"] == [folder.trial_id]
    assert [line.partition(" (")[0] for line in lines["is"]] == [
        "λ=0.2 epochs=3 seed=1 of other",
        "λ=0.2 seed=1 of tiny",
    ]
    assert lines["differs"] == [f"{WEIGHT}: 0.2 (experiment: 0.1)"]
    assert lines["state"] == ["finished, 3 of 3 epochs"]
    assert lines["trained"] == [
        "on node1, 3 s in 1 start",
        "2.0% of it for evaluation.monitor",
    ]
    assert lines["device"] == ["cuda (H100), 1 thread, fp32"]
    assert lines["code"][0].endswith(", commit ab")
    assert lines["measures"] == ["head/gamma  0.5"]
    assert str(folder.path) in lines["files"][0]
    assert lines["next"][:2] == [
        f"care logs {folder.trial_id[:8]}",
        f"care evaluate {folder.trial_id[:8]} FIELD=VALUE",
    ]


def test_a_failed_trial_and_how_to_try_again(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(store, tmp_path / "a")
    folder = fabricate(store, made[0.1, 0], State.FAILED, 1, metrics={"train/loss": 4.5})
    lines = shown(store, folder.trial_id, capsys)
    assert lines["state"] == ["failed, 1 of 3 epochs"]
    assert lines["error"] == ["broke"]
    assert lines["metrics"] == ["train/loss  4.5"]
    assert lines["next"][0] == f"care logs {folder.trial_id[:8]}"
    assert lines["next"][1].startswith("care sweep run ")
    assert lines["next"][1].endswith("sweep.yaml --retry-failed")


def test_a_running_trial_names_its_process(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(store, tmp_path / "a")
    folder = fabricate(store, made[0.1, 0], State.RUNNING, 1)
    claim = Claim.take(folder.path)
    assert claim
    with claim:
        lines = shown(store, folder.trial_id, capsys)
    assert lines["state"][0] == "running, 1 of 3 epochs"
    assert lines["state"][1].startswith("process ")
    assert lines["next"] == [f"care logs {folder.trial_id[:8]} --follow"]


def test_stale_damaged_and_of_no_sweep(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(store, tmp_path / "a")
    stale = fabricate(store, made[0.1, 0], State.FINISHED, 3, code="ast1-other")
    lines = shown(store, stale.trial_id, capsys)
    assert lines["because"] == ["trained with other code"]
    assert lines["next"][-1].endswith("--rerun-stale")
    (stale.path / "metrics.jsonl").write_text("{")
    assert shown(store, stale.trial_id, capsys)["state"][0].startswith("damaged")
    alone = fabricate(store, made[0.1, 1].model_copy(update={"seed": 77}), State.PAUSED, 1)
    lines = shown(store, alone.trial_id, capsys)
    assert lines["is"] == ["seed=77, of no sweep in this store"]
    assert any(line.startswith(f"{WEIGHT}: 0.1 (default: ") for line in lines["differs"])
    (stale.path / "trial.json").write_text("{")
    assert "is not JSON" in shown(store, stale.trial_id, capsys)["damaged"][0]


def test_an_unknown_trial(store: Store, tmp_path: Path) -> None:
    made = start(store, tmp_path / "a")
    fabricate(store, made[0.1, 0], State.FINISHED, 3)
    with pytest.raises(
        ConfigError, match=r"allowed: a sweep \(tiny\), or the first digits of a trial"
    ):
        show_command("nothing", store.root)
    with pytest.raises(CareError, match="never started"):
        show_command(trial_id(made[0.1, 1]), store.root)
