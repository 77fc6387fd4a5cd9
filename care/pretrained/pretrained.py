"""Use a trained encoder: its network, with the preprocessing of the training inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from care.augmentation import Augmenter, ImageAugmenter
from care.config import TrialConfig
from care.evaluation.features import Features, computing_in, extract_augmented
from care.models import Network
from care.pretrained.inputs import Images, to_samples
from care.system.precision import in_exact_float32


@dataclass(frozen=True)
class Origin:
    """The training from which an encoder comes.

    Attributes:
        trial_id: Identity of the trial.
        epoch: Completed epochs of the training.
        code_version: Hash of the code of the training; see :mod:`care.trials.code_version`.
        threads: CPU threads of the trial. With as many (``torch.set_num_threads``), features on
            its type of machine equal those of its evaluation, bit for bit.
    """

    trial_id: str
    epoch: int
    code_version: str = ""
    threads: int | None = None


class Pretrained(nn.Module):
    """A trained network that takes images as they are; made by :func:`care.load`.

    Features equal those of the trial's final evaluation, bit for bit, on one type of machine with
    one number of threads. So eval mode and the evaluation's precision hold in every call, also
    after ``train()``, and batches have the evaluation's size. No call computes gradients: to
    fine-tune, train ``network`` on the output of :meth:`preprocess`.

    Args:
        network: The trained network.
        augmenter: Normalizes samples.
        config: Configuration of the trial.
        origin: The training.

    Attributes:
        network: Maps normalized floats to embeddings, with gradients.
        config: Configuration of the trial.
        origin: The training.
    """

    def __init__(
        self, network: Network, augmenter: Augmenter[Any], config: TrialConfig, origin: Origin
    ) -> None:
        super().__init__()
        self.network = network
        self.augmenter = augmenter
        self.config = config
        self.origin = origin
        self.eval()

    @property
    def feature_dim(self) -> int:
        """Width F of the encoder's features."""
        return self.network.feature_dim

    @property
    def embedding_dim(self) -> int:
        """Dimension d of the embedding."""
        return self.network.embedding_dim

    def forward(self, images: Images) -> Tensor:
        """Compute the encoder's features; see :meth:`encode`."""
        return self.encode(images)

    def encode(self, images: Images) -> Tensor:
        """Compute the encoder's features, float32 [N,F], for linear probes and retrieval.

        Args:
            images: uint8 tensor [N,3,H,W] or [3,H,W], a PIL image or a list of them, of any size
                and mode; or for proteins a float32 tensor [N,P,4] or [P,4], x, y, z in nanometers
                about their mean, and 1, or zeros as padding.

        Raises:
            ConfigError: Other inputs; states what is allowed.
            DivergedError: Features are not finite.
        """
        return self._extract(images).encoder

    def project(self, images: Images) -> Tensor:
        """Compute the embeddings on the unit sphere, float32 [N,d]; see :meth:`encode`."""
        return self._extract(images).head

    def preprocess(self, images: Images) -> Tensor:
        """Convert images to the network's input, float32 [N,3,H,W], on the network's device.

        For fine-tuning: ``model.network.features(model.preprocess(images))`` has gradients.
        """
        samples = self._to_samples(images).to(self._device)
        prepared: Tensor = self.augmenter.apply(self.augmenter.identity(), samples)
        return prepared

    def __repr__(self) -> str:
        data, model = self.config.data, self.config.model
        side = f" {data.pixels} × {data.pixels}" if data.pixels else ""
        return (
            f"Pretrained(trial {self.origin.trial_id}, {data.name}{side}: {model.encoder} → "
            f"{self.feature_dim} features → {self.embedding_dim}-d sphere, "
            f"{self.origin.epoch} epochs)"
        )

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _to_samples(self, images: Images) -> Tensor:
        side = self.config.data.pixels
        own = None if side is None else (side, side)
        size = self.augmenter.size if isinstance(self.augmenter, ImageAugmenter) else own
        return to_samples(images, self.config.data, size)

    def _extract(self, images: Images) -> Features:
        samples = self._to_samples(images)
        precision = self.config.evaluation.precision
        with in_exact_float32(), computing_in(self.network, "evaluation.precision", precision):
            identity = self.augmenter.identity()
            return extract_augmented(self.network, self.augmenter, identity, samples)
