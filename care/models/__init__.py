"""Networks: an encoder, a projection head, and the projection onto the unit sphere.

An encoder factory takes no argument and is named in :data:`care.registry.ENCODERS`. Its module
maps images [N,3,H,W] or points [N,P,4] to [N,feature_dim], and has ``feature_dim: int``.
"""

from __future__ import annotations

from care.models.network import Embedding, Network, build_network

__all__ = ["Embedding", "Network", "build_network"]
