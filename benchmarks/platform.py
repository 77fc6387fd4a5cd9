"""The platform's own time around the training, in seconds: peers have nothing to compare."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import SECONDS, Line, Result, seconds, summarize
from care.trials.records import ProvenanceRecord, TimingRecord
from care.trials.state import State
from care.trials.trial_files import StoreFiles

if TYPE_CHECKING:
    from analysis.summary import SweepSummary
    from care.training.trainer import Trainer

_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_TRIALS, _EPOCHS, _REPEATS = 10_000, 3, 3


def resume() -> list[Result]:
    """Time a resume, from a process's start to the first step after a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        _in_process(_step_and_save, folder)
        line = _seconds("resume", "start, imports, data, state, one step", lambda: _again(folder))
    return [line]


def plan() -> list[Result]:
    """Time the plan of 10,000 trials with an empty store."""
    from benchmarks.scale import declare
    from sweeps.plan import make_plan
    from sweeps.store import Store

    with tempfile.TemporaryDirectory() as folder:
        sweep = declare(Path(folder), _TRIALS, _EPOCHS)
        store = Store(Path(folder, "runs"))
        assert len(make_plan(sweep, store).trials) == _TRIALS
        return [_seconds("plan-10000", "an empty store", lambda: make_plan(sweep, store))]


def collect() -> list[Result]:
    """Time the tables of 10,000 finished trials, read from their files."""
    from analysis.collect import collect

    with tempfile.TemporaryDirectory() as folder:
        summary = _write_trials(Path(folder))
        files = StoreFiles(Path(folder))
        trials, curves = collect(files, summary)
        assert len(trials) == _TRIALS
        assert len(curves) == _TRIALS * _EPOCHS
        versus = f"files of {_EPOCHS} epochs, read before"
        return [
            _seconds("collect-10000", versus, lambda: collect(StoreFiles(Path(folder)), summary))
        ]


def _seconds(name: str, versus: str, action: Callable[[], object]) -> Line:
    return summarize(name, versus, [seconds(action) for _ in range(_REPEATS)], SECONDS)


def _in_process(action: Callable[[str], None], folder: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=action, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


def _again(folder: str) -> None:
    _in_process(_step_from_there, folder)


def _step_and_save(folder: str) -> None:
    from care.trials import checkpoint

    trainer = _step(folder)
    checkpoint.save(Path(folder), trainer.epoch, trainer.step, trainer.state())


def _step_from_there(folder: str) -> None:
    assert _step(folder).step == 2


def _step(folder: str) -> Trainer:
    """Open a trainer of the small experiment like a trial's, and train one step."""
    from benchmarks.care_step import OneStep
    from care.config.loading import load_trial
    from care.distributed.group import ALONE
    from care.training.resume import open_trainer

    trainer, _ = open_trainer(load_trial(_EXPERIMENT), Path(folder), ALONE, 1, print)
    OneStep(trainer)()
    return trainer


def _write_trials(root: Path) -> SweepSummary:
    """Create folders of finished trials, quickly: their files are links to those of one trial."""
    from analysis.summary import Member, SweepSummary

    first = _write_trial(root / f"{0:016x}")
    files = list(first.iterdir())
    for number in range(1, _TRIALS):
        folder = root / f"{number:016x}"
        folder.mkdir()
        for file in files:
            (folder / file.name).hardlink_to(file)
    members = [
        Member(f"{n:016x}", f"{n // 10:016x}", n % 10, {"axis": n // 10}, State.FINISHED)
        for n in range(_TRIALS)
    ]
    return SweepSummary("bench", "", members, "measure 0", "max", "", "", "", "benchmark")


def _write_trial(path: Path) -> Path:
    from care.config.loading import load_trial
    from care.trials.folder import TrialFolder

    folder = TrialFolder(path)
    folder.create(load_trial(_EXPERIMENT))
    folder.write_provenance(ProvenanceRecord(code_version="benchmark", threads=1, device="cpu"))
    for epoch in range(1, _EPOCHS + 1):
        line = {"epoch": epoch, "step": epoch, "train/loss": 1.0, "heldout/gamma": 1.0}
        timing = TimingRecord(epoch=epoch, seconds=1.0, images_per_second=9.0, finished_at=1.0)
        folder.append_epoch(line, timing)
    folder.write_status(State.FINISHED, _EPOCHS, _EPOCHS)
    folder.write_evaluation({f"measure {number}": 1.0 for number in range(40)})
    return path
