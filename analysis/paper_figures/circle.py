"""How an augmentation moves embeddings on the circle (Fig 6)."""

from __future__ import annotations

from analysis.paper_figures.histograms import histograms
from analysis.paper_figures.material import Drawn, Material, Picture, without

_CAPTION = (
    "cos(f(x), f(a(x))) of the test samples x and the shared random augmentations a: "
    "1 where an augmentation leaves an embedding where it is. "
)


def circle(material: Material) -> Drawn:
    """The histogram of cos(f(x), f(a(x))) for each method."""
    known = material.arrays(f"{material.space}/cosine_shared")
    left_out = without(material, "The histogram of cosines", known)
    if not known:
        return Drawn([], left_out)
    figure, scales = histograms(material, known)
    return Drawn([Picture("cosine-histogram", figure, _CAPTION + scales)], left_out)
