"""Every file of a store × every damage: recovered, or named with a fix; other trials continue."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.collect import collect
from care.data.dataset import load_dataset
from care.errors import CareError, ConfigError
from care.evaluation.results import Results
from care.models import build_network
from care.system.files import DamagedFileError, DiskError
from care.system.holder import Holder
from care.trials import checkpoint
from care.trials.records import SweepRecord
from care.trials.state import RecordedState, State
from care.trials.trial_files import StoreFiles
from sweeps.cli.evaluate import evaluate_command
from sweeps.cli.sweep import prepare
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.cli.sweep_plan import plan_command
from sweeps.event_log import begin
from sweeps.plan import make_plan
from sweeps.process.terminal import make_console
from sweeps.report import find_sweep, sweep_summary, write_sweep_report
from sweeps.run import RunOptions
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.damaging import DAMAGES, contents, remove
from tests.helpers.declaring import WEIGHT, declare, fabricate

FINISHED, WHOLE, PAUSED = range(3)
LOGS = ("starts.jsonl", "metrics.jsonl", "timings.jsonl")
RECORDS = ("trial.json", "provenance.json", "status.json")
MEASURED = ("evaluation.json", "details.npz")
FILES = (*RECORDS, *LOGS, *MEASURED, "checkpoint")
NUMBERS = ["state", "heldout/gamma", "head/gamma"]


class Damaged:
    """A sweep of a finished trial, a second one that stays whole, and a paused one.

    Attributes:
        root: The store.
        file: The sweep's YAML file.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.file = folder / "runs", folder / "sweep.yaml"
        self.store = Store(self.root)
        self.sweep = SweepArguments(self.file).load()
        self.identities = [trial.trial_id for trial in make_plan(self.sweep, self.store).trials]
        self.first = self.rows()

    def file_of(self, place: int, name: str) -> Path:
        folder = self.store.trial(self.identities[place]).path
        return max(folder.glob("checkpoint-*")) if name == "checkpoint" else folder / name

    def plan(self) -> list[tuple[str, str]]:
        return [(trial.state, trial.reason) for trial in make_plan(self.sweep, self.store).trials]

    def rows(self) -> pd.DataFrame:
        trials, _ = collect(StoreFiles(self.store.trials), sweep_summary(self.sweep, self.store))
        return trials.set_index("trial_id").reindex(columns=NUMBERS)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    sweep = SweepArguments(declare(folder, axes={WEIGHT: [0, 0.1, 0.2]}, seeds=1)).load()
    store = Store(folder / "runs")
    trials = make_plan(sweep, store).trials
    kinds: list[tuple[RecordedState, int]] = [
        (State.FINISHED, 3),
        (State.FINISHED, 3),
        (State.PAUSED, 2),
    ]
    for place, (state, epoch) in enumerate(kinds):
        value = {"head/gamma": 0.5 + place}
        made = fabricate(
            store,
            trials[place].config,
            state,
            epoch,
            metrics={"heldout/gamma": 0.25 + place},
            measures=value,
        )
        made.append_start(0, 0)
        network = build_network(trials[place].config.model, trials[place].config.seed)
        trained = {"epoch": epoch, "network": network.state_dict()}
        checkpoint.save(made.path, epoch, 0, trained)
    store.sweep("tiny").write(
        SweepRecord(
            spec=sweep.spec.model_dump(mode="json"),
            base=sweep.base_config().model_dump(mode="json"),
            file=str(folder / "sweep.yaml"),
        )
    )
    return folder


@pytest.fixture
def damaged(template: Path, tmp_path: Path) -> Damaged:
    shutil.copytree(template, tmp_path / "copy")
    return Damaged(tmp_path / "copy")


def refusal(action: Callable[[], object]) -> CareError | None:
    """The error that refuses something; None where it is done. Any other error is a fault."""
    try:
        action()
    except CareError as error:
        return error
    return None


def each_damage(path: Path) -> Iterator[str]:
    """Damage a file in each way in turn; it is as before in the end."""
    before = path.read_bytes()
    for name, damage in DAMAGES.items():
        damage(path)
        yield name
        remove(path)
        path.write_bytes(before)


def check_others(damaged: Damaged, place: int, case: str) -> None:
    """Check that the plan and the report's table know every other trial as before."""
    rows = damaged.rows()
    others = [one for one in range(3) if one != place]
    expected = damaged.first.iloc[others]
    pd.testing.assert_frame_equal(rows.iloc[others], expected, obj=case)
    mine, before = rows.iloc[place], damaged.first.iloc[place]
    assert mine["state"] != "new", f"{case}: what was computed is forgotten"
    if mine["state"] in ("finished", before["state"]) and before["state"] == "finished":
        assert mine.equals(before), f"{case}: other numbers are shown"


@pytest.mark.parametrize("place", [FINISHED, PAUSED])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_rebuilt_or_named_and_the_others_are_as_before(
    damaged: Damaged, name: str, place: int
) -> None:
    if place == PAUSED and name in MEASURED:
        return
    path = damaged.file_of(place, name)
    assert [state for state, _ in damaged.plan()] == ["finished", "finished", "paused"]
    for case in each_damage(path):
        before = contents(damaged.root)
        state, reason = damaged.plan()[place]
        check_others(damaged, place, case)
        assert contents(damaged.root) == before, f"{case}: plan and report write nothing"
        if state == "damaged" or (state, place) == ("paused", FINISHED):
            assert name in reason, f"{case}: {reason!r} does not name {name}"
        else:
            assert state in ("finished", "paused", "stale", "failed"), case
    assert [state for state, _ in damaged.plan()] == ["finished", "finished", "paused"]


def test_a_claim_that_cannot_be_read_leaves_the_other_trials_alone(
    damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(path: Path) -> Holder | None:
        raise OSError(errno.EIO, "Input/output error", path)

    (damaged.store.trial(damaged.identities[PAUSED]).path / "claim-000001").touch()
    monkeypatch.setattr(Holder, "read", away)
    state, reason = damaged.plan()[PAUSED]
    assert state == "damaged"
    assert "its claim cannot be read" in reason
    check_others(damaged, PAUSED, "claim")


@pytest.mark.parametrize("name", ["trial.json", "provenance.json", "metrics.jsonl", "checkpoint"])
def test_another_measure_of_a_damaged_trial_is_made_or_refused(
    damaged: Damaged, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(*_: Any) -> Results:
        return Results({"head/gamma": 0.5})

    monkeypatch.setattr("care.evaluation.reevaluate.evaluate", measured)
    monkeypatch.setattr("sweeps.cli.evaluate.prepare_data", lambda *_: None)
    monkeypatch.setattr("care.evaluation.reevaluate.load_dataset", functools.cache(load_dataset))
    path, identity = damaged.file_of(FINISHED, name), damaged.identities[FINISHED]
    for case in each_damage(path):
        before = contents(damaged.root)
        error = refusal(lambda: evaluate_command(identity, [], damaged.root, as_json=True))
        shown = capsys.readouterr().out if error is None else f"{error} 0.5"
        assert "0.5" in shown, case
        assert error is None or path.name in shown or identity in shown, f"{case}: {shown}"
        assert contents(damaged.root) == before, case


@pytest.mark.parametrize("damage", ["file", "dead link", "unnamed", "copied", "edited"])
def test_a_folder_that_is_not_the_trials_is_damaged(damaged: Damaged, damage: str) -> None:
    folder = damaged.store.trial(damaged.identities[FINISHED]).path
    other = damaged.store.trial(damaged.identities[WHOLE]).path
    if damage == "edited":
        file = folder / "trial.json"
        file.write_text(file.read_text().replace('"splits": 16', '"splits": 8'))
        file.write_text(file.read_text().replace('"batch_size": 256', '"batch_size": 128'))
    elif damage == "unnamed":
        (folder / "trial.json").unlink()
    else:
        shutil.rmtree(folder)
    if damage == "file":
        folder.write_text("what is this?")
    elif damage == "dead link":
        folder.symlink_to("/nowhere")
    elif damage == "copied":
        shutil.copytree(other, folder)
    assert damaged.plan()[FINISHED][0] == "damaged"
    check_others(damaged, FINISHED, damage)
    target = damaged.store.archive(folder.name)
    assert target
    assert os.path.lexists(target)
    assert damaged.plan()[FINISHED] == ("new", "")


@pytest.mark.parametrize("case", [name for name in DAMAGES if name not in ("missing", "NUL tail")])
@pytest.mark.parametrize("name", ["store.json", "sweeps/tiny/sweep.json"])
def test_a_damaged_record_of_the_store_is_named_with_a_way_on(
    damaged: Damaged, name: str, case: str, log_lines: list[str]
) -> None:
    path = damaged.root / name
    DAMAGES[case](path)
    before = contents(damaged.root)
    error = refusal(lambda: find_sweep("tiny", None, Store(damaged.root)))
    if error is None:
        assert case in ("cut by one", "flipped")
    else:
        assert path.name in str(error)
        assert isinstance(error, ConfigError) or "next run writes it again" in str(error)
    assert contents(damaged.root) == before
    if path.name == "sweep.json":  # all that it says stands in the YAML file as well
        damaged.store.sweep("tiny").write(SweepRecord(spec={}, base={}, file="f"))
        assert damaged.store.sweep("tiny").read()
        assert len(log_lines) == isinstance(error, DamagedFileError)


def test_a_damaged_trial_is_shown_with_the_way_on(
    damaged: Damaged, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGES["null"](damaged.file_of(FINISHED, "trial.json"))
    plan_command(SweepArguments(damaged.file), damaged.root, as_json=False)
    shown = capsys.readouterr().out
    assert "1 damaged" in shown
    assert "trial.json holds null where a JSON object belongs" in " ".join(shown.split())
    assert f"care sweep run {damaged.file} --rerun-damaged" in shown.replace("\n", "")
    page = write_sweep_report(damaged.sweep, damaged.store).read_text()
    assert "trial.json holds null where a JSON object belongs" in page
    assert "--rerun-damaged" in page
    assert "1 of 3 trials finished" in page


@pytest.mark.parametrize("kind", ["null", "folder"])
def test_mlflow_gets_the_others(damaged: Damaged, kind: str) -> None:
    assert sync_store(damaged.store, None).trials == 3
    for name in FILES:
        path = damaged.file_of(FINISHED, name)
        before = path.read_bytes()
        DAMAGES[kind](path)
        state, _ = damaged.plan()[FINISHED]
        synced = sync_store(damaged.store, None)
        assert (synced.sweeps, synced.trials) == (1, 3)
        # A status that the next run rebuilds is not known until then.
        assert len(synced.left_out) == (state == "damaged" or name == "status.json"), name
        assert all(name in line for line in synced.left_out)
        remove(path)
        path.write_bytes(before)


def test_damaged_trials_are_run_again_where_that_is_asked_for(damaged: Damaged) -> None:
    DAMAGES["cut"](damaged.file_of(FINISHED, "trial.json"))
    DAMAGES["cut"](damaged.file_of(PAUSED, "metrics.jsonl"))
    folder = damaged.store.trial(damaged.identities[FINISHED]).path
    before = (folder / "trial.json").read_bytes()
    declared, console = SweepArguments(damaged.file), make_console()
    plan = make_plan(damaged.sweep, damaged.store)
    assert plan.missing() == []
    plan = prepare(declared, plan, damaged.store, RunOptions(), console)
    assert [state for state, _ in damaged.plan()] == ["damaged", "finished", "damaged"]
    plan = prepare(declared, plan, damaged.store, RunOptions(rerun_damaged=True), console)
    assert [trial.state for trial in plan.trials] == ["new", "finished", "new"]
    (archived,) = damaged.root.glob(f"archive/{folder.name}-*")
    assert (archived / "trial.json").read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("bad middle line", "line 2 is not JSON"),
        ("null", "line 1 holds null"),
        ("other types", "line 3 has event"),
        ("other fields", "line 1 has event None"),
        ("folder", "is a folder"),
        ("named pipe", "is a named pipe"),
    ],
)
def test_a_damaged_log_of_decisions_is_refused_by_its_line(
    tmp_path: Path, kind: str, problem: str
) -> None:
    file = declare(tmp_path, axes={WEIGHT: {"low": 0.1, "high": 1}}, search={"name": "optuna"})
    sweep, store = SweepArguments(file).load(), Store(tmp_path / "runs")
    log = store.sweep("tiny")
    log.path.mkdir(parents=True)
    begin(log, sweep)
    log.log({"event": "suggest", "number": 0, "point": {WEIGHT: 0.25}})
    with (log.path / "events.jsonl").open("a") as torn:
        torn.write('{"event": "sugg')
    assert len(make_plan(sweep, store).trials) == 2
    log.log({"event": "suggest", "number": 1, "point": {WEIGHT: 0.5}})
    DAMAGES[kind](log.path / "events.jsonl")
    with pytest.raises(DamagedFileError, match=rf"events\.jsonl: {problem}.*Move the file away"):
        make_plan(sweep, store)


@pytest.mark.parametrize("name", ["report.html", "inputs.sha256", "tables/trials.csv"])
def test_a_damaged_report_is_written_again(
    damaged: Damaged, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.contents._figures", lambda *_: {})  # drawing takes seconds
    page = write_sweep_report(damaged.sweep, damaged.store)
    path = page.parent / name
    for case in ("missing", "cut", "flipped", "folder", "dead link", "named pipe"):
        DAMAGES[case](path)
        assert write_sweep_report(damaged.sweep, damaged.store, if_current=False) == page
        assert path.is_file(), case
        assert "1.5" in (page.parent / "tables" / "trials.csv").read_text(), case


def test_a_report_that_cannot_be_written_is_named(damaged: Damaged) -> None:
    folder = damaged.store.sweep("tiny").path
    shutil.rmtree(folder)
    folder.write_text("?")
    error = refusal(lambda: write_sweep_report(damaged.sweep, damaged.store))
    assert isinstance(error, DiskError)
    assert str(folder / "report") in str(error)


@pytest.mark.parametrize("case", ["file", "dead link"])
def test_what_lies_in_place_of_a_report_makes_room(damaged: Damaged, case: str) -> None:
    out = damaged.store.sweep("tiny").report
    out.write_text("?") if case == "file" else out.symlink_to("/nowhere")
    assert write_sweep_report(damaged.sweep, damaged.store).is_file()
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_this_user_may_not_read_is_named(damaged: Damaged, name: str) -> None:
    path = damaged.file_of(FINISHED, name)
    temporary = Path(tempfile.gettempdir())
    for parent in damaged.root.parents:
        if parent.is_relative_to(temporary) and parent != temporary:
            parent.chmod(0o755)
    for other in (damaged.root, *damaged.root.rglob("*")):  # a store that others may read
        other.chmod(0o755 if other.is_dir() else 0o644)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        state, reason = damaged.plan()[FINISHED]
        check_others(damaged, FINISHED, "unreadable")
    finally:
        os.seteuid(user)
        path.chmod(0o600)
    read_by_plan = {*RECORDS, *MEASURED, "metrics.jsonl"}
    if name in read_by_plan:
        assert (state, reason) == ("damaged", f"{name} cannot be read (Permission denied)")
    else:
        assert state == "finished"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_bytes_cut_or_changed_anywhere_never_show_other_numbers(
    damaged: Damaged, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([*RECORDS, *LOGS, *MEASURED]))
    path = damaged.file_of(FINISHED, name)
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    changed = before[:place] + bytes([before[place] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(data.draw(st.sampled_from([before[:place], changed + before[place + 1 :]])))
    try:
        check_others(damaged, FINISHED, f"{name} at {place}")
    finally:
        path.write_bytes(before)
