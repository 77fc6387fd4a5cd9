"""A step that is recorded and replayed does what it does operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from care.augmentation.cuda_graph import make_graphed
from care.objectives.infonce import infonce
from care.objectives.simclr import SimCLR
from care.system.rng import generator
from care.training.cuda_graph import WARM_UP, CudaGraphStep
from care.trials.failure import DivergedError
from tests.helpers.comparing import assert_equal
from tests.helpers.gpu_training import CUDA, STEPS, of, side_by_side, train, trainer
from tests.helpers.stepping import SMALL


@pytest.mark.parametrize("name", SMALL)
def test_replayed_steps_equal_single_operations(name: str) -> None:
    replayed = trainer(of(name))
    state = train(replayed)
    assert isinstance(replayed._passes, CudaGraphStep)
    assert replayed._passes.replays
    assert_equal(state, train(trainer(of(name, graph=False))))


def test_groups_of_batch_norm_are_recorded() -> None:
    parts: dict[str, Any] = {"training": {"batch_norm_groups": 4}}
    made = trainer(of("care", **parts))
    assert_equal(train(made), train(trainer(of("care", graph=False, **parts))))


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_bfloat16_is_recorded(name: str) -> None:
    parts: dict[str, Any] = {"training": {"precision": "bf16"}, "model": {"encoder": name}}
    made = trainer(of("care", **parts))
    assert_equal(train(made), train(trainer(of("care", graph=False, **parts))))


def test_auto_is_bfloat16_here() -> None:
    made = trainer(of("simclr", training={"precision": "auto"}))
    assert made.network.precision == "bf16"


@pytest.mark.parametrize("pause", [1, WARM_UP, WARM_UP + 1, STEPS - 1])
def test_a_pause_changes_nothing(pause: int) -> None:
    """The trainer that goes on has no graph yet; that of the one that paused is gone."""
    first = trainer(of("care-moco"))
    state = train(first, pause)
    second = trainer(of("care-moco"))
    second.load_state(state)
    assert_equal(train(second), train(trainer(of("care-moco"))))


def test_trials_of_a_pack_equal_solo_runs() -> None:
    settings = [of(name) for name in ("care", "care-moco", "byol", "equimod-simclr", "simclr")]
    for state, config in zip(side_by_side(settings), settings, strict=True):
        assert_equal(state, train(trainer(config)))


def test_the_host_waits_for_nothing_inside_an_epoch() -> None:
    made = trainer(of("care"))
    steps = made.steps()
    for _ in range(WARM_UP + 1):
        next(steps)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_cannot_be_recorded_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train(trainer(of("simclr", graph=False)))
    original: Callable[..., Any] = SimCLR.forward

    def asks_the_device(self: SimCLR, *views: Any) -> Any:
        found = original(self, *views)
        found.loss.item()
        return found

    monkeypatch.setattr(SimCLR, "forward", asks_the_device)
    warnings: list[str] = []
    state = train(trainer(of("simclr"), warnings))
    assert_equal(state, expected)
    assert len(warnings) == 1
    assert "could not be recorded as a CUDA graph and runs slower" in warnings[0]
    # The GPU is as usable as before.
    z: Tensor = torch.nn.functional.normalize(torch.randn(8, 4, device=CUDA), dim=1)
    assert infonce(z, z, 0.5).isfinite()


def test_a_loss_that_is_not_finite_is_found_and_placed() -> None:
    made = trainer(of("simclr", optimizer={"learning_rate": 1e30}))
    with pytest.raises(DivergedError, match="not finite"):
        made.run_epoch()


def test_epochs_end_with_measures_and_the_last_one_frees_the_graph() -> None:
    made = trainer(of("care", training={"batch_size": 256}))
    passes = made._passes
    assert isinstance(passes, CudaGraphStep)
    first = made.run_epoch()
    assert passes.replays
    second = made.run_epoch()
    assert not passes.replays
    for metrics in (first, second):
        assert metrics is not None
        assert metrics["heldout/gamma"] > 0
        assert metrics["train/loss"] > 0


def test_compiled_encoders_are_recorded() -> None:
    """Trained slowly, or what is rounded otherwise would grow."""
    optimizer = {"name": "sgd", "learning_rate": 1e-6}
    parts: dict[str, Any] = {"model": {"encoder": "resnet18"}, "optimizer": optimizer}
    compiled = trainer(of("care-moco", compile_="always", **parts))
    plain = trainer(of("care-moco", **parts))
    train(compiled, STEPS)
    train(plain, STEPS)
    assert isinstance(compiled._passes, CudaGraphStep)
    assert compiled._passes.replays
    for name, expected in plain._sums.items():
        torch.testing.assert_close(compiled._sums[name], expected, rtol=1e-3, atol=1e-3)


def test_views_are_augmented_by_a_graph_as_without() -> None:
    made = trainer(of("care", graph=False))
    plain = made._augmenter
    images = made.dataset.train.images[:64].to(CUDA)
    recorded = make_graphed(plain, pytest.fail)
    for rows in (64, 4, 1, 64):
        for purpose in ("first", "second"):
            table = plain.sample(rows, generator(0, purpose, rows))
            expected = plain.apply(table, images)
            torch.testing.assert_close(recorded.apply(table, images), expected, rtol=0, atol=1e-5)
