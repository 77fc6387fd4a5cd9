"""Which samples a trial learns from and is measured on."""

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
        name: Of a registered data set.
        side: Height and width in pixels that its images are brought to; None for its own.
        train_images: Train on a part of this many samples, with as many of each class, up to one.
            It is the same part for every seed, and lies within every larger part.
        test_images: The same for the test split.
        path: Where it lies under ``runtime.data_root``; None for the set's own place. An ``images``
            tree has none of its own.
        class_list: A text file under ``runtime.data_root`` with a class folder a line; only these
            are read. None for all folders, and for ImageNet-100 ``imagenet100.txt``.
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
        """Name the transfer to it: by its name, and by its path where it has no fixed one."""
        if not self.source.needs_path:
            return self.name
        place = "_".join(filter(None, (self.path, self.class_list)))
        return f"{self.name}_{_NO_LETTERS.sub('_', place).strip('_')}"

    @property
    def pixels(self) -> int | None:
        """Height and width of the images as they are used; None for point clouds."""
        return self.side or self.source.side

    @property
    def train_size(self) -> int | None:
        """Samples trained on; None where that is known only once the files are there."""
        return self.train_images or self.source.train_size

    @model_validator(mode="after")
    def _check_against_source(self) -> Self:
        _check_side(self)
        _check_files(self)
        parts = (("train", self.train_images), ("test", self.test_images))
        for split, asked in parts:
            most = self.source.train_size if split == "train" else self.source.test_size
            if asked and most and asked > most:
                allowed = f"at most {most}, the number of {split} images of {self.name!r}"
                refuse(f"data.{split}_images", asked, allowed)
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
        refuse("data.path", data.path, f"none, as {data.name!r} has a place of its own")
    if data.class_list is not None and not source.tree:
        refuse("data.class_list", data.class_list, "none, but with a tree of class folders")
    if data.skip_corrupt and not source.located:
        refuse("data.skip_corrupt", True, "false, but with image or structure files of your own")
