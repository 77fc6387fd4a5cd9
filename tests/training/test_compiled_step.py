"""Compiled encoders: the same numbers but for rounding, and a way back where they fail."""

from __future__ import annotations

import shutil
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from care.models.network import encode
from care.training.compiled_step import compiles
from care.training.trainer import Trainer
from tests.helpers.comparing import assert_equal
from tests.helpers.stepping import CPU, config
from tests.helpers.stepping import trainer as made

CUDA = torch.device("cuda")
STEPS = 3


def trained(compile_: str, name: str = "care-moco") -> tuple[Trainer, list[str]]:
    warnings: list[str] = []
    plain = made(name)
    settings = config(name, runtime={"compile": compile_})
    training = settings.training.model_copy(update={"precision": "fp32"})
    settings = settings.model_copy(update={"training": training})
    trainer = Trainer(settings, plain.dataset, CPU, warn=warnings.append)
    trainer.run_epoch(stop=lambda: trainer.step == STEPS)
    return trainer, warnings


def test_a_compiled_encoder_computes_the_same() -> None:
    trainer, warnings = trained("always")
    expected, _ = trained("never")
    has_compiler = any(map(shutil.which, ("g++", "clang++")))
    assert bool(warnings) != has_compiler, "torch's compiler for CPUs needs one of C++"
    for name, total in expected._sums.items():
        torch.testing.assert_close(trainer._sums[name], total, rtol=1e-4, atol=1e-5)
    assert trainer.network.encode is encode, "measures are taken of the network as it is"


def test_one_that_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that fails in the second pass leaves running statistics of the first behind."""
    passes = []

    def broken(encoder: nn.Module, inputs: Tensor) -> Tensor:
        passes.append(len(inputs))
        if len(passes) == 2:
            raise RuntimeError("no C compiler\nand a long story")
        return encode(encoder, inputs)

    monkeypatch.setattr("care.training.compiled_step._compiled_encode", lambda: broken)
    trainer, warnings = trained("always")
    assert len(passes) == 2
    assert warnings == ["the encoder could not be compiled and runs slower: no C compiler"]
    expected, _ = trained("never")
    assert_equal(trainer.state(), expected.state())


def test_memory_that_ran_out_is_no_compilers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(encoder: nn.Module, inputs: Tensor) -> NoReturn:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("care.training.compiled_step._compiled_encode", lambda: full)
    with pytest.raises(torch.OutOfMemoryError):
        trained("always")


@pytest.mark.parametrize(
    ("encoder", "epochs", "device", "choice", "expected"),
    [
        ("resnet18", 400, CUDA, "auto", True),
        ("resnet50", 400, CUDA, "auto", True),
        ("resnet18", 5, CUDA, "auto", False),
        ("small", 400, CUDA, "auto", False),
        ("resnet18", 400, CPU, "auto", False),
        ("resnet18", 400, CUDA, "never", False),
        ("small", 1, CPU, "always", True),
    ],
)
def test_auto_compiles_where_a_gpu_wins_the_time_back(
    encoder: str, epochs: int, device: torch.device, choice: str, expected: bool
) -> None:
    parts: dict[str, Any] = {"model": {"encoder": encoder}, "runtime": {"compile": choice}}
    settings = config("care", **parts)
    training = settings.training.model_copy(update={"epochs": epochs, "batch_size": 256})
    settings = settings.model_copy(update={"training": training})
    assert compiles(settings, device, samples=50_000, side=32) is expected
