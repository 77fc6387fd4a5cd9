"""Trials that are trained, or whose network is saved without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from care.config import TrialConfig
from care.config.loading import validate
from care.models import build_network
from care.models.network import Network
from care.training.trial_run import TrialRun
from care.trials import checkpoint
from care.trials.code_version import code_version
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import PreprocessingRecord, ProvenanceRecord
from care.trials.state import State
from tests.conftest import TINY


def configure(**fields: Any) -> TrialConfig:
    """A tiny trial with other fields."""
    return validate(TrialConfig, {**TINY, **fields}, "test")


def train(config: TrialConfig, store: Path, epochs: int | None = None) -> TrialFolder:
    """Train a trial in a store, to its end or for some epochs."""
    folder = TrialFolder(store / "trials" / trial_id(config))
    run = TrialRun(config, folder)
    while not run.finished and run.epoch != epochs:
        run.advance()
    return folder


def save_untrained(config: TrialConfig, store: Path, side: int = 16) -> TrialFolder:
    """Write a finished trial whose network has random weights and BatchNorm statistics."""
    folder = TrialFolder(store / "trials" / trial_id(config))
    folder.create(config)
    preprocessing = PreprocessingRecord(
        kind="images", size=(side, side), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
    )
    folder.write_provenance(
        ProvenanceRecord(code_version=code_version(), threads=1, preprocessing=preprocessing)
    )
    epochs = config.training.epochs
    save_random_network(folder, config)
    folder.write_evaluation({"head/gamma": 0.5})
    folder.write_status(State.FINISHED, epochs, epochs)
    return folder


def save_random_network(folder: TrialFolder, config: TrialConfig) -> None:
    """Write the checkpoint of the last epoch."""
    epochs = config.training.epochs
    state = {"epoch": epochs, "network": random_network(config).state_dict()}
    checkpoint.save(folder.path, epochs, 0, state)


def random_network(config: TrialConfig) -> Network:
    """A network whose statistics of BatchNorm are random, too, as after a training."""
    network = build_network(config.model, config.seed).eval()
    rng = torch.Generator().manual_seed(0)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=rng)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=rng)
    return network
