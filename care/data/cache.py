"""Decode images once into a file that trials map into memory.

A cache is a folder ``<root>/.care-cache/<name>-<digest>``; the digest covers all that decides its
content. ``index.json`` is written last and marks it complete. Until then a build fills
``images.npy.partial`` part by part. Each finished part has a record ``part-00012.json``, so a
killed build resumes where it stopped. The process with the folder's claim builds; others wait.
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
_MAX_LISTED = 20


class CorruptError(CareError):
    """Images cannot be read, and the configuration does not allow to leave them out."""


@dataclass(frozen=True)
class Cache:
    """The decoded images of a source.

    Attributes:
        images: uint8 [N,3,side,side], mapped from the file.
        mean: Mean of each channel over the images, in [0, 1].
        std: Standard deviation of each channel over the images, in [0, 1].
        skipped: Rows of the source that could not be read and are left out.
    """

    images: Tensor
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    skipped: tuple[int, ...]


def open_cache(source: Source, root: Path) -> Cache:
    """Map the cache of a source into memory.

    Raises:
        CareError: The cache is missing, damaged, or older than its image files.
        CorruptError: The cache leaves out images, and the source does not allow that.
    """
    folder = _folder(source, root)
    index = read_json(folder / "index.json")
    if index is None:
        raise CareError(
            f"{root}: the images of {source.name!r} are not decoded yet, or have changed since; "
            "'care data get' decodes them, and so do 'care train' and 'care sweep run'"
        )
    _refuse_skipped(source, index)
    try:
        # Copy on write: torch needs writable memory, and the file must not change.
        pixels = np.load(_images_file(folder), mmap_mode="c")
    except (OSError, ValueError) as error:
        message = f"{folder}: damaged ({error}); remove it and repeat the command"
        raise CareError(message) from error
    return Cache(
        torch.from_numpy(pixels), tuple(index["mean"]), tuple(index["std"]), tuple(index["skipped"])
    )


def build_caches(sources: Iterable[Source], root: Path, reporter: Reporter) -> None:
    """Build the cache of each source, then report the corrupt images of all sources together.

    Raises:
        CorruptError: Images of one or more sources could not be read.
        CareError: See :func:`build_cache`.
        DiskError: The disk is full, or its permissions forbid to write.
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
    """Build the cache of a source on all cores, unless it is complete.

    An image that cannot be read is reported at once. Decoded parts are kept, so that a second
    build with ``skip_corrupt``, or with the file replaced, decodes little.

    Raises:
        CorruptError: Images could not be read; names up to 20 of them and counts all.
        CareError: Files changed during the build, or no image could be read.
        LostClaimError: Another process took over the build.
        DiskError: The disk is full, or its permissions forbid to write.
    """
    folder = _folder(source, root)
    claim = _wait_for_claim(folder, reporter)
    if claim:
        with claim:
            if not _is_complete(folder):
                _build(source, folder, claim, reporter)
    _refuse_skipped(source, read_json(folder / "index.json") or {})


def _build(source: Source, folder: Path, claim: Claim, reporter: Reporter) -> None:
    _remove_outdated(source, folder)
    parts = Parts(source, folder)
    try:
        _fill(source, parts, _images_file(folder), reporter)
    except (OSError, DiskError) as error:
        claim.check()  # a process that took over renames and removes these files
        raise error if isinstance(error, DiskError) else DiskError(folder, error) from error
    if source.changed():
        parts.forget()
        raise CareError(f"{source.name}: files changed while they were decoded; repeat the command")
    failures = parts.failures()
    if failures and not source.skip_corrupt:
        parts.forget_failed()
        raise CorruptError(_corrupt(source, list(failures.values())))
    _finish(source, folder, parts)
    _report_left_out(source, folder, failures, reporter)


def _refuse_skipped(source: Source, index: dict[str, Any]) -> None:
    """Refuse a cache that leaves out images, unless the source's configuration allows it."""
    failures = index.get("failures")
    if failures and not source.skip_corrupt:
        raise CorruptError(_corrupt(source, failures))


def _folder(source: Source, root: Path) -> Path:
    key = [f"format {FORMAT}", str(source.side), *source.key]
    return root / ".care-cache" / f"{source.name}-{fingerprint(key)}"


def _is_complete(folder: Path) -> bool:
    return (folder / "index.json").exists()


def _wait_for_claim(folder: Path, reporter: Reporter) -> Claim | None:
    """Take the claim to build; return None once the cache is complete."""
    reported = False
    while not _is_complete(folder):
        claim = Claim.take(folder)
        if claim:
            return claim
        if not reported:
            reporter.log(f"{folder.name} is being built by {holder(folder)}; waiting for it")
            reported = True
        time.sleep(_POLL_SECONDS)
    return None


def _remove_outdated(source: Source, folder: Path) -> None:
    """Remove abandoned builds for earlier versions of the source's files."""
    for other in folder.parent.glob(f"{source.name}-*"):
        digest = other.name.removeprefix(f"{source.name}-")
        if other != folder and "-" not in digest and not _is_complete(other) and not holder(other):
            shutil.rmtree(other)


def _images_file(folder: Path) -> Path:
    return folder / "images.npy"


def _fill(source: Source, parts: Parts, complete: Path, reporter: Reporter) -> None:
    """Decode every part that is not on the disk."""
    offset = parts.allocate(complete)
    missing, done, reported = parts.missing(), parts.done(), 0
    reporter.progress(source.name, done, len(source))
    # Threads suffice: decoding and resizing release the interpreter's lock.
    with warnings.catch_warnings(), ThreadPoolExecutor(available_cores()) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # of metadata, which is not used
        futures = {pool.submit(parts.decode, start, offset) for start in missing}
        try:
            for future in as_completed(futures):
                block = future.result()
                done += block.images
                for why in block.failures[: max(0, _MAX_LISTED - reported)]:
                    reporter.log(f"{source.name}: cannot be read: {why}")
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
        _write_readable(parts.images, _images_file(folder), list(failures))
    else:
        parts.images.replace(_images_file(folder))
    index = {
        "mean": mean,
        "std": std,
        "skipped": list(failures),
        "failures": list(failures.values()),
        "modes": parts.modes(),
    }
    write_json(folder / "index.json", index)
    # The patterns include the temporary files of a killed build.
    for path in [*folder.glob("*part-*.json*"), *folder.glob("images.npy.*")]:
        path.unlink()


def _write_readable(images: Path, complete: Path, skipped: list[int]) -> None:
    """Copy the images to the cache's file, without the rows that could not be read."""
    pixels = np.load(images, mmap_mode="r")
    kept = np.setdiff1d(np.arange(len(pixels)), skipped)
    temporary = complete.with_name("images.npy.kept")
    shape = (len(kept), *pixels.shape[1:])
    smaller = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, len(kept), PART):
        smaller[start : start + PART] = pixels[kept[start : start + PART]]
    smaller.flush()
    # `images` stays until the index is written, so that a build killed here can resume.
    temporary.replace(complete)


def _corrupt(source: Source, failures: list[str]) -> str:
    listed = [f"  {why}" for why in failures[:_MAX_LISTED]]
    more = [f"  and {len(failures) - _MAX_LISTED} more"] if len(failures) > _MAX_LISTED else []
    lines = "\n".join(listed + more)
    return (
        f"{source.name}: {len(failures)} of {len(source)} image files cannot be read:\n{lines}\n"
        "Replace or remove them, or leave them out with data.skip_corrupt: true."
    )


def _report_left_out(
    source: Source, folder: Path, failures: dict[int, str], reporter: Reporter
) -> None:
    index = read_json(folder / "index.json") or {}
    others = {mode: count for mode, count in index["modes"].items() if mode != "RGB"}
    if others:
        listed = ", ".join(f"{count} {mode}" for mode, count in sorted(others.items()))
        reporter.log(f"{source.name}: converted {sum(others.values())} images to RGB: {listed}")
    if failures:
        listed = "\n".join(f"  {why}" for why in list(failures.values())[:_MAX_LISTED])
        reporter.log(f"{source.name}: left out {len(failures)} that cannot be read:\n{listed}")
