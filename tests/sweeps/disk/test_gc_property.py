"""Garbage collection changes nothing that anyone sees, whatever state a store is in."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from analysis.collect import collect as collect_tables
from analysis.comparison import compare
from analysis.comparison_tables import build_paired_table, build_summary_table
from analysis.reference_rows import build_reference_table
from care.errors import CareError
from care.system.claim import Claim
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from care.trials.staleness import Versions
from care.trials.trial_files import StoreFiles
from sweeps.disk.collect import Collector
from sweeps.disk.garbage import GarbageSearch, Keep, Policy
from sweeps.disk.membership import read_membership
from sweeps.disk.usage import scan_trials
from sweeps.report import sweep_summary, write_sweep_report
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store
from sweeps.tracking.run_record import inspect_trial, read_record
from tests.helpers.damaging import DAMAGES, contents
from tests.helpers.outside import keep_reference
from tests.helpers.small_store import copy_store, plan_of

CPU = torch.device("cpu")
LATER = 4e9  # seconds since 1970: whatever may go by its age, goes
_FILES = (
    "status.json",
    "provenance.json",
    "metrics.jsonl",
    "timings.jsonl",
    "starts.jsonl",
    "evaluation.json",
    "details.npz",
    "log.txt",
    "oldest checkpoint",
    "newest checkpoint",
)
_WAYS = ("missing", "empty", "cut", "flipped")


@dataclass(frozen=True)
class Accident:
    """What happened to a trial before the collection.

    Attributes:
        trial: Which of the three started ones: two finished, one paused.
        file: The file.
        way: How it was damaged.
    """

    trial: int
    file: str
    way: str


_ACCIDENTS = st.lists(
    st.builds(Accident, st.integers(0, 2), st.sampled_from(_FILES), st.sampled_from(_WAYS)),
    max_size=3,
)
_KEEPS = st.lists(st.sampled_from(["encoder", "all", "none"]), min_size=1, max_size=2)


def started(store: Store) -> list[TrialFolder]:
    return sorted(store.all_trials(), key=lambda folder: folder.trial_id)


def damage(store: Store, accident: Accident) -> None:
    folder = started(store)[accident.trial].path
    checkpoints = sorted(folder.glob("checkpoint-*.pt"))
    named = {
        f"{age} checkpoint": path
        for age, path in zip(
            ("oldest", "newest"), (checkpoints[:1] + checkpoints[-1:]), strict=False
        )
    }
    path = named.get(accident.file, folder / accident.file)
    if path.is_file():
        DAMAGES[accident.way](path)


def leave_rubbish(store: Store) -> None:
    """What killed processes and earlier repairs leave behind."""
    trial = started(store)[0].path
    for name in (".status.json.4242-aaaa.tmp", "evaluation/linear.npz", "a.json.damaged-2020"):
        path = trial / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(100))
    shutil.copytree(trial, store.root / "archive" / f"{trial.name}-20200101-000000-000000")


def gc(store: Store, keep: Keep, *, dry: bool = False) -> None:
    search = GarbageSearch(store, Policy(keep), read_membership(store), LATER)
    findings = search.search(scan_trials(store).items())
    if not dry:
        Collector(store, keep).collect(findings)


def seen(store: Store) -> dict[str, object]:
    """Everything that plan, report and MLflow get from a store."""
    plan = plan_of(store)
    seen: dict[str, object] = {
        f"plan {trial.trial_id}": (trial.state, trial.epoch, trial.reason, trial.machine)
        for trial in plan.trials
    }
    summary = sweep_summary(plan.sweep, store)
    trials, curves = collect_tables(StoreFiles(store.trials), summary)
    tables = {"trials": trials, "curves": curves, "references": build_reference_table(summary)}
    comparison = compare(trials, list(summary.members[0].axes), summary.metric, summary.mode)
    if metrics := comparison.measured():
        tables["summary"] = build_summary_table(comparison, metrics)
        tables["differences"] = build_paired_table(comparison, metrics)
    seen |= {f"table {name}": table.to_csv(index=False) for name, table in tables.items()}
    versions = Versions()
    for trial in plan.trials:
        folder = store.trial(trial.trial_id)
        tracked = inspect_trial(folder, trial.label, versions, trial.config, trial.point)
        try:
            seen[f"run {trial.trial_id}"] = read_record(tracked)
        except CareError as error:
            seen[f"run {trial.trial_id}"] = str(error).replace(str(store.root), "")
    return seen


def networks(store: Store) -> dict[str, tuple[int, dict[str, torch.Tensor]] | None]:
    """The network that ``care evaluate`` and ``care.load`` open of each trial."""
    return {
        folder.trial_id: checkpoint.load_network(
            folder.path, CPU, lambda line: None, folder.trial_id
        )
        for folder in started(store)
    }


@contextlib.contextmanager
def copied(original: Store) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield copy_store(original, Path(folder) / "runs")


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    _ACCIDENTS,
    _KEEPS,
    st.sampled_from([None, None, 0, 1, 2]),
    st.booleans(),
    st.sampled_from(["none", "sound", "damaged"]),
)
@example([Accident(0, "evaluation.json", "cut")], ["none"], None, False, "none")
@example([Accident(1, "details.npz", "missing")], ["none", "encoder"], None, True, "none")
@example([Accident(0, "newest checkpoint", "flipped")], ["encoder"], 1, False, "none")
def test_plan_report_mlflow_and_networks_are_unchanged(
    original: Store,
    accidents: list[Accident],
    keeps: list[Keep],
    held: int | None,
    rubbish: bool,
    reference: str,
) -> None:
    with copied(original) as store:
        if rubbish:
            leave_rubbish(store)
        if reference != "none":
            config = restore_sweep(store.sweep("tiny").declaration()).base_config()
            kept = keep_reference(store.root, config, {"encoder/gamma": 0.5})
            if reference == "damaged":
                DAMAGES["cut"](kept.path / "evaluation.json")
        for accident in accidents:
            damage(store, accident)
        with contextlib.ExitStack() as stack:
            running = None if held is None else started(store)[held].path
            if running is not None:
                claim = Claim.take(running)
                assert claim
                stack.enter_context(claim)
            before, opened = seen(store), networks(store)
            untouched = contents(running) if running else {}
            for keep in keeps:
                whole = contents(store.root)
                gc(store, keep, dry=True)
                assert contents(store.root) == whole
                gc(store, keep)
                assert seen(store) == before
            if running:
                assert contents(running) == untouched
            if "none" not in keeps:
                torch.testing.assert_close(networks(store), opened, rtol=0, atol=0)


def test_the_whole_report_is_equal_byte_for_byte(store: Store) -> None:
    """After the collection that removes most; the tables after the others are compared above."""
    sweep = restore_sweep(store.sweep("tiny").declaration())
    keep_reference(store.root, sweep.base_config(), {"encoder/gamma": 0.5})
    leave_rubbish(store)
    page = write_sweep_report(sweep, store)
    before, html = contents(page.parent / "tables"), page.read_bytes()
    gc(store, "none")
    assert write_sweep_report(sweep, store) == page
    after = contents(page.parent / "tables")
    assert after == before
    assert {name for name in after if name.endswith(".csv")} >= {"trials.csv", "references.csv"}
    assert page.read_bytes() == html
