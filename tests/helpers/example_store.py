"""A store of finished trials whose files are real and whose numbers are made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.collect import collect
from analysis.comparison import compare
from analysis.details import Details
from analysis.figure_data import Drawn, FigureData
from analysis.paper_figures import FIGURES
from analysis.report import write_report
from analysis.summary import Member, Reproduction, SweepSummary
from care.config import TrialConfig
from care.config.loading import validate
from care.trials.folder import TrialFolder
from care.trials.identity import group_id, trial_id
from care.trials.records import ProvenanceRecord, TimingRecord
from care.trials.state import State
from care.trials.trial_files import StoreFiles

EDGES = np.linspace(-1, 1, 41)
AUGMENTATIONS = tuple(f"augmentation {number}" for number in range(1, 21))
OPERATIONS = ("flip", "hue +0.10", "crop, middle half")
SPACES = ("encoder", "head")

Arrays = Mapping[str, NDArray[Any]]

OBJECTIVES: dict[str, dict[str, Any]] = {
    "SimCLR": {"name": "simclr"},
    "CARE": {"name": "simclr", "equivariance": {"weight": 0.1}},
    "L_inv": {"name": "alignment"},
    "L_unif": {"name": "uniformity"},
}
"""Methods by name."""


class MadeStore:
    """Trials of one sweep over methods, in the order in which they were added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.members: list[Member] = []

    def add(
        self,
        method: str,
        seed: int,
        *,
        measures: Mapping[str, float] | None = None,
        epochs: Mapping[str, list[float]] | None = None,
        details: Arrays | None = None,
        state: State = State.FINISHED,
    ) -> Path:
        """Write a trial as a run does; gives its folder.

        Args:
            method: A name in :data:`OBJECTIVES`.
            seed: The seed.
            measures: Of the end.
            epochs: Each metric's value by epoch.
            details: The arrays of ``details.npz``; None for a trial from before there were any.
            state: As a plan has it.
        """
        config = validate(TrialConfig, {"seed": seed, "objective": OBJECTIVES[method]}, "test")
        folder = TrialFolder(self.root / "trials" / trial_id(config))
        folder.create(config)
        folder.write_provenance(ProvenanceRecord(code_version="c0de", threads=1, device="cpu"))
        curves = epochs or {"heldout/gamma": [1.0]}
        for epoch, values in enumerate(zip(*curves.values(), strict=True), start=1):
            line = {"epoch": epoch, "step": epoch, **dict(zip(curves, values, strict=True))}
            timing = TimingRecord(epoch=epoch, seconds=1.0, images_per_second=9.0, finished_at=1.0)
            folder.append_epoch(line, timing)
        folder.write_status(State.FINISHED, 1, 1)
        folder.write_evaluation(dict(measures or {"head/gamma": 1.0}))
        if details is not None:
            folder.write_details(details)
        identity = folder.trial_id
        self.members.append(Member(identity, group_id(config), seed, {"variant": method}, state))
        return folder.path

    def arrays(self, name: str) -> dict[str, list[NDArray[Any]]]:
        """An array of ``details.npz`` by method, trial after trial, as numpy reads it."""
        found: dict[str, list[NDArray[Any]]] = {}
        for member in self.members:
            with np.load(self.root / "trials" / member.trial_id / "details.npz") as details:
                found.setdefault(member.axes["variant"], []).append(details[name])
        return found

    def epochs(self, method: str, metric: str) -> NDArray[np.float64]:
        """A metric of a method's trials, [seeds,epochs]."""
        folders = [
            TrialFolder(self.root / "trials" / member.trial_id)
            for member in self.members
            if member.axes["variant"] == method
        ]
        return np.array([[line[metric] for line in one.read_metrics()] for one in folders])

    def summary(self, figure: str, metric: str = "head/gamma", **more: Any) -> SweepSummary:
        """The sweep, which reproduces a figure; ``more`` goes into the reproduction."""
        fields: dict[str, Any] = {
            "percent": False,
            "values": {},
            "differing": [],
            "assumed": (),
            "missing": "",
        }
        return SweepSummary(
            name="a-sweep",
            description="What it does.",
            members=self.members,
            metric=metric,
            mode="min",
            spec_yaml="name: a-sweep\n",
            experiment_yaml="seed: 0\n",
            command="care sweep run a.yaml",
            code_version="c0de",
            reproduction=Reproduction("Fig 0", figure, metric, **{**fields, **more}),
        )

    def draw(self, figure: str, metric: str = "head/gamma", **more: Any) -> Drawn:
        """A figure of the paper."""
        summary = self.summary(figure, metric, **more)
        trials, curves = collect(StoreFiles(self.root / "trials"), summary)
        comparison = compare(trials, ["variant"])
        details = Details(StoreFiles(self.root / "trials"), comparison)
        assert summary.reproduction
        return FIGURES[figure](FigureData(comparison, curves, details, summary.reproduction))

    def report(self, summary: SweepSummary) -> str:
        """The page of a report."""
        page = write_report(StoreFiles(self.root / "trials"), summary, self.root / "report")
        return page.read_text(encoding="utf-8")


def image_details(rng: np.random.Generator, width: float = 0.3) -> dict[str, NDArray[Any]]:
    """The arrays of a trial on images, at random; ``width`` of the angles of cosines, in rad."""
    found: dict[str, NDArray[Any]] = {
        "rotation/names": np.array(AUGMENTATIONS),
        "named/names": np.array(OPERATIONS),
        "cosine/edges": EDGES,
        "retrieval/shift": rng.uniform(0, 1, 5),
    }
    for space in SPACES:
        found[f"{space}/wahba"] = rng.uniform(0.1, 1.4, len(AUGMENTATIONS))
        found[f"{space}/named_wahba"] = rng.uniform(0.1, 1.4, len(OPERATIONS))
        found[f"{space}/named_gamma"] = rng.uniform(0.1, 2, len(OPERATIONS))
        for pairs in ("shared", "positive"):
            cosines = np.cos(rng.normal(0, width, 500))
            found[f"{space}/cosine_{pairs}"] = np.histogram(cosines, EDGES)[0].astype(np.int64)
        found[f"{space}/retrieval"] = rng.integers(0, 256, (5, 2, 6, 3, 8, 8)).astype(np.uint8)
    return found


def protein_details(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """The trajectories of a trial on proteins, at random."""
    return {"head/trajectories": rng.normal(0, 1, (3, 3, 100, 2))}


def two_methods(root: Path, rng: np.random.Generator) -> MadeStore:
    """SimCLR and CARE with two seeds, and the arrays of images and of proteins."""
    made = MadeStore(root)
    for place, method in enumerate(("SimCLR", "CARE")):
        for seed in (0, 1):
            names = ("heldout/gamma", "heldout/alignment", "heldout/positive_cosine")
            accuracy = 0.8 + 0.05 * place + 0.01 * seed
            made.add(
                method,
                seed,
                measures={"head/gamma": 0.5 - 0.2 * place, "encoder/probe_accuracy": accuracy},
                epochs={name: rng.uniform(0, 1, 4).tolist() for name in names},
                details=image_details(rng) | protein_details(rng),
            )
    return made
