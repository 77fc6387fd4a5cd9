from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from care.objectives.alignment import alignment, negatives_energy, positive_cosine, uniformity
from care.objectives.infonce import infonce
from tests.helpers.points import shuffled, sphere
from tests.helpers.stepping import inputs_of, terms_of, trainer

SIZES = {"count": st.integers(2, 6), "dim": st.integers(2, 5), "seed": st.integers(0, 1000)}


@settings(deadline=None)
@given(**SIZES, temperature=st.floats(0.1, 2))
def test_the_authors_uniformity_is_the_formula(
    count: int, dim: int, seed: int, temperature: float
) -> None:
    z1, z2 = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    z = [*z1.tolist(), *z2.tolist()]
    total = 0.0
    for i in range(2 * count):
        negatives = [j for j in range(2 * count) if j % count != i % count]
        total += math.log(
            sum(
                math.exp(sum(a * b for a, b in zip(z[i], z[j], strict=True)) / temperature)
                for j in negatives
            )
        )
    energy = negatives_energy(z1, z2, temperature)
    assert float(energy) == pytest.approx(total / (2 * count), rel=1e-10)
    order = shuffled(count, seed)
    assert float(negatives_energy(z1[order], z2[order], temperature)) == pytest.approx(
        float(energy)
    )


@settings(deadline=None)
@given(**SIZES)
def test_infonce_lies_above_its_two_parts(count: int, dim: int, seed: int) -> None:
    """log(e^p + Σ) - p, and log Σ - p, for each: what the ablation takes apart."""
    z1, z2 = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    parts = negatives_energy(z1, z2, 0.5) - positive_cosine(z1, z2) / 0.5
    assert float(infonce(z1, z2, 0.5)) > float(parts)


def test_the_authors_uniformity_has_a_gradient() -> None:
    z1, z2 = sphere(3, 3, 0).requires_grad_(), sphere(3, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: negatives_energy(a, b, 0.5), (z1, z2))


@pytest.mark.parametrize(
    "name", ["alignment", "alignment-authors", "uniformity", "uniformity-authors"]
)
def test_each_form_is_what_is_minimized(name: str) -> None:
    made = trainer(name)
    inputs = inputs_of(made)
    z1, z2 = (made.network(inputs[f"view-{i}"]) for i in (1, 2))
    expected = {
        "alignment": alignment(z1, z2),
        "alignment-authors": -positive_cosine(z1, z2) / 0.5,
        "uniformity": (uniformity(z1) + uniformity(z2)) / 2,
        "uniformity-authors": negatives_energy(z1, z2, 0.5),
    }
    torch.testing.assert_close(terms_of(made)["train/loss"], expected[name])
