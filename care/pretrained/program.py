"""Export an encoder as a program that runs with torch alone, preprocessing included."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn

from care.augmentation import ImageAugmenter
from care.errors import CareError
from care.models import Network
from care.pretrained.pretrained import Pretrained

_EXAMPLE = 4  # samples; any number is allowed afterwards
_POINTS = 8


class _Program(nn.Module):
    """Maps uint8 images, or point clouds, to features and embedding.

    Args:
        network: The network.
        augmenter: Normalizes images; None for point clouds, which are taken as they are.
    """

    scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, augmenter: ImageAugmenter | None) -> None:
        super().__init__()
        self.network = network
        self.is_image = augmenter is not None
        if augmenter is not None:
            # The factor of care.augmentation.crop: a division by 255 rounds otherwise.
            self.register_buffer("scale", torch.ones(()).div(255))
            self.register_buffer("mean", torch.tensor(augmenter.mean).view(3, 1, 1))
            self.register_buffer("std", torch.tensor(augmenter.std).view(3, 1, 1))

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features [N,F] and embeddings [N,d] of samples [N,...]."""
        if self.is_image:
            samples = (samples.float() * self.scale - self.mean) / self.std
        embedding = self.network.embed(samples)
        return embedding.features, embedding.sphere


def pack_program(model: Pretrained) -> bytes:
    """Pack an encoder as a program of ``torch.export``, which computes in float32.

    Args:
        model: The encoder, on the CPU.

    Returns:
        A file for ``torch.export.load``: uint8 images [N,3,H,W] of the trial's size, or point
        clouds [N,P,4], to features [N,F] and embeddings [N,d].

    Raises:
        CareError: torch cannot trace the encoder.
    """
    augmenter = model.augmenter if isinstance(model.augmenter, ImageAugmenter) else None
    dynamic: dict[int, object] = {0: torch.export.Dim.DYNAMIC}
    if augmenter is not None:
        example = torch.zeros(_EXAMPLE, 3, *augmenter.size, dtype=torch.uint8)
    else:
        example = torch.ones(_EXAMPLE, _POINTS, 4)
        dynamic[1] = torch.export.Dim.DYNAMIC
    buffer = io.BytesIO()
    try:
        with torch.no_grad():
            program = torch.export.export(
                _Program(model.network, augmenter).eval(), (example,), dynamic_shapes=(dynamic,)
            )
        torch.export.save(program, buffer)
    except Exception as error:  # torch's compiler raises many kinds
        encoder = model.config.model.encoder
        reason = str(error).strip().splitlines()[0] if str(error) else repr(error)
        raise CareError(
            f"--program: torch cannot trace the encoder {encoder!r} ({reason}). Export it without."
        ) from error
    return buffer.getvalue()
