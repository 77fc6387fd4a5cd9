"""Image files in the official layout of a data set, whose own lists state classes and splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from care.config import DataConfig
from care.data.cache import build_caches
from care.data.dataset import Dataset
from care.data.download import Remote, fetch
from care.data.fingerprints.fingerprint import hashed_files
from care.data.fingerprints.image_folder import Files
from care.data.image_folder import FileSource, read_cached
from care.data.reporter import Reporter
from care.errors import CareError

_LISTED = 3


class Listing(NamedTuple):
    """The files of a data set.

    Attributes:
        classes: Class names by label.
        train: Training files; those of an official validation part are last.
        test: Test files.
        validation: Number of files of the official validation part; 0 without one.
    """

    classes: tuple[str, ...]
    train: Files
    test: Files
    validation: int = 0


@dataclass(frozen=True)
class ListedImages:
    """A data set of image files with official lists.

    Attributes:
        name: Name in the registry.
        folder: Folder of the files below the data root.
        list_files: Lists the files below a data root. It may raise any error where lists are
            missing or damaged.
        remotes: Returns the files to download; none if nobody offers them with a lasting address.
        advice: How to get the files by hand; empty if they can be downloaded.
        is_unpacked: Checks whether the images below a data root are complete; None to compare them
            with the lists.
    """

    name: str
    folder: str
    list_files: Callable[[Path], Listing]
    remotes: Callable[[], Sequence[Remote]] = tuple
    advice: str = ""
    is_unpacked: Callable[[Path], bool] | None = None

    def load(self, config: DataConfig, root: Path) -> Dataset:
        """Load the data set from its cache; see :func:`care.data.decoding.decode`.

        Raises:
            CareError: Files are missing or damaged, or are not decoded yet.
        """
        listing = self.read_lists(root)
        count = len(listing.train.names)
        mask = np.arange(count) >= count - listing.validation if listing.validation else None
        sources = self._sources(listing, config, root)
        return read_cached(self.name, listing.classes, sources, root, mask)

    def prepare(self, config: DataConfig, root: Path, reporter: Reporter) -> None:
        """Download the files unless they are complete, and build the cache.

        Raises:
            CareError: Files are missing and cannot be downloaded; states how to get them.
        """
        remotes = self.remotes()
        if remotes:
            is_unpacked = self.is_unpacked or self._is_complete
            fetch(remotes, lambda: is_unpacked(root), root, reporter)
        build_caches(self._sources(self.read_lists(root), config, root), root, reporter)

    def read_lists(self, root: Path) -> Listing:
        """List the files, all of which exist.

        Raises:
            CareError: Lists or images are missing or damaged; states how to get them.
        """
        folder = root / self.folder
        advice = self.advice or f"'care data get {self.name}' downloads it"
        if not folder.is_dir():
            raise CareError(f"{folder}: missing; {advice}")
        try:
            listing = self.list_files(root)
        # Readers of damaged lists, some of them scipy's, raise errors of any type.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            # torchvision's RuntimeError only recommends its own download.
            why = "" if isinstance(error, RuntimeError) else f" ({reason})"
            raise CareError(f"{folder}: missing or damaged{why}; {advice}") from error
        for part in (listing.train, listing.test):
            missing = [name for name in part.names if not (part.folder / name).is_file()]
            if missing or not part.names:
                shown = ", ".join(missing[:_LISTED])
                what = f"{len(missing)} of {len(part.names)} images are missing, e.g. {shown}"
                raise CareError(f"{folder}: {what if missing else 'no images'}; {advice}")
        return listing

    def _is_complete(self, root: Path) -> bool:
        try:
            self.read_lists(root)
        except CareError:
            return False
        return True

    def _sources(
        self, listing: Listing, config: DataConfig, root: Path
    ) -> tuple[FileSource, FileSource]:
        side = config.pixels
        assert side is not None
        hashed = hashed_files(root, self.folder)
        return (
            FileSource(f"{self.name}-train-{side}", listing.train, side, hashed),
            FileSource(f"{self.name}-test-{side}", listing.test.shuffled(), side, hashed),
        )


def files_below(folder: Path, paths: Sequence[Path | str], labels: Sequence[Any]) -> Files:
    """Build the files of a split from paths of torchvision's data sets.

    Args:
        folder: Folder of the data set.
        paths: Absolute paths below it.
        labels: Class of each file.
    """
    names = [Path(path).relative_to(folder).as_posix() for path in paths]
    return Files(folder, names, [int(label) for label in labels])
