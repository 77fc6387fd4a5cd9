"""A sweep whose trials ran on machines that differ says so, and where its differences mix them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.summary import SweepSummary
from care.system.files import write_json
from care.trials.hardware import Machine, compare_machines
from tests.helpers.example_store import MadeStore

CPU, QUICK = Machine("fp32", "cpu", "1"), Machine("bf16", "cpu", "1")


def on(store: MadeStore, machines: list[Machine]) -> SweepSummary:
    """The sweep, whose trials ran on these machines."""
    for member, machine in zip(store.members, machines, strict=True):
        provenance = {"code_version": "c0de", "precision": machine.precision, "threads": 1}
        path = store.root / "trials" / member.trial_id / "provenance.json"
        write_json(path, {**provenance, "device": machine.device})
    return replace(store.summary("table"), mixed=tuple(compare_machines(machines)))


def test_seeds_whose_pairs_mix_precisions_are_named(store: MadeStore) -> None:
    """SimCLR and CARE with seeds 0 and 1: only seed 1 compares one precision with another."""
    page = store.report(on(store, [CPU, CPU, CPU, QUICK]))
    assert "The trials differ in precision: 3 fp32, 1 bf16." in page
    assert "Paired differences of seed 1 compare trials of different precision" in page


def test_seeds_on_a_machine_each_are_compared_as_they_are(store: MadeStore) -> None:
    page = store.report(on(store, [CPU, QUICK, CPU, QUICK]))
    assert "The trials differ in precision: 2 fp32, 2 bf16." in page
    assert "compare trials of different" not in page


def test_equal_machines_are_no_remark(store: MadeStore, tmp_path: Path) -> None:
    page = store.report(on(store, [CPU] * 4))
    assert "differ in" not in page
    assert "compare trials of different" not in page
