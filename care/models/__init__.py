"""Networks: an encoder, a projection head, and the unit sphere.

An encoder factory, named in :data:`care.registry.ENCODERS`, takes no argument
and returns a module that maps images [N,3,H,W] or points [N,P,4] to [N,feature_dim] and has the
attribute ``feature_dim: int``.
"""

from __future__ import annotations

from care.models.network import Embedding, Network, build_network

__all__ = ["Embedding", "Network", "build_network"]
