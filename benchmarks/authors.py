"""A reimplementation of the authors' training step as published (docs/paper.md §3 [C]).

Like theirs, it has a torchvision-style dataset of PIL images, transformed one by one in loader
workers. L_equi has two nested vmaps over chunks and images that share one pair of augmentations,
and a Python loop over the chunks. Python loops build masks at each step. Numbers are float32, in
PyTorch's default memory format. The blur is OpenCV's, or torchvision's if OpenCV is not installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.networks import PlainNetwork
from benchmarks.pil_transforms import transforms
from benchmarks.workload import (
    LEARNING_RATE,
    MEAN,
    SIDE,
    SPLITS,
    STD,
    TEMPERATURE,
    WEIGHT,
    WEIGHT_DECAY,
    Workload,
    make_images,
)

cv2: Any = importlib.import_module("cv2") if importlib.util.find_spec("cv2") else None

_KERNEL = 3
_SIGMA = (0.1, 2.0)


class _Blur:
    """Blurs half of the images, as uint8 arrays."""

    def __init__(self) -> None:
        self._fallback = transforms.GaussianBlur(_KERNEL, _SIGMA)

    def __call__(self, image: Image.Image) -> Any:
        if cv2 is None:
            return self._fallback(image) if np.random.random_sample() < 0.5 else image
        pixels = np.array(image)
        if np.random.random_sample() < 0.5:
            sigma = np.random.uniform(*_SIGMA)
            pixels = cv2.GaussianBlur(pixels, (_KERNEL, _KERNEL), sigma)
        return pixels


def colors_and_crop() -> list[Callable[[Any], Any]]:
    """Make the four transforms that both branches start with."""
    return [
        transforms.RandomResizedCrop(SIDE),
        transforms.RandomHorizontalFlip(p=0.5),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
    ]


def image_transform() -> Callable[[Image.Image], Tensor]:
    """Make the transform from a PIL image to a view."""
    last = [_Blur(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    composed: Callable[[Image.Image], Tensor] = transforms.Compose([*colors_and_crop(), *last])
    return composed


class _Pairs(Dataset[tuple[Tensor, Tensor, Tensor, int]]):
    """An image, two views of it, and its class, as the authors' CIFAR10Pair."""

    def __init__(self) -> None:
        self._images = make_images()
        self._transform = image_transform()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, int]:
        image = Image.fromarray(self._images[index])
        plain: Tensor = transforms.ToTensor()(image)
        return plain, self._transform(image), self._transform(image), 0


class StepLoader:
    """A loader whose workers make one batch within the step's time, without prefetching.

    Prefetching would use the other side's time; with every core busy it gains nothing.
    """

    def __init__(self, dataset: Dataset[Any], batch: int, workers: int) -> None:
        self._indices: list[int] = []
        self._size, self._batch = len(dataset), batch  # type: ignore[arg-type]
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=-(-batch // workers),
            sampler=self._indices,
            num_workers=workers,
            persistent_workers=True,
            multiprocessing_context="fork",
        )

    def __call__(self) -> list[Any]:
        """Load one batch and return its columns."""
        self._indices[:] = torch.randperm(self._size)[: self._batch].tolist()
        columns = zip(*self._loader, strict=True)
        return [torch.cat(list(parts)) for parts in columns]


def _tensor_blur(images: Tensor) -> Tensor:
    if np.random.random_sample() < 0.5:
        images = transforms.GaussianBlur(_KERNEL, _SIGMA)(images)
    return images


def chunk_views(images: Tensor, splits: int) -> tuple[Tensor, Tensor]:
    """Make two views, each with one augmentation for all images of all chunks.

    The authors' vmap has ``same`` randomness, so it draws one pair instead of one for each chunk.
    """

    def views(chunk: Tensor) -> tuple[Tensor, Tensor]:
        first, second = chunk.detach().clone(), chunk.detach().clone()
        for transform in [*colors_and_crop(), _tensor_blur, transforms.Normalize(MEAN, STD)]:
            mapped = torch.vmap(transform, randomness="same")
            first, second = mapped(first), mapped(second)
        return first, second

    chunks = torch.stack(torch.split(images, len(images) // splits))
    first, second = torch.vmap(views, randomness="same")(chunks)
    return first.reshape(images.shape), second.reshape(images.shape)


def _without_diagonal(rows: int, columns: int) -> Tensor:
    """Make a mask that is False where the column, modulo the number of rows, is the row."""
    mask = torch.ones((rows, columns), dtype=torch.bool)
    for i in range(rows):
        for j in range(i, columns, rows):
            mask[i, j] = False
    return mask


def infonce(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE by masks."""
    size = len(z1)
    z = torch.cat([z1, z2])
    similarity = torch.exp(z @ z.T.contiguous() / temperature)
    mask = torch.cat([_without_diagonal(size, 2 * size)] * 2).to(z.device)
    negatives = similarity.masked_select(mask).view(2 * size, -1).sum(1)
    positives = torch.exp((z1 * z2).sum(1) / temperature)
    positives = torch.cat([positives, positives])
    return -torch.log(positives / (positives + negatives)).mean()


def equivariance_loss(z1: Tensor, z2: Tensor, splits: int) -> Tensor:
    """Compute L_equi by a loop over the chunks."""
    size = len(z1) // splits
    loss = z1.new_zeros(())
    for k in range(splits):
        a, b = z1[k * size : (k + 1) * size], z2[k * size : (k + 1) * size]
        mask = _without_diagonal(size, size).to(z1.device)
        first = (a @ a.T.contiguous()).masked_select(mask).view(size, -1)
        second = (b @ b.T.contiguous()).masked_select(mask).view(size, -1)
        loss = loss + 2 * torch.norm(first - second, p="fro", dim=-1).pow(2).mean()
    return loss / splits


def _log_similarities(z1: Tensor, z2: Tensor) -> tuple[float, float]:
    """Compute the means that the authors log at each step."""
    z = torch.cat([z1, z2]).detach()
    return (z1 * z2).detach().sum(1).mean().item(), (z @ z.T).mean().item()


class RunningLoader:
    """A loader whose workers prefetch, as it is used with a GPU."""

    def __init__(self, dataset: Dataset[Any], batch: int, workers: int) -> None:
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=batch,
            shuffle=True,
            num_workers=workers,
            persistent_workers=True,
            pin_memory=True,
            drop_last=True,
        )
        self._batches = iter(self._loader)

    def __call__(self) -> list[Any]:
        """Return the next batch's columns."""
        try:
            columns: list[Any] = next(self._batches)
        except StopIteration:
            self._batches = iter(self._loader)
            columns = next(self._batches)
        return columns


class AuthorsStep:
    """A step of CARE on SimCLR; the chunks are augmented on the CPU, as the loader returns them.

    Args:
        workload: The step's size and network.
        workers: Number of the loader's processes.
    """

    def __init__(self, workload: Workload, workers: int) -> None:
        self.workload = workload
        self._device = torch.device(workload.device)
        self.network = PlainNetwork(workload.encoder).train().to(self._device)
        loader = RunningLoader if self._device.type == "cuda" else StepLoader
        self._loader = loader(_Pairs(), workload.batch, workers)
        self._optimizer = torch.optim.Adam(
            self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )

    def __call__(self) -> None:
        """Train for one step."""
        images, view_1, view_2, _ = self._loader()
        out_1, out_2 = self._embed(view_1), self._embed(view_2)
        contrast = infonce(out_1, out_2, TEMPERATURE)
        loss = contrast
        if self.workload.equivariance:
            chunk_1, chunk_2 = chunk_views(images, SPLITS)
            z1, z2 = self._embed(chunk_1), self._embed(chunk_2)
            loss = contrast + WEIGHT * equivariance_loss(z1, z2, SPLITS)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        _log_similarities(out_1, out_2)
        loss.item(), contrast.item()

    def _embed(self, view: Tensor) -> Tensor:
        embeddings: Tensor = self.network(view.to(self._device, non_blocking=True))
        return embeddings


def build(workload: Workload, cores: int) -> Callable[[], object]:
    """Build the step for :mod:`benchmarks.side`."""
    return AuthorsStep(workload, workers=cores)
