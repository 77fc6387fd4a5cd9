"""The parts of a cache of images that is being built: what is decoded, on the disk, part by part.

``images.npy.partial`` has room for all images. A part that is on the disk has a record
``part-00012.json``, with its sums and with the images that could not be read.
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
"""Images of a part."""


class Block(NamedTuple):
    """Some images of a source, one after the other.

    Attributes:
        pixels: uint8 [n,3,side,side]; zeros where an image could not be read.
        modes: How many files had which mode of their own, where that is known.
        failures: What could not be read, and why, by row of the block.
    """

    pixels: NDArray[np.uint8]
    modes: dict[str, int]
    failures: dict[int, str]


class Source(Protocol):
    """What a cache is made of.

    Attributes:
        name: Begins the cache's name.
        key: What decides its content, e.g. hashes of its files.
        side: Height and width of the images in pixels.
        skip_corrupt: Leave out what cannot be read.
    """

    name: str
    key: list[str]
    side: int
    skip_corrupt: bool

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, start: int, stop: int) -> Block:
        """Some of the images; called by several threads at once."""
        ...

    def changed(self) -> bool:
        """Whether what it reads has changed since :attr:`key` was computed."""
        ...


class Part(NamedTuple):
    """The outcome of decoding a part.

    Attributes:
        images: Its number of images.
        failures: Why some of them cannot be read.
    """

    images: int
    failures: list[str]


class Parts:
    """The parts of a cache that the holder of its claim builds.

    Args:
        source: What the cache is made of.
        folder: The cache's folder.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self._source, self._folder = source, folder

    @property
    def images(self) -> Path:
        """The file with room for all images; it exists after :meth:`allocate`."""
        return self._folder / "images.npy.partial"

    def missing(self) -> list[int]:
        """Return the first image of each part that is not on the disk."""
        return [start for start in self._starts() if not self._record_file(start).exists()]

    def done(self) -> int:
        """Count the images of the parts that are on the disk."""
        missing = sum(self._stop(start) - start for start in self.missing())
        return len(self._source) - missing

    def allocate(self, whole: Path) -> int:
        """Make the file with room for all images, so that a full disk is known of before the work.

        Args:
            whole: The file of a whole cache; taken up where a build was killed before its index.

        Returns:
            Bytes of its header.
        """
        path, side = self.images, self._source.side
        shape = (len(self._source), 3, side, side)
        size = math.prod(shape)
        if not path.exists() and whole.exists():
            whole.replace(path)
        if not path.exists():
            self.forget()
            temporary = path.with_suffix(".new")
            with temporary.open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                else:  # macOS, where a full disk shows later
                    file.truncate(file.tell() + size)
            temporary.replace(path)
        return path.stat().st_size - size

    def decode(self, start: int, offset: int) -> Part:
        """Decode a part and bring it to the disk; safe in several threads at once.

        Args:
            start: Its first image.
            offset: Bytes of the file's header.
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
        """Return why images cannot be read, by row of the source."""
        return {
            start + int(row): why
            for start, record in self._records()
            for row, why in record["failures"].items()
        }

    def modes(self) -> dict[str, int]:
        """Count the files of each mode."""
        counts = (Counter(record["modes"]) for _, record in self._records())
        return dict(sum(counts, Counter[str]()))

    def moments(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of each channel over the images that were read."""
        read = len(self._source) - len(self.failures())
        return _moments([record for _, record in self._records()], read * self._source.side**2)

    def forget(self) -> None:
        """Have every part decoded again, next time."""
        for start in self._starts():
            self._record_file(start).unlink(missing_ok=True)

    def forget_failed(self) -> None:
        """Have fixed files read again, even if their size and time are as before."""
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
                raise CareError(f"{self._folder}: parts vanished; run the same command again")
            records.append((start, record))
        return records


def _sums(block: Block) -> tuple[list[int], list[int]]:
    """Sum each channel's values, and their squares, over the images that could be read."""
    sums, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    for row, image in enumerate(block.pixels):  # one by one: in 64 bits a part is large
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
    # In integers: the difference of two large floats would lose the variance's digits.
    variance = [pixels * square - total**2 for square, total in zip(squares, sums, strict=True)]
    return mean, [math.sqrt(value) / pixels / 255 for value in variance]
