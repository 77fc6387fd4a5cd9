"""Optimizer and learning-rate schedule against PyTorch's own schedulers and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from care.config import OptimizerConfig
from care.lr_schedule import learning_rate
from care.optimizer import build_optimizer, load_optimizer

STEPS, EPOCHS = 7, 10
CPU = torch.device("cpu")


def config(**fields: object) -> OptimizerConfig:
    return OptimizerConfig.model_validate({"learning_rate": 0.4, **fields})


def rates(settings: OptimizerConfig) -> list[float]:
    return [learning_rate(settings, step, STEPS, EPOCHS) for step in range(STEPS * EPOCHS)]


def test_constant() -> None:
    assert rates(config()) == [0.4] * (STEPS * EPOCHS)


@pytest.mark.parametrize("warmup_epochs", [1, 3])
def test_warm_up_and_cosine_are_pytorchs(warmup_epochs: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    warmup, total = warmup_epochs * STEPS, STEPS * EPOCHS
    theirs = SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1),
            CosineAnnealingLR(optimizer, T_max=total - warmup),
        ],
        milestones=[warmup],
    )
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    ours = rates(config(schedule="cosine", warmup_epochs=warmup_epochs))
    assert ours == pytest.approx(expected, rel=1e-9)


def test_cosine_in_closed_form() -> None:
    ours = rates(config(schedule="cosine"))
    expected = [0.2 * (1 + math.cos(math.pi * i / (STEPS * EPOCHS))) for i in range(STEPS * EPOCHS)]
    assert ours == pytest.approx(expected, rel=1e-12)


def test_a_warm_up_as_long_as_the_training_never_falls() -> None:
    ours = rates(config(schedule="cosine", warmup_epochs=EPOCHS))
    assert ours == sorted(ours)
    assert ours[-1] == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_one_step_by_hand(name: str) -> None:
    """With an L2 penalty on every parameter, as the authors have it."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = build_optimizer(config(name=name, weight_decay=0.1), [weight], CPU)
    weight.grad = torch.tensor([3.0], dtype=torch.float64)
    optimizer.step()
    gradient = 3 + 0.1 * 2
    step = gradient if name == "sgd" else gradient / (gradient + 1e-8)  # Adam's first: its sign
    assert weight.item() == pytest.approx(2 - 0.4 * step, rel=1e-9)


def test_momentum_reaches_sgd() -> None:
    optimizer = build_optimizer(
        config(name="sgd", momentum=0.9), [nn.Parameter(torch.zeros(1))], CPU
    )
    assert optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_moments_take_their_parameters_order_in_memory(name: str) -> None:
    """A fused step goes through both as they lie; a CPU's checkpoint has another order."""
    settings = config(name=name, momentum=0.9 if name == "sgd" else 0.0)

    def after_two_steps(order: torch.memory_format, moved: bool) -> torch.Tensor:
        weight = nn.Parameter(torch.arange(24.0).reshape(1, 2, 3, 4))
        optimizer = build_optimizer(settings, [weight], CPU)
        for step in range(2):
            if moved and step == 1:
                weight = nn.Parameter(weight.detach().contiguous(memory_format=order))
                state = optimizer.state_dict()
                optimizer = build_optimizer(settings, [weight], CPU)
                for group in optimizer.param_groups:
                    group["fused"] = True
                load_optimizer(optimizer, state)
                assert optimizer.param_groups[0]["fused"], (
                    "how it computes is not the file's affair"
                )
                moments = [v for v in optimizer.state[weight].values() if v.dim() == 4]
                assert moments
                assert all(moment.stride() == weight.stride() for moment in moments)
            weight.grad = torch.sin(weight.detach())
            optimizer.step()
        return weight.detach()

    expected = after_two_steps(torch.contiguous_format, moved=False)
    actual = after_two_steps(torch.channels_last, moved=True)
    torch.testing.assert_close(actual, expected)
