"""``care doctor`` finds problems, gives the fix of each, and fails if a sweep could not run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from care.system.files import read_json
from sweeps.cli import doctor
from sweeps.doctor import cluster, machine, node_check
from sweeps.doctor.finding import Finding, bad, note, ok


def test_problems_are_printed_with_their_fix_and_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    findings = [ok("Python", "3.11"), note("torch", "no GPU", "a CUDA build")]

    def checks(*_: object) -> Iterator[Finding]:
        yield from findings

    monkeypatch.setattr(doctor, "_run_checks", checks)
    assert doctor.doctor_command(tmp_path, None, None) == 0
    findings.append(bad("store", "cannot be written", "choose another"))
    assert doctor.doctor_command(tmp_path, None, None) == 1
    output = capsys.readouterr().out
    assert "note torch: no GPU\n      → a CUDA build\n" in output.replace("note  ", "note ")
    assert "store: cannot be written\n      → choose another" in output


def test_a_store_that_is_no_folder_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    (writable,) = machine.check_store(tmp_path / "runs")
    (broken,) = machine.check_store(file)
    assert (writable.verdict, broken.verdict) == ("ok", "bad")
    assert "--store" in broken.fix


def test_a_machine_without_slurm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (finding,) = cluster.check_slurm()
    assert finding.verdict == "bad"
    assert "sbatch" in finding.detail
    assert "care sweep run" in finding.fix


def test_a_node_reports_what_it_lacks(tmp_path: Path) -> None:
    node_check.main(tmp_path, str(tmp_path / "no-scratch"), None)
    report = read_json(tmp_path / "node-0.json")
    assert report is not None
    assert not report["shared"]
    assert "no-scratch" in report["scratch"]
    (tmp_path / "marker").touch()
    node_check.main(tmp_path, str(tmp_path), None)
    report = read_json(tmp_path / "node-0.json")
    assert report is not None
    assert report["shared"]
    assert (report["scratch"], report["torch"]) == ("", "")


def test_two_nodes_reach_each_other(tmp_path: Path) -> None:
    reasons: list[str] = []
    listener = threading.Thread(target=lambda: reasons.append(node_check._listen(tmp_path, None)))
    listener.start()
    assert node_check._connect(tmp_path) == ""
    listener.join()
    assert reasons == [""]
