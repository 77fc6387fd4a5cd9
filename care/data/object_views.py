"""3DIEBench: rendered views of objects with known rotation and light (Garrido et al., ICML 2023).

2,096,000 training and 527,600 test images: fifty views of each of 41,920 and 10,552 objects. A
configuration may take a part of whole objects. ``3diebench_ood`` tests on views of the held-out
objects whose angles lie outside the training's range (Ghaemi et al., seq-JEPA, NeurIPS 2025).
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from care.config import DataConfig
from care.data.cache import build_caches
from care.data.dataset import Dataset
from care.data.decoding import fingerprint
from care.data.fingerprints.fingerprint import hashed_files
from care.data.fingerprints.image_folder import Files
from care.data.fingerprints.object_views import FOLDER, View, ViewList, list_object_views
from care.data.image_folder import FileSource, read_cached
from care.data.reporter import Reporter
from care.errors import CareError
from care.system.cores import available_cores
from care.system.files import write_atomic
from care.system.rng import generator

LATENTS = (
    "rotation_x",
    "rotation_y",
    "rotation_z",
    "floor_hue",
    "light_theta",
    "light_phi",
    "light_hue",
)
"""Latents of a view in the order of its file: angles in radians, hues in turns."""

# Of the authors' evaluation: those of the official training images.
_MEAN, _STD = (0.5016, 0.5037, 0.5060), (0.1030, 0.0999, 0.0969)


def load_object_views(config: DataConfig, root: Path) -> Dataset:
    """Load the views from their cache, with their latents, object and view number as factors.

    Raises:
        CareError: Files are missing or damaged, or are not decoded yet.
        ConfigError: A number of images is no number of whole objects.
    """
    listed = list_object_views(config, root)
    parts = [_Part(config, root, "train", listed.train), _Part(config, root, "test", listed.test)]
    sources = (parts[0].source, parts[1].source)
    dataset = read_cached(config.name, listed.classes, sources, root)
    train, test = (
        replace(split, factors=part.factors())
        for split, part in zip((dataset.train, dataset.test), parts, strict=True)
    )
    return replace(dataset, train=train, test=test, mean=_MEAN, std=_STD)


def prepare_object_views(config: DataConfig, root: Path, reporter: Reporter) -> None:
    """Build the caches of images and latents; the set is too large to be downloaded unasked."""
    listed = list_object_views(config, root)
    parts = [_Part(config, root, "train", listed.train), _Part(config, root, "test", listed.test)]
    for part in parts:
        part.prepare_latents()
    build_caches([part.source for part in parts], root, reporter)


class _Part:
    """The views of one split, those of the test part in a fixed random order."""

    def __init__(self, config: DataConfig, root: Path, split: str, listed: ViewList) -> None:
        side = config.pixels
        assert side is not None
        order = list(range(len(listed.views)))
        if split == "test":  # so that the first samples show all classes
            order = generator(0, "held-out-order").permutation(len(order)).tolist()
        self._views = [listed.views[index] for index in order]
        labels = [listed.labels[index] for index in order]
        self._folder = root / listed.folder
        self._hashed = hashed_files(root, listed.folder)
        files = Files(self._folder, [view.image for view in self._views], labels)
        # 3diebench_ood shares the caches of its training part with 3diebench.
        owner = "3diebench" if listed.folder == FOLDER else config.name
        name = f"{owner}-{split}-{side}"
        self.source = FileSource(name, files, side, self._hashed)
        names = [view.latent for view in self._views]
        digest = fingerprint(self._hashed.hashes(names))
        self._stored = root / ".care-cache" / f"{owner}-{split}-latents-{digest}.npy"

    def factors(self) -> dict[str, Tensor]:
        """Return the known factors of each view, float32 [N] by name."""
        latents = self._read_stored()
        if latents is None:
            latents = self._read_files()
        factors = dict(zip(LATENTS, latents.T, strict=True))
        factors["object"] = np.array([view.object for view in self._views], np.float32)
        factors["view"] = np.array([view.number for view in self._views], np.float32)
        return {
            name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in factors.items()
        }

    def prepare_latents(self) -> None:
        """Store the latents in one file, as millions of small ones are slow to read.

        Raises:
            CareError: A file is damaged.
            DiskError: The disk is full, or its permissions forbid to write.
        """
        if self._read_stored() is None:
            buffer = io.BytesIO()
            np.save(buffer, self._read_files())
            self._stored.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._stored, buffer.getvalue())

    def _read_stored(self) -> NDArray[np.float32] | None:
        try:
            stored = np.load(self._stored, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = stored.shape == (len(self._views), len(LATENTS)) and stored.dtype == np.float32
        return stored if fits else None

    def _read_files(self) -> NDArray[np.float32]:
        with ThreadPoolExecutor(available_cores()) as pool:
            rows = list(pool.map(self._read_latent, self._views))
        return np.stack(rows)

    def _read_latent(self, view: View) -> NDArray[np.float32]:
        path = self._folder / view.latent
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CareError(f"{path}: damaged ({error}); unpack the archive again") from error
        is_vector = values.ndim == 1 and values.dtype.kind == "f" and len(values) >= len(LATENTS)
        if not is_vector or not np.isfinite(values).all():
            what = f"{values.dtype} {list(values.shape)}"
            raise CareError(f"{path}: {what}, not {len(LATENTS)} finite numbers; unpack it again")
        latents: NDArray[np.float32] = values[: len(LATENTS)].astype(np.float32)
        return latents
