"""Describe the entries of the registries: data sets, encoders, objectives and measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from care.plugins import Entry

if TYPE_CHECKING:  # its checks look names up in the registries
    from care.config import TrialConfig

Kind = Literal["images", "points"]


@dataclass(frozen=True)
class DataEntry(Entry):
    """A data set.

    Attributes:
        loader: ``module:function`` from a :class:`care.config.DataConfig` and the data root to a
            :class:`care.data.dataset.Dataset`.
        about: Description for ``care data list``.
        preparer: ``module:function`` that downloads the set or builds its cache; None without
            either.
        train_size: Number of training samples, to check a batch before loading; None if only the
            files show it.
        test_size: Number of held-out samples, or None.
        side: Default height and width of the images in pixels; None for point clouds.
        resizable: The configuration may give another side.
        kind: ``images`` or ``points``.
        located: The configuration may give the path of the files.
        tree: The set is an image folder, with one folder per class.
        decoded: The loader decodes image files at the configured side (:mod:`care.data.decoding`);
            otherwise it gives arrays of the set's own side, which are resized as tensors.
        licence: Licence of the data, as far as known; empty for the user's own data.
        places: Files or folders below the data root; if one exists, the set is present.
        by_hand: The files cannot be downloaded from here; the preparer's error states how to get
            them.
        per_class: The field reports the mean of the classes' accuracies, not the share of all
            samples that are right.
        files: ``module:function`` that lists the set's files as
            :class:`care.data.fingerprints.sources.DataFiles`, without torch. None for a set without
            files: its samples are loaded and hashed instead.
    """

    loader: str
    about: str
    preparer: str | None = None
    train_size: int | None = None
    test_size: int | None = None
    side: int | None = None
    resizable: bool = True
    kind: Kind = "images"
    located: bool = False
    tree: bool = False
    decoded: bool = False
    licence: str = ""
    places: tuple[str, ...] = ()
    by_hand: bool = False
    per_class: bool = False
    files: str | None = None

    def __post_init__(self) -> None:
        if (self.side is None) != (self.kind == "points"):
            raise ValueError(f"{self.loader}: images have a side, point clouds have none")

    @property
    def needs_path(self) -> bool:
        """True if the configuration must give the path of the files."""
        return self.located and not self.places


@dataclass(frozen=True)
class EncoderEntry(Entry):
    """An encoder.

    Attributes:
        factory: ``module:function`` that takes no argument and returns the encoder's module; see
            :mod:`care.models`.
        size: Side of the images in pixels, or number of points, to which ``flops`` applies.
        flops: Floating-point operations of one forward pass of one sample; a multiply-add counts as
            two.
        kind: Kind of the samples, ``images`` or ``points``.
    """

    factory: str
    size: int
    flops: float
    kind: Kind = "images"

    def flops_at(self, size: int) -> float:
        """Scale ``flops`` to a sample of another size, linearly in pixels or points."""
        ratio = size / self.size
        return self.flops * (ratio if self.kind == "points" else ratio**2)


@dataclass(frozen=True)
class ObjectiveEntry(Entry):
    """A base objective.

    Attributes:
        loss: ``module:class``, a :class:`care.objectives.base.BaseObjective`.
        config: ``module:class`` of its settings, a
            :class:`care.config.objective.BaseObjectiveConfig`, with its passes through the encoder,
            its terms and its checks.
    """

    loss: str
    config: str


def always(_: TrialConfig) -> bool:
    """Measure every trial."""
    return True


def of_images(config: TrialConfig) -> bool:
    """Measure trials on images."""
    return config.data.source.kind == "images"


def of_points(config: TrialConfig) -> bool:
    """Measure trials on point clouds."""
    return config.data.source.kind == "points"


SPACES = ("encoder", "head")
"""The measured spaces: the encoder's output, and the head's output on the sphere."""


@dataclass(frozen=True)
class MeasureEntry(Entry):
    """A measure of a trained network, or several that are computed together.

    Attributes:
        function: ``module:function`` from :class:`care.evaluation.measure.Trained` to
            :class:`care.evaluation.results.Results`.
        names: Names that it may report: ``encoder/…`` for the encoder's output or ``head/…`` for
            the head's output on the sphere.
        when: Decides from the configuration whether a trial is measured.
    """

    function: str
    names: tuple[str, ...]
    when: Callable[[TrialConfig], bool] = always

    def __post_init__(self) -> None:
        for name in self.names:
            if name.partition("/")[0] not in SPACES:
                raise ValueError(f"{name}: allowed: names that start with encoder/ or head/")


@dataclass(frozen=True)
class MonitorEntry(Entry):
    """A measure of a network while it trains, or several that are computed together.

    Attributes:
        function: ``module:function`` from :class:`care.evaluation.monitored.Monitored` to values
            by name, without ``heldout/``.
        names: Names that it may report: ``heldout/…``.
        classes: The data need classes.
        parts: It uses features of the parts of ``evaluation.monitor``.
    """

    function: str
    names: tuple[str, ...]
    classes: bool = False
    parts: bool = False

    def __post_init__(self) -> None:
        for name in self.names:
            if not name.startswith("heldout/"):
                raise ValueError(f"{name}: allowed: names that start with heldout/")
