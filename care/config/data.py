"""Configure the data set of a trial."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from care.config.base import Model, PositiveInt, refuse, registered
from care.registry import DATA, DataEntry

_NO_LETTERS = re.compile(r"[^A-Za-z0-9]+")


class DataConfig(Model):
    """A data set, or a part of one. See ``docs/data.md``.

    Attributes:
        name: Name of a registered data set.
        side: Height and width in pixels to which images are resized; None for the set's own size.
        train_images: Number of training samples; None for all. The part has equal numbers of each
            class, up to one. It does not depend on the seed, and is a subset of each larger part.
        test_images: Number of test samples, selected like the training samples; None for all.
        path: Folder or file under ``runtime.data_root``; None for the set's default. ``images``
            needs a path.
        class_list: A text file under ``runtime.data_root`` that selects class folders, one per
            line. None for all folders, and for ImageNet-100 ``imagenet100.txt``.
        skip_corrupt: Leave out image and structure files that cannot be read, instead of refusing
            the data set.
    """

    name: Annotated[str, registered(DATA)] = "digits"
    side: PositiveInt | None = None
    train_images: PositiveInt | None = None
    test_images: Annotated[int, Field(ge=2)] | None = None
    path: str | None = None
    class_list: str | None = None
    skip_corrupt: bool = False

    @property
    def source(self) -> DataEntry:
        """The registry's entry of the data set."""
        return DATA[self.name]

    @property
    def transfer_name(self) -> str:
        """Name of the transfer to this set: its name and, without a fixed path, its path."""
        if not self.source.needs_path:
            return self.name
        location = "_".join(filter(None, (self.path, self.class_list)))
        return f"{self.name}_{_NO_LETTERS.sub('_', location).strip('_')}"

    @property
    def pixels(self) -> int | None:
        """Height and width of the images after resizing; None for point clouds."""
        return self.side or self.source.side

    @property
    def train_size(self) -> int | None:
        """Number of training samples; None if only the files show it."""
        return self.train_images or self.source.train_size

    @property
    def test_size(self) -> int | None:
        """Number of test samples; None if only the files show it."""
        return self.test_images or self.source.test_size

    @model_validator(mode="after")
    def _check_against_source(self) -> Self:
        _check_side(self)
        _check_files(self)
        parts = (("train", self.train_images), ("test", self.test_images))
        for split, count in parts:
            most = self.source.train_size if split == "train" else self.source.test_size
            if count and most and count > most:
                allowed = f"at most {most}, the number of {split} images of {self.name!r}"
                refuse(f"data.{split}_images", count, allowed)
        return self


def _check_side(data: DataConfig) -> None:
    source = data.source
    if data.side and source.kind == "points":
        refuse("data.side", data.side, f"none, as {data.name!r} are point clouds")
    if data.side and data.side != source.side and not source.resizable:
        refuse("data.side", data.side, f"{source.side}, the side of {data.name!r}")


def _check_files(data: DataConfig) -> None:
    source = data.source
    if source.needs_path and data.path is None:
        refuse("data.path", None, f"the folder of the {source.kind}, under runtime.data_root")
    if data.path is not None and not source.located:
        refuse("data.path", data.path, f"none, as {data.name!r} has a fixed path")
    if data.class_list is not None and not source.tree:
        refuse("data.class_list", data.class_list, "none, except for image folders")
    if data.skip_corrupt and not source.located:
        refuse("data.skip_corrupt", True, "false, except for your own image or structure files")
