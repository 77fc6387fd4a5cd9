"""The files of trials for a report, which needs each of them in several places."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from care.system.arrays import LazyArrays
from care.system.files import CHECKSUM_DIGITS, DamagedFileError, read_whole
from care.trials.folder import TrialFolder

_Parsed = TypeVar("_Parsed")
_DETAILS = "details.npz"


@dataclass(frozen=True)
class TrialFiles(TrialFolder):
    """The files of a trial, each read and parsed at most once, when it is first needed.

    Later changes on the disk are not seen. The content is dropped once it is parsed.
    """

    _contents: dict[str, tuple[Path, bytes]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _digests: dict[str, str | DamagedFileError | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _parsed: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file as hexadecimal digits, or None without the file.

        Raises:
            DamagedFileError: The file cannot be read.
        """
        if name not in self._digests:
            self._digests[name] = self._load(name)
        digest = self._digests[name]
        if isinstance(digest, DamagedFileError):
            raise digest
        return digest

    def checksum(self, name: str) -> str | None:
        """Return the checksum of a file, or None without it; see :meth:`digest`."""
        digest = self.digest(name)
        return None if digest is None else digest[:CHECKSUM_DIGITS]

    def _load(self, name: str) -> str | DamagedFileError | None:
        path = self.path / name
        try:
            content = read_whole(path)
        except DamagedFileError as error:
            return error
        if content is None:
            return None
        self._contents[name] = path, content
        return hashlib.sha256(content).hexdigest()

    def _read(self, name: str, parse: Callable[[Path, bytes], _Parsed]) -> _Parsed | None:
        if name not in self._parsed:
            self._parsed[name] = self._parse(name, parse)
        parsed = self._parsed[name]
        if isinstance(parsed, DamagedFileError):
            raise parsed
        return parsed  # type: ignore[no-any-return]

    def _parse(
        self, name: str, parse: Callable[[Path, bytes], _Parsed]
    ) -> _Parsed | DamagedFileError | None:
        if self.digest(name) is None:
            return None
        try:
            if name not in self._contents:  # dropped
                return super()._read(name, parse)
            return parse(*self._contents.pop(name))
        except DamagedFileError as error:
            return error

    def keep_only(self, *names: str) -> None:
        """Free the memory of all files but these; a dropped file would be read again."""
        for memory in (self._contents, self._parsed):
            for name in memory.keys() - set(names):
                del memory[name]

    def read_details(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays for figures by name; those of a file with a checksum are decoded late.

        Raises:
            DamagedFileError: The file is damaged.
        """
        with contextlib.suppress(DamagedFileError):
            status = self.read_status()
            expected = status.checksums.get(_DETAILS) if status else None
            if expected is not None and expected == self.checksum(_DETAILS):
                return self._read(_DETAILS, LazyArrays) or {}
        return super().read_details()


class StoreFiles:
    """The files of a store's trials.

    Args:
        trials: The folder of the trials' folders.
        kept: Whether a file is read at most once; otherwise once for each call of :meth:`trial`,
            so that the memory does not grow with the number of trials.
    """

    def __init__(self, trials: Path, *, kept: bool = False) -> None:
        self.trials = trials
        self._kept = kept
        self._known: dict[str, TrialFiles] = {}

    def trial(self, trial_id: str) -> TrialFiles:
        """Return the files of a trial, whether it exists or not."""
        if not self._kept:
            return TrialFiles(self.trials / trial_id)
        if trial_id not in self._known:
            self._known[trial_id] = TrialFiles(self.trials / trial_id)
        return self._known[trial_id]
