"""``care list``: the sweeps of a store, and the trials of a sweep by their columns."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from care.config import TrialConfig
from care.errors import ConfigError
from care.system.claim import Claim
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.staleness import Versions
from care.trials.state import RecordedState, State
from sweeps.cli.listing import ListOptions, list_command
from sweeps.cli.sweep import _make_declaration
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.disk.units import format_bytes
from sweeps.inventory import SweepReader
from sweeps.plan import make_plan
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, fabricate

Made = dict[tuple[float, int], TrialConfig]


def start(store: Store, folder: Path, **changes: Any) -> Made:
    """Declare a sweep as a run does; return its configurations by weight and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = SweepArguments(declare(folder, **changes))
    sweep = arguments.load()
    store.prepare()
    store.sweep(sweep.spec.name).write(_make_declaration(sweep, arguments))
    configs = [trial.config for trial in make_plan(sweep, store).trials]
    return {(config.objective.equivariance.weight, config.seed): config for config in configs}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def trials(store: Store, tmp_path: Path) -> Made:
    """Four finished, one failed, one paused, one stale, one new trial."""
    weights = [0, 0.1, 0.2, 0.3]
    metric = {"name": "head/gamma", "mode": "min"}
    made = start(store, tmp_path / "a", axes={WEIGHT: weights}, metric=metric)
    states: dict[tuple[float, int], tuple[RecordedState, int, float]] = {
        (0, 0): (State.FINISHED, 3, 0.5),
        (0, 1): (State.FINISHED, 3, 0.6),
        (0.1, 0): (State.FINISHED, 3, 0.2),
        (0.1, 1): (State.FINISHED, 3, 0.3),
        (0.2, 0): (State.FAILED, 1, 0.0),
        (0.2, 1): (State.PAUSED, 2, 0.0),
    }
    for key, (state, epoch, gamma) in states.items():
        metrics, measures = {"train/loss": 4.0 + epoch}, {"head/gamma": gamma}
        host = {"hostname": f"node{key[1]}"}
        fabricate(
            store, made[key], state, epoch, metrics=metrics, measures=measures, provenance=host
        )
    fabricate(store, made[0.3, 0], State.FINISHED, 3, code="ast1-other")
    return made


def listed(
    capsys: pytest.CaptureFixture[str], store: Store, *where: str, sort: str | None = None
) -> list[tuple[float, int]]:
    list_command("tiny", store.root, ListOptions(where, sort, as_json=True))
    rows = json.loads(capsys.readouterr().out)
    return [(row["point"][WEIGHT], row["seed"]) for row in rows]


def test_the_sweeps_of_a_store(
    store: Store, tmp_path: Path, trials: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    start(store, tmp_path / "b", name="untouched", axes={WEIGHT: [0.7, 0.8]})
    list_command(None, store.root, ListOptions())
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["sweep", "trials", "best", "changed", "disk"]
    counts = "4 finished, 1 paused, 1 new, 1 failed, 1 stale"
    new = ["untouched", "4", "new", "–", "0", "min", "ago"]
    assert first.split()[: len(new)] == new, "the newest first"
    assert second.split("  ")[0] == "tiny"
    assert counts in second
    assert "λ=0.1: 0.25" in second
    assert "0 min ago" in second
    list_command(None, store.root, ListOptions(as_json=True))
    rows = json.loads(capsys.readouterr().out)
    below = (*store.trials.rglob("*"), *store.sweep("tiny").path.rglob("*"))
    size = sum(path.stat().st_size for path in below if path.is_file())
    assert rows[1]["bytes"] == size
    assert second.endswith(format_bytes(size))
    assert rows[1]["best"] == {"point": "λ=0.1", "mean": 0.25, "n": 2}
    assert rows[1]["counts"] == {"finished": 4, "paused": 1, "new": 1, "failed": 1, "stale": 1}


def test_a_damaged_sweep_hides_no_other(
    store: Store, tmp_path: Path, trials: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    start(store, tmp_path / "b", name="broken")
    (store.sweep("broken").path / "sweep.json").write_text("{")
    list_command(None, store.root, ListOptions())
    output = capsys.readouterr().out
    assert "tiny" in output
    assert "is not JSON" in output


def test_an_empty_store_says_how_to_start(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    list_command(None, store.root, ListOptions())
    assert "care sweep run FILE" in capsys.readouterr().err


def test_states_are_those_of_the_plan(
    store: Store, tmp_path: Path, trials: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = Claim.take(store.trial(trial_id(trials[0.2, 1])).path)
    assert claim
    with claim:
        list_command("tiny", store.root, ListOptions(as_json=True))
        shown = {row["id"]: row["state"] for row in json.loads(capsys.readouterr().out)}
        sweep = SweepArguments(tmp_path / "a" / "sweep.yaml").load()
        planned = {trial.trial_id: trial.state for trial in make_plan(sweep, store).trials}
    assert shown == planned
    assert State.RUNNING in planned.values()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["state=failed"], [(0.2, 0)]),
        (["state = failed "], [(0.2, 0)]),
        (["λ>0.1", "seed=0"], [(0.2, 0), (0.3, 0)]),
        (["lambda >= 0.1 and seed=1 and state!=new"], [(0.1, 1), (0.2, 1)]),
        (["weight=0.10"], [(0.1, 0), (0.1, 1)]),
        ([f"{WEIGHT}==0"], [(0, 0), (0, 1)]),
        (["metric<0.3"], [(0.1, 0)]),
        (["head/gamma<=0.3"], [(0.1, 0), (0.1, 1)]),
        (["host~NODE1", "epoch<3"], [(0.2, 1)]),
        (["train/loss=6"], [(0.2, 1)]),
        (["reason~broke"], [(0.2, 0)]),
        (["updated<2000-01-01"], []),
    ],
)
def test_conditions(
    where: list[str],
    expected: list[tuple[float, int]],
    store: Store,
    trials: Made,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert listed(capsys, store, *where) == expected


@pytest.mark.parametrize(
    ("where", "field", "allowed", "close"),
    [
        ("lamda>1", "--where", "allowed: a column (λ, id, state", "lambda"),
        ("state=faild", "--where state", "allowed: finished, running", "failed"),
        ("epoch>many", "--where epoch", "allowed with >: a number", None),
        ("failed", "--where", "allowed: COLUMN OPERATOR VALUE", None),
        ("state=", "--where", "allowed: COLUMN OPERATOR VALUE", None),
        ("__import__('os').getpid()>0", "--where", "allowed: a column", None),
    ],
)
def test_a_wrong_condition_is_refused(
    where: str,
    field: str,
    allowed: str,
    close: str | None,
    store: Store,
    trials: Made,
    refused: Any,
) -> None:
    problem = refused(list_command, "tiny", store.root, ListOptions([where]))
    assert problem.field == field
    assert allowed in problem.allowed
    assert problem.nearest == close


def test_order(store: Store, trials: Made, capsys: pytest.CaptureFixture[str]) -> None:
    finished = "state=finished"
    assert listed(capsys, store, finished, sort="metric") == [(0.1, 0), (0.1, 1), (0, 0), (0, 1)]
    assert listed(capsys, store, finished, sort="-λ")[0] == (0.1, 0)
    rows = listed(capsys, store, sort="-metric")
    assert rows[0] == (0, 1)
    assert rows[-3:] == [(0.2, 0), (0.2, 1), (0.3, 1)], "without a value: last, also descending"
    with pytest.raises(ConfigError, match="did you mean 'state'"):
        list_command("tiny", store.root, ListOptions(sort="stat"))


def test_a_table_for_people(store: Store, trials: Made, capsys: pytest.CaptureFixture[str]) -> None:
    list_command("tiny", store.root, ListOptions(["λ=0.2"]))
    head, failed, paused = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "trial"
    assert failed.split() == [
        trial_id(trials[0.2, 0]), "λ=0.2", "seed=0", "failed", "1/3", "–", "9", "node0",
    ]  # fmt: skip
    assert "paused" in paused
    assert "\x1b" not in head + failed, "no color in a pipe"
    list_command("tiny", store.root, ListOptions(["λ=7"]))
    assert "no trial of 8 fulfils the conditions" in capsys.readouterr().err


def test_it_fits_a_terminal_of_80_columns(
    store: Store, trials: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("tiny", None):
        list_command(name, store.root, ListOptions())
        lines = capsys.readouterr().out.splitlines()
        assert any("\x1b[" in line for line in lines)
        bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert max(map(len, bare)) <= 80


def test_csv_has_every_measure(
    store: Store, trials: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    list_command("tiny", store.root, ListOptions(as_csv=True))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 8
    assert [row[WEIGHT] for row in rows[:4]] == ["0", "0", "0.1", "0.1"]
    assert {row["head/gamma"] for row in rows} == {"0.5", "0.6", "0.2", "0.3", ""}
    assert rows[4]["reason"] == "broke"


def test_wrong_arguments(store: Store, trials: Made) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        list_command("tinny", store.root, ListOptions())
    with pytest.raises(ConfigError, match="--sort: got 'epoch'; allowed with the name"):
        list_command(None, store.root, ListOptions(sort="epoch"))
    with pytest.raises(ConfigError, match="--csv or --json"):
        list_command("tiny", store.root, ListOptions(as_csv=True, as_json=True))


def test_finished_trials_are_read_once(
    store: Store, trials: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watched sweep is read every two seconds."""
    reader = SweepReader(store.sweep("tiny"), store, Versions())
    first = reader.read()
    read: list[Path] = []
    original = TrialFolder.read_evaluation

    def counted(folder: TrialFolder) -> Any:
        read.append(folder.path)
        return original(folder)

    monkeypatch.setattr(TrialFolder, "read_evaluation", counted)
    assert reader.read() == first
    finished = {trial_id(trials[key]) for key in trials if key[0] in (0, 0.1)}
    assert not finished & {path.name for path in read}


def test_points_of_two_axes(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(store, tmp_path / "c", name="two", axes={WEIGHT: [0.1, 0.2], SPLITS: [2, 4]}, seeds=1)
    list_command("two", store.root, ListOptions(["splits=4 and λ<0.2"], as_json=True))
    (row,) = json.loads(capsys.readouterr().out)
    assert row["point"] == {WEIGHT: 0.1, SPLITS: 4}
    assert (row["state"], row["epoch"], row["epochs"]) == ("new", 0, 3)
