"""Seconds of each readout for 10,000 images: nobody else measures them together."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.measure import SECONDS, Result, seconds, summarize
from care.config import TrialConfig
from care.data.dataset import Dataset, ImageSet
from care.evaluation.features import PlainFeatures
from care.evaluation.measure import Trained
from care.evaluation.resume import Progress
from care.models import build_network
from care.plugins import load
from care.registry import MEASURES

_IMAGES, _SIDE, _CLASSES = 10_000, 16, 10
_REPEATS = 2
# The readout `wahba` is measured by the geometry, with the printed measures.
_MEASURES = {
    "wahba": "geometry",
    "kinds": "kinds",
    "augmentation": "augmentation",
    "ranking": "ranking",
    "few_labels": "few_labels",
}


def readouts() -> list[Result]:
    """Time each readout of the small encoder on 10,000 test images of 16 × 16 pixels."""
    results: list[Result] = []
    for readout, measure in _MEASURES.items():
        trained = _untrained(readout)
        function = load(MEASURES[measure].function)
        times = [seconds(partial(function, trained)) for _ in range(_REPEATS)]
        about = f"{_IMAGES:,} images, small encoder"
        results.append(summarize(f"readout-{readout}", about, times, SECONDS))
    return results


def _untrained(readout: str) -> Trained:
    """Return a random network on random images, whose plain features are extracted before."""
    tree = {"model": {"encoder": "small"}, "evaluation": {"readouts": [readout]}}
    config = TrialConfig.model_validate(tree)
    train, test = _images(1), _images(2)
    classes = tuple(map(str, range(_CLASSES)))
    dataset = Dataset("random", train, test, classes, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network = build_network(config.model, seed=0).eval()
    plain = PlainFeatures(network, dataset.augmenter(config.augmentation))
    for split in (train, test):
        plain(split.images)
    return Trained(network, dataset, config, plain, (), Progress())


def _images(seed: int) -> ImageSet:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (_IMAGES, 3, _SIDE, _SIDE), generator=rng, dtype=torch.uint8)
    return ImageSet(images, torch.arange(_IMAGES) % _CLASSES, {})
