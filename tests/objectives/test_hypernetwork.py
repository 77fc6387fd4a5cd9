from __future__ import annotations

import pytest
import torch

from care.objectives.hypernetwork import Hypernetwork
from tests.helpers.points import points


@pytest.mark.parametrize("bias", [False, True])
def test_equals_a_matrix_for_each_sample(bias: bool) -> None:
    """As the authors of SIE and STL compute it: the layer's output, as a matrix, times x."""
    module = Hypernetwork(5, 3, bias=bias).double()
    x, z = points(4, 5, 0), points(4, 3, 1)
    matrices = module.layer(z).view(-1, 5, 5)
    expected = torch.bmm(x.unsqueeze(1), matrices.transpose(-2, -1)).squeeze(1)
    torch.testing.assert_close(module(x, z), expected)


def test_only_with_a_bias_no_difference_is_a_map() -> None:
    x, none = points(4, 5, 0).float(), torch.zeros(4, 3)
    assert not Hypernetwork(5, 3, bias=False)(x, none).any()
    assert Hypernetwork(5, 3, bias=True)(x, none).any()
