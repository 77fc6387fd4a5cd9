"""Images decoded once into a file that trials map into memory.

A cache is a folder ``<root>/.care-cache/<name>-<digest>``, named after what it is made of. It is
whole once it has ``index.json``, which is written last. Until then ``images.npy.partial`` is filled
part by part; a part that is on the disk has a file ``part-00012.json``, so a build that was killed
goes on where it stopped. One process builds, which a claim on the folder says; others wait for it.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from care.data.cache_parts import PART, Parts, Source
from care.data.decoding import fingerprint
from care.data.reporter import Reporter
from care.errors import CareError
from care.system.claim import Claim, holder
from care.system.cores import available_cores
from care.system.files import DiskError, read_json, write_json

FORMAT = 1
_POLL_SECONDS = 0.5
_NAMED = 20


class CorruptError(CareError):
    """Images of a source cannot be read, and are not to be left out."""


@dataclass(frozen=True)
class Cache:
    """A whole cache.

    Attributes:
        images: uint8 [N,3,side,side], mapped from the file.
        mean: Of each channel over the images, in [0, 1].
        std: Likewise, the standard deviation.
        skipped: Rows of the source that could not be read and are left out.
    """

    images: Tensor
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    skipped: tuple[int, ...]


def open_cache(source: Source, root: Path) -> Cache:
    """The cache of ``source``.

    Raises:
        CareError: It was not built, what it was built from has changed since, or it is damaged.
        CorruptError: It leaves out images that could not be read, and the source does not.
    """
    folder = _folder(source, root)
    index = read_json(folder / "index.json")
    if index is None:
        raise CareError(
            f"{root}: the images of {source.name!r} are not decoded yet, or have changed since; "
            "'care data get' does that, and so do 'care train' and 'care sweep run'"
        )
    _refuse_skipped(source, index)
    try:
        # Copy on write: torch wants memory that it may write to, and the file stays as it is.
        pixels = np.load(_whole_file(folder), mmap_mode="c")
    except (OSError, ValueError) as error:
        message = f"{folder}: damaged ({error}); remove it, and run the same command again"
        raise CareError(message) from error
    return Cache(
        torch.from_numpy(pixels), tuple(index["mean"]), tuple(index["std"]), tuple(index["skipped"])
    )


def build_caches(sources: Iterable[Source], root: Path, reporter: Reporter) -> None:
    """Make the cache of each source, and name what cannot be read in any of them.

    Raises:
        CorruptError: As :func:`build_cache`, for all sources together.
        CareError: As :func:`build_cache`.
        DiskError: There is no space, or no permission.
    """
    corrupt = []
    for source in sources:
        try:
            build_cache(source, root, reporter)
        except CorruptError as error:
            corrupt.append(str(error))
    if corrupt:
        raise CorruptError("\n".join(corrupt))


def build_cache(source: Source, root: Path, reporter: Reporter) -> None:
    """Make the cache of ``source`` unless it is there, with all cores.

    Each image that cannot be read is reported when it is met. The others are kept, so that the same
    build with ``skip_corrupt``, or after the file was replaced by its like, decodes little.

    Raises:
        CorruptError: Images could not be read; names up to 20 of them and counts all.
        CareError: Files changed meanwhile, or no image could be read.
        LostClaimError: Another process has taken the build over.
        DiskError: There is no space for it, or no permission.
    """
    folder = _folder(source, root)
    claim = _take(folder, reporter)
    if claim:
        with claim:
            if not _is_whole(folder):
                _build(source, folder, claim, reporter)
    _refuse_skipped(source, read_json(folder / "index.json") or {})


def _build(source: Source, folder: Path, claim: Claim, reporter: Reporter) -> None:
    _remove_outdated(source, folder)
    parts = Parts(source, folder)
    try:
        _fill(source, parts, _whole_file(folder), reporter)
    except (OSError, DiskError) as error:
        claim.check()  # the process that took over renames and removes what is written here
        raise error if isinstance(error, DiskError) else DiskError(folder, error) from error
    if source.changed():
        parts.forget()
        raise CareError(
            f"{source.name}: files changed while they were decoded; run the same command again"
        )
    failures = parts.failures()
    if failures and not source.skip_corrupt:
        parts.forget_failed()
        raise CorruptError(_corrupt(source, list(failures.values())))
    _finish(source, folder, parts)
    _report_left_out(source, folder, failures, reporter)


def _refuse_skipped(source: Source, index: dict[str, Any]) -> None:
    """Refuse a cache that leaves images out, made for a configuration that allows it."""
    failures = index.get("failures")
    if failures and not source.skip_corrupt:
        raise CorruptError(_corrupt(source, failures))


def _folder(source: Source, root: Path) -> Path:
    key = [f"format {FORMAT}", str(source.side), *source.key]
    return root / ".care-cache" / f"{source.name}-{fingerprint(key)}"


def _is_whole(folder: Path) -> bool:
    return (folder / "index.json").exists()


def _take(folder: Path, reporter: Reporter) -> Claim | None:
    """The claim to build; None when the cache is whole, perhaps because another one built it."""
    said = False
    while not _is_whole(folder):
        claim = Claim.take(folder)
        if claim:
            return claim
        if not said:
            reporter.say(f"{folder.name} is being made by {holder(folder)}; waiting for it")
            said = True
        time.sleep(_POLL_SECONDS)
    return None


def _remove_outdated(source: Source, folder: Path) -> None:
    """Remove unfinished caches of the same set that nobody works on: its files have changed."""
    for other in folder.parent.glob(f"{source.name}-*"):
        digest = other.name.removeprefix(f"{source.name}-")
        if other != folder and "-" not in digest and not _is_whole(other) and not holder(other):
            shutil.rmtree(other)


def _whole_file(folder: Path) -> Path:
    return folder / "images.npy"


def _fill(source: Source, parts: Parts, whole: Path, reporter: Reporter) -> None:
    """Decode every part that is not on the disk."""
    offset = parts.allocate(whole)
    missing, done, reported = parts.missing(), parts.done(), 0
    reporter.progress(source.name, done, len(source))
    # Decoding and resizing release the interpreter's lock, so threads do.
    with warnings.catch_warnings(), ThreadPoolExecutor(available_cores()) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # of metadata that nobody reads here
        futures = {pool.submit(parts.decode, start, offset) for start in missing}
        try:
            for future in as_completed(futures):
                block = future.result()
                done += block.images
                for why in block.failures[: max(0, _NAMED - reported)]:
                    reporter.say(f"{source.name}: cannot be read: {why}")
                reported += len(block.failures)
                reporter.progress(source.name, done, len(source))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _finish(source: Source, folder: Path, parts: Parts) -> None:
    failures = parts.failures()
    if len(failures) == len(source):
        raise CareError(f"{source.name}: none of the {len(source)} images can be read")
    mean, std = parts.moments()
    if failures:
        _write_kept(parts.images, _whole_file(folder), list(failures))
    else:
        parts.images.replace(_whole_file(folder))
    index = {
        "mean": mean,
        "std": std,
        "skipped": list(failures),
        "failures": list(failures.values()),
        "modes": parts.modes(),
    }
    write_json(folder / "index.json", index)
    # Also what a killed build was just writing.
    for path in [*folder.glob("*part-*.json*"), *folder.glob("images.npy.*")]:
        path.unlink()


def _write_kept(images: Path, whole: Path, skipped: list[int]) -> None:
    """Write the images again, without the rows that could not be read."""
    pixels = np.load(images, mmap_mode="r")
    kept = np.setdiff1d(np.arange(len(pixels)), skipped)
    temporary = whole.with_name("images.npy.kept")
    shape = (len(kept), *pixels.shape[1:])
    smaller = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, len(kept), PART):
        smaller[start : start + PART] = pixels[kept[start : start + PART]]
    smaller.flush()
    # What it is made of stays until the index is there: a killed build finds all rows again.
    temporary.replace(whole)


def _corrupt(source: Source, failures: list[str]) -> str:
    named = [f"  {why}" for why in failures[:_NAMED]]
    more = [f"  and {len(failures) - _NAMED} more"] if len(failures) > _NAMED else []
    lines = "\n".join(named + more)
    return (
        f"{source.name}: {len(failures)} of {len(source)} image files cannot be read:\n{lines}\n"
        "Replace or remove them, or leave them out with data.skip_corrupt: true."
    )


def _report_left_out(
    source: Source, folder: Path, failures: dict[int, str], reporter: Reporter
) -> None:
    index = read_json(folder / "index.json") or {}
    odd = {mode: count for mode, count in index["modes"].items() if mode != "RGB"}
    if odd:
        listed = ", ".join(f"{count} {mode}" for mode, count in sorted(odd.items()))
        reporter.say(f"{source.name}: made RGB of {sum(odd.values())} images: {listed}")
    if failures:
        named = "\n".join(f"  {why}" for why in list(failures.values())[:_NAMED])
        reporter.say(f"{source.name}: left out {len(failures)} that cannot be read:\n{named}")
