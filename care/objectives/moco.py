"""MoCo-v2 (arXiv 1911.05722, 2003.04297): InfoNCE against a queue of keys."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.config import MocoConfig
from care.models import Network
from care.models.batch_norm import group_batch_norm
from care.objectives.base import BaseLoss, BaseObjective
from care.objectives.full_precision import full_precision
from care.objectives.inputs import InputSpec, PermutationSpec, ViewSpec
from care.objectives.momentum_encoder import MomentumNetwork
from care.objectives.view import View
from care.system.rng import generator


@full_precision
def queue_infonce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Average -log softmax of the positive key, with the queue's keys as negatives.

    mean over q of -log( e^{q·k⁺/τ} / (e^{q·k⁺/τ} + Σ_queue e^{q·k/τ}) ), arXiv 1911.05722, Eq. 1.

    Args:
        queries: Embeddings of the first views, [N,d] on the unit sphere.
        keys: Embeddings of the second views of the same images by the momentum encoder, [N,d].
        queue: Keys of earlier steps, [K,d] on the unit sphere.
        temperature: τ > 0.

    Returns:
        A scalar >= 0, in float32, or in float64 if the embeddings are.

    Example:
        >>> q = torch.eye(3)[:1]
        >>> round(queue_infonce(q, q, torch.eye(3)[1:], temperature=1.0).item(), 4)
        0.5514
    """
    positive = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([positive, queries @ queue.T], dim=1) / temperature
    first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return fn.cross_entropy(logits, first)


class MoCo(BaseObjective[MocoConfig]):
    """Queries from the trained network, keys from its moving average, negatives from a queue.

    The loss has one direction: the first view is the query, the second the key. A step's keys enter
    the queue, in place of the oldest, when the optimizer has stepped.

    Attributes:
        encoder: The momentum encoder. Nothing reads its running statistics; with shuffled groups
            they follow those of one process.
        queue: Keys [K,d] on the unit sphere; random ones at the start.
        place: Index of the oldest key, int64.
    """

    queue: Tensor
    place: Tensor

    def __init__(self, config: MocoConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        self.encoder = MomentumNetwork(network)
        if config.shuffle_groups > 1:  # each is a pass of its own
            group_batch_norm(self.encoder, 1)
        shape = (config.queue, network.embedding_dim)
        random = generator(seed, "queue").standard_normal(shape)
        self.register_buffer("queue", fn.normalize(torch.from_numpy(random).float(), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self._keys: Tensor | None = None

    def input_specs(self, views: Sequence[ViewSpec]) -> tuple[InputSpec, ...]:
        """Declare the order in which the keys' samples are shuffled, if they are."""
        return (PermutationSpec("shuffle"),) if self.config.shuffle_groups > 1 else ()

    def forward(self, query: View, key: View, shuffle: Tensor | None = None) -> BaseLoss:
        """Compare queries with their keys and with the queue.

        Args:
            query: The first view.
            key: The second view of the same N samples.
            shuffle: A permutation of 0 … N - 1, int64 [N]; None embeds the keys in one pass.
        """
        queries = query.embedding.sphere
        self._keys = keys = self._embed_keys(key, shuffle)
        loss = queue_infonce(queries, keys, self.queue, self.config.temperature)
        return BaseLoss(loss, {"infonce": loss}, (queries, keys))

    @torch.no_grad()
    def after_step(self, network: Network, progress: float) -> None:
        """Update the momentum encoder and put the step's keys into the queue."""
        self.encoder.follow(network, self.config.momentum)
        assert self._keys is not None
        rows = self.place + torch.arange(len(self._keys), device=self.place.device)
        self.queue.index_copy_(0, rows % len(self.queue), self._keys)
        self.place.add_(len(self._keys)).remainder_(len(self.queue))

    @torch.no_grad()
    def _embed_keys(self, view: View, shuffle: Tensor | None) -> Tensor:
        if shuffle is None:
            return view.embed_by(self.encoder.network).sphere
        inputs = view.group.gather(view.inputs)  # a random group has rows of every process
        groups = self.config.shuffle_groups
        mine = inputs[shuffle].chunk(groups)[view.group.share(groups)]
        keys = torch.cat([self.encoder.network.embed(part).sphere for part in mine])
        keys = view.group.gather(keys)
        return torch.empty_like(keys).index_copy_(0, shuffle, keys)
