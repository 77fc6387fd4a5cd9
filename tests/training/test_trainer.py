"""Training: what a step minimizes, that it learns, and what it does when it diverges."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from care.config import DataConfig, TrialConfig
from care.config.loading import validate
from care.data.dataset import load_dataset
from care.data.shared_batches import Batch
from care.objectives.inputs import make_inputs
from care.training.trainer import Trainer
from care.training.trial_run import TrialRun
from care.trials.failure import DivergedError
from care.trials.folder import TrialFolder
from tests.conftest import TINY

CPU = torch.device("cpu")


def config(**parts: Any) -> TrialConfig:
    return validate(TrialConfig, {**TINY, **parts}, "test")


def trainer(**parts: Any) -> Trainer:
    return Trainer(config(**parts), load_dataset(DataConfig(), Path()), CPU)


def objective(weight: float, **equivariance: Any) -> dict[str, Any]:
    return {"equivariance": {"weight": weight, "splits": 16, **equivariance}}


def run(made: Trainer) -> dict[str, float]:
    metrics = made.run_epoch()
    assert metrics
    return metrics


def test_the_loss_is_infonce_plus_lambda_times_equivariance() -> None:
    metrics = run(trainer(objective=objective(0.3)))
    total = metrics["train/infonce"] + 0.3 * metrics["train/equivariance"]
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-6)


def test_simclr_alone_has_no_further_loss() -> None:
    metrics = run(trainer(objective=objective(0)))
    assert metrics["train/loss"] == metrics["train/infonce"]
    assert "train/equivariance" not in metrics


def test_the_first_step_sees_the_same_views_whatever_the_weight() -> None:
    """Streams of randomness are apart: λ changes the loss, not the images of SimCLR."""
    images = load_dataset(DataConfig(), Path()).train.images[:64]
    losses = set()
    for weight in (0, 0.1, 1):
        made = trainer(objective=objective(weight))
        specs = made.objective.input_specs()
        inputs = make_inputs(specs, Batch(images, 0, 0, 0), made._augmenter)
        terms = made.objective(made.network, inputs)
        losses.add(terms["train/infonce"].item())
    assert len(losses) == 1


@pytest.mark.parametrize(
    ("changes", "goes_on"), [({"seed": 1}, False), ({"runtime": {"threads": 1}}, True)]
)
def test_the_seed_decides(changes: dict[str, Any], goes_on: bool) -> None:
    assert (run(trainer()) == run(trainer(**changes))) is goes_on


def test_it_learns() -> None:
    made = trainer(objective=objective(0), training={"epochs": 6, "batch_size": 256})
    losses = [run(made)["train/infonce"] for _ in range(6)]
    assert max(losses[3:]) < losses[0]
    assert losses[-1] < math.log(2 * 256 - 1) - 0.5  # what embeddings that say nothing have


def test_lambda_makes_augmentations_act_as_rotations() -> None:
    """The claim itself, small: γ_f after a few epochs is lower with L_equi than without."""

    def gamma(weight: float) -> float:
        made = trainer(objective=objective(weight), training={"epochs": 5, "batch_size": 256})
        return [run(made)["heldout/gamma"] for _ in range(5)][-1]

    assert gamma(0.3) < 0.5 * gamma(0)


def test_every_image_is_seen_once_an_epoch() -> None:
    made = trainer()
    orders = []
    for epoch in (0, 1):
        made.epoch = epoch
        orders.append(made._order())
    everything = torch.arange(len(made.dataset.train))
    assert all(torch.equal(order.sort().values, everything) for order in orders)
    assert not torch.equal(*orders)


def test_divergence_is_reported_and_the_last_good_checkpoint_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, good = _after_an_epoch(tmp_path)
    folder = running.folder
    _poison(running, monkeypatch)
    with pytest.raises(DivergedError, match=r"step 3 of epoch 2; the last good checkpoint is kept"):
        running.advance()
    status = folder.read_status()
    assert status
    assert (status.state, status.epoch) == ("failed", 1)
    assert status.error
    assert status.error.kind == "diverged"
    assert sorted(folder.path.glob("checkpoint-*.pt")) == good


def test_embeddings_that_finite_weights_break_end_the_trial_before_anything_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One large step: running statistics of BatchNorm that a forward pass cannot undo."""
    running, good = _after_an_epoch(tmp_path)
    folder = running.folder
    original: Callable[..., None] = Trainer._train_step

    def step(made: Trainer, order: torch.Tensor) -> None:
        original(made, order)
        if made.step == made.steps_per_epoch - 1:
            for module in made.network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    assert module.running_mean is not None
                    module.running_mean.fill_(torch.nan)

    monkeypatch.setattr(Trainer, "_train_step", step)
    with pytest.raises(DivergedError, match=r"held-out samples after epoch 2: \d+ of \d+ embedd"):
        running.advance()
    status = folder.read_status()
    assert status
    assert (status.state, status.epoch) == ("failed", 1)
    assert status.error
    assert status.error.kind == "diverged"
    assert sorted(folder.path.glob("checkpoint-*.pt")) == good
    assert len(folder.read_metrics()) == 1


def test_weights_that_a_last_step_broke_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of an epoch's last step was finite; the next one would come after the checkpoint."""
    running, good = _after_an_epoch(tmp_path)
    folder = running.folder
    original: Callable[..., None] = Trainer._train_step

    def step(made: Trainer, order: torch.Tensor) -> None:
        original(made, order)
        if made.step == made.steps_per_epoch - 1:
            with torch.no_grad():
                next(made.network.parameters()).view(-1)[0] = torch.nan

    monkeypatch.setattr(Trainer, "_train_step", step)
    with pytest.raises(DivergedError, match=r"weights were not finite after step 5 of epoch 2;"):
        running.advance()
    assert sorted(folder.path.glob("checkpoint-*.pt")) == good
    assert len(folder.read_metrics()) == 1


def _after_an_epoch(tmp_path: Path) -> tuple[TrialRun, list[Path]]:
    """A trial and its checkpoints."""
    running = TrialRun(config(), TrialFolder(tmp_path / "trial"))
    running.advance()
    return running, sorted(running.folder.path.glob("checkpoint-*.pt"))


def _poison(running: TrialRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the weights infinite before the third step, as too high a learning rate would."""
    original: Callable[..., None] = Trainer._train_step

    def step(made: Trainer, order: torch.Tensor) -> None:
        if made.step == 2:
            with torch.no_grad():
                for parameter in made.network.parameters():
                    parameter.fill_(torch.inf)
        original(made, order)

    monkeypatch.setattr(Trainer, "_train_step", step)
