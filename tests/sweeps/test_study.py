"""``care init``: a study's folder is made whole or not at all, and nothing of anybody is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from care.errors import ConfigError, Problem
from sweeps.backends.slurm.config import load_cluster
from sweeps.plan import make_plan
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from sweeps.study.make import make_study

FILES = [".gitignore", "Makefile", "README.md", "cluster.yaml", "experiment.yaml", "sweep.yaml"]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    "name", ["my-study", "010", "yes", "2024-01-01", "Ü 2 $(x) #", "λ", "a" * 99]
)
def test_any_folder_gives_a_sweep_that_can_be_planned(name: str, tmp_path: Path) -> None:
    study = tmp_path / name
    assert make_study(str(study), "1.2.3") == FILES == names(study)
    assert names(tmp_path) == [name]
    assert make_plan(load_sweep(study / "sweep.yaml"), Store(study / "runs")).wanted == 9
    assert load_cluster(study / "cluster.yaml").gpus == 1
    assert f"# {name}\n" in (study / "README.md").read_text(encoding="utf-8")
    assert "sweeps/" not in (study / "cluster.yaml").read_text()
    mask = os.umask(0)
    os.umask(mask)
    assert study.stat().st_mode & 0o777 == 0o777 & ~mask


def test_an_empty_folder_is_filled_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell may stand in it."""
    monkeypatch.chdir(tmp_path)
    make_study(".", "1")
    assert names(tmp_path) == FILES == sorted(os.listdir())


def test_files_of_the_user_are_named_and_kept(
    tmp_path: Path, refused: Callable[..., Problem]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    problem = refused(make_study, str(tmp_path), "1")
    assert problem.allowed == "allowed: a new or an empty folder; this one has notes.txt"
    assert names(tmp_path) == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_names_are_refused(tmp_path: Path, refused: Callable[..., Problem]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "broken").symlink_to("nowhere")
    before = names(tmp_path)
    reasons = {
        "file": "not a file",
        "file/study": "does not",
        "absent/study": "does not",
        "link": "not a link",
        "link/": "not a link",
        "broken": "not a link",
        "x" * 300: "File name too long",
        "a\nb": "the name of a folder",
        os.fsdecode(b"\xff"): "a name in UTF-8",
    }
    for name, reason in reasons.items():
        assert reason in refused(make_study, f"{tmp_path}/{name}", "1").allowed, name
    for name in ("", " ", "/"):
        assert refused(make_study, name, "1").allowed == "allowed: the name of a folder"
    assert "can be written" in refused(make_study, "/proc/study", "1").allowed
    assert names(tmp_path) == before
    assert names(tmp_path / "empty") == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_nothing(
    exists: bool,
    tmp_path: Path,
    no_space: Callable[[int], AbstractContextManager[None]],
    refused: Callable[..., Problem],
) -> None:
    study = tmp_path / "study"
    if exists:
        study.mkdir()
    with no_space(600):  # the sweep fits, the experiment does not
        problem = refused(make_study, str(study), "1")
    assert "File too large" in problem.allowed
    assert names(tmp_path) == ["study"] * exists
    assert not exists or names(study) == []


@pytest.mark.parametrize("exists", [False, True])
def test_of_two_at_once_one_makes_the_whole_study(exists: bool, tmp_path: Path) -> None:
    for turn in range(30):
        study = tmp_path / str(turn)
        if exists:
            study.mkdir()
        barrier, ends = threading.Barrier(2), list[str]()

        def make(
            version: str,
            study: Path = study,
            barrier: threading.Barrier = barrier,
            ends: list[str] = ends,
        ) -> None:
            barrier.wait()
            try:
                make_study(str(study), version)
            except ConfigError:
                ends.append("refused")
            else:
                ends.append(version)

        threads = [threading.Thread(target=make, args=(version,)) for version in ("A1", "B1")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = set(ends) - {"refused"}
        assert names(study) == FILES
        assert f"care {winner}." in (study / "README.md").read_text()
        load_sweep(study / "sweep.yaml")
    assert len(names(tmp_path)) == 30


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., Problem]
) -> None:
    """Between the look into the folder and the last file."""
    listed = Path.iterdir

    def list_then_write(folder: Path) -> object:
        entries = list(listed(folder))
        if folder == tmp_path and not entries:
            (tmp_path / "README.md").write_text("mine")
        return iter(entries)

    monkeypatch.setattr(Path, "iterdir", list_then_write)
    assert "this one has README.md" in refused(make_study, str(tmp_path), "1").allowed
    assert sorted(os.listdir(tmp_path)) == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"
