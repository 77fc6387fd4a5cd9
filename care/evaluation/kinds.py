"""Measure rotation and composition of each kind of image augmentation alone.

The paper measures whole augmentations; the kinds are ours [A] (docs/method.md, Readouts).
"""

from __future__ import annotations

from care.augmentation import ImageAugmenter
from care.augmentation.kinds import SINGLE, has_kind, sample_kind
from care.evaluation.features import Features
from care.evaluation.geometry import add_views
from care.evaluation.measure import Trained
from care.evaluation.results import Results
from care.evaluation.space_measures import SpaceMeasures
from care.registry import AUGMENTATION_KINDS, measures_of_kind
from care.system.rng import generator

_PAIRS = 4
_IMAGES = 2000


def measure_kinds(trained: Trained) -> Results:
    """Measure each kind of the trial's augmentations on up to 2,000 test images.

    Four pairs of augmentations are drawn of each kind; kinds without a parameter have one.

    Raises:
        care.evaluation.resume.Paused: ``trained.progress`` stopped the evaluation.
    """
    augmentation = trained.config.augmentation
    augmenter = trained.dataset.augmenter(augmentation)
    assert isinstance(augmenter, ImageAugmenter)
    samples = trained.dataset.test.images[:_IMAGES]
    clean = [features[: len(samples)] for features in trained.plain(trained.dataset.test.images)]
    results = Results()
    notes = _Notes()
    for kind in AUGMENTATION_KINDS:
        trained.progress.check()
        if not has_kind(augmentation, kind):
            notes.add(kind, "kinds: not measured, no augmentation of the trial")
            continue
        rows = 1 if kind in SINGLE else 2 * _PAIRS
        table = sample_kind(augmentation, kind, rows, augmenter.size, generator(0, f"kind-{kind}"))
        spaces = [
            SpaceMeasures(name, features, normalized=True)
            for name, features in zip(Features._fields, clean, strict=True)
        ]
        tables = [table.rows(slice(row, row + 1)) for row in range(rows)]
        add_views(spaces, trained.network, samples, augmenter, tables)
        for space in spaces:
            measured = space.results()
            results.measures |= _of_kind(kind, measured.measures)
            for note in measured.notes:
                notes.add(kind, note)
    results.notes = notes.lines()
    return results


class _Notes:
    """Notes of several kinds, each once, with all its kinds."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}

    def add(self, kind: str, note: str) -> None:
        """Add a note of a kind, which starts with its space."""
        self._kinds.setdefault(note, []).append(kind)

    def lines(self) -> list[str]:
        """Return the notes, e.g. ``head: crop, blur: …``."""
        parts = ((*note.partition(": "), kinds) for note, kinds in self._kinds.items())
        return [f"{space}: {', '.join(kinds)}: {reason}" for space, _, reason, kinds in parts]


def _of_kind(kind: str, measures: dict[str, float]) -> dict[str, float]:
    """Choose the measures of a kind, and name them after it."""
    return {
        f"{name}_{kind}": value
        for name, value in measures.items()
        if name.partition("/")[2] in measures_of_kind(kind)
    }
