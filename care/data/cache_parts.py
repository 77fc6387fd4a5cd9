"""Store the decoded images of an unfinished cache part by part.

``images.npy.partial`` has room for all images. Each part on the disk has a record
``part-00012.json`` with its sums and the images that could not be read.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from care.errors import CareError
from care.system.files import read_json, write_json

PART = 256
"""Images per part."""


class Block(NamedTuple):
    """Consecutive images of a source.

    Attributes:
        pixels: uint8 [n,3,side,side]; zeros where an image could not be read.
        modes: Number of files by PIL mode; empty if the source has no image files.
        failures: Name and error of each unreadable image, by row of the block.
    """

    pixels: NDArray[np.uint8]
    modes: dict[str, int]
    failures: dict[int, str]


class Source(Protocol):
    """Images from which a cache is built.

    Attributes:
        name: Prefix of the cache's name.
        key: All that decides the cache's content, e.g. hashes of the files.
        side: Height and width of the images in pixels.
        skip_corrupt: Leave out images that cannot be read.
    """

    name: str
    key: list[str]
    side: int
    skip_corrupt: bool

    def __len__(self) -> int:
        """Count the images."""
        ...

    def read(self, start: int, stop: int) -> Block:
        """Decode images ``start`` to ``stop`` (exclusive); called from several threads."""
        ...

    def changed(self) -> bool:
        """Check whether the source's files changed since :attr:`key` was computed."""
        ...


class Part(NamedTuple):
    """The outcome of decoding a part.

    Attributes:
        images: Number of images, including unreadable ones.
        failures: Name and error of each unreadable image.
    """

    images: int
    failures: list[str]


class Parts:
    """The parts of an unfinished cache; only the process with its claim may use them.

    Args:
        source: The images.
        folder: The cache's folder.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self._source, self._folder = source, folder

    @property
    def images(self) -> Path:
        """Path of the file with room for all images; it exists after :meth:`allocate`."""
        return self._folder / "images.npy.partial"

    def missing(self) -> list[int]:
        """Return the first image of each part that is not on the disk."""
        return [start for start in self._starts() if not self._record_file(start).exists()]

    def done(self) -> int:
        """Count the images of the parts that are on the disk."""
        missing = sum(self._stop(start) - start for start in self.missing())
        return len(self._source) - missing

    def allocate(self, complete: Path) -> int:
        """Create the file with room for all images, so that a full disk fails before the work.

        Args:
            complete: The file of a complete cache. It is reused if it exists: a build was killed
                after it and before the index.

        Returns:
            Size of the file's header in bytes.
        """
        path, side = self.images, self._source.side
        shape = (len(self._source), 3, side, side)
        size = math.prod(shape)
        if not path.exists() and complete.exists():
            complete.replace(path)
        if not path.exists():
            self.forget()  # records without their images
            temporary = path.with_suffix(".new")
            with temporary.open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                else:  # macOS: a full disk fails later, while decoding
                    file.truncate(file.tell() + size)
            temporary.replace(path)
        return path.stat().st_size - size

    def decode(self, start: int, offset: int) -> Part:
        """Decode a part and write it to the disk; thread-safe.

        Args:
            start: Index of the part's first image.
            offset: Size of the file's header in bytes.
        """
        stop = self._stop(start)
        block = self._source.read(start, stop)
        with self.images.open("r+b") as file:
            file.seek(offset + start * block.pixels[0].nbytes)
            file.write(np.ascontiguousarray(block.pixels).data)
            file.flush()
            os.fsync(file.fileno())
        sums, squares = _sums(block)
        record = {
            "sum": sums,
            "sum_of_squares": squares,
            "modes": block.modes,
            "failures": block.failures,
        }
        write_json(self._record_file(start), record)
        return Part(stop - start, list(block.failures.values()))

    def failures(self) -> dict[int, str]:
        """Return name and error of each unreadable image, by row of the source."""
        return {
            start + int(row): why
            for start, record in self._records()
            for row, why in record["failures"].items()
        }

    def modes(self) -> dict[str, int]:
        """Count the files by PIL mode."""
        counts = (Counter(record["modes"]) for _, record in self._records())
        return dict(sum(counts, Counter[str]()))

    def moments(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of each channel over the readable images."""
        readable = len(self._source) - len(self.failures())
        return _moments([record for _, record in self._records()], readable * self._source.side**2)

    def forget(self) -> None:
        """Remove all records, so that the next build decodes every part."""
        for start in self._starts():
            self._record_file(start).unlink(missing_ok=True)

    def forget_failed(self) -> None:
        """Remove the records of parts with failures, so that the next build decodes them.

        Without that, a fixed file of equal size and time would stay unread.
        """
        for start, record in self._records():
            if record["failures"]:
                self._record_file(start).unlink()

    def _starts(self) -> range:
        return range(0, len(self._source), PART)

    def _stop(self, start: int) -> int:
        return min(start + PART, len(self._source))

    def _record_file(self, start: int) -> Path:
        return self._folder / f"part-{start // PART:05d}.json"

    def _records(self) -> list[tuple[int, dict[str, Any]]]:
        records = []
        for start in self._starts():
            record = read_json(self._record_file(start))
            if record is None:
                raise CareError(f"{self._folder}: parts vanished; repeat the command")
            records.append((start, record))
        return records


def _sums(block: Block) -> tuple[list[int], list[int]]:
    """Sum each channel's values, and their squares, over the readable images."""
    sums, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    for row, image in enumerate(block.pixels):  # one by one: a part in 64 bits would be large
        if row not in block.failures:
            values = image.reshape(3, -1).astype(np.uint64)
            sums += values.sum(1)
            squares += (values * values).sum(1)
    return sums.tolist(), squares.tolist()


def _moments(records: list[dict[str, Any]], pixels: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, in [0, 1], from exact integer sums."""
    sums = [sum(record["sum"][channel] for record in records) for channel in range(3)]
    squares = [sum(record["sum_of_squares"][channel] for record in records) for channel in range(3)]
    mean = [total / pixels / 255 for total in sums]
    # In integers: the difference of two large floats would lose digits of the variance.
    variance = [pixels * square - total**2 for square, total in zip(squares, sums, strict=True)]
    return mean, [math.sqrt(value) / pixels / 255 for value in variance]
