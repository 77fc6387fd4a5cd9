"""Load a trained encoder from a trial of a store, or from an exported folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from care.augmentation import Augmenter
from care.config import TrialConfig
from care.data.dataset import load_dataset
from care.data.fingerprints.fingerprint import fingerprints
from care.errors import CareError
from care.evaluation.reevaluate import RETRAIN, check_epoch
from care.models import build_network
from care.models.network import move_network
from care.pretrained.exported import is_exported, read_exported, read_weights
from care.pretrained.pretrained import Origin, Pretrained
from care.pretrained.source import open_source, read_config
from care.system.device import resolve_device
from care.system.files import DamagedFileError
from care.trials import checkpoint
from care.trials.code_version import code_version
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.plugin_versions import plugin_difference, plugin_versions
from care.trials.preprocessing import rebuild_augmenter
from care.trials.records import ProvenanceRecord
from care.trials.staleness import check_same_data

Warn = Callable[[str], None]


def load(
    source: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
) -> Pretrained:
    """Load a trained encoder; writes nothing, and leaves torch's number of threads as it is.

    Args:
        source: First digits of a trial's identity, a trial's folder, a folder that
            ``care export`` wrote, or a model in MLflow: ``models:/NAME@ALIAS``,
            ``models:/NAME/VERSION``, ``models:/m-ID``. It is looked up in
            ``MLFLOW_TRACKING_URI``, else in the store's own file.
        store: Folder of the run store; by default ``CARE_STORE``, else ``runs``.
        device: Device of the network; ``auto`` is the first accelerator, else the CPU.

    Returns:
        The encoder, in eval mode.

    Raises:
        CareError: The trial has no weights, or its preprocessing is known nowhere.
        ConfigError: No such source or device; names the nearest trial.
        DamagedFileError: Weights or configuration were changed.

    Warns:
        UserWarning: The training has not finished, or was run by other code.
    """
    target = resolve_device(str(device))
    lines: list[str] = []
    try:
        with open_source(source, store) as path:
            if is_exported(path):
                return _load_exported(path, target, lines.append)
            return _load_trial(TrialFolder(path), target, lines.append)
    finally:
        for line in lines:
            warnings.warn(line, UserWarning, stacklevel=2)


def _load_trial(folder: TrialFolder, device: torch.device, warn: Warn) -> Pretrained:
    config = read_config(folder)
    identity = trial_id(config)
    loaded = checkpoint.load_network(folder.path, device, warn, identity)
    if loaded is None:
        problem = "has no weights: no valid checkpoint or weights file"
        advice = f"To train it again: {RETRAIN.format(identity)}"
        raise CareError(f"{folder.path}: {problem}. {advice}")
    epoch, weights = loaded
    check_epoch(folder, epoch, config.training.epochs, warn)
    provenance = folder.read_provenance()
    if provenance is None:
        raise DamagedFileError(folder.path / "provenance.json", "is missing")
    _warn_of_other_code(str(folder.path), provenance, config, warn)
    augmenter = _open_augmenter(folder, config, provenance)
    origin = Origin(identity, epoch, provenance.code_version, provenance.threads)
    return _build(str(folder.path), config, weights, augmenter, origin, device)


def _load_exported(folder: Path, device: torch.device, warn: Warn) -> Pretrained:
    from safetensors.torch import load as unpack

    record = read_exported(folder)
    config = record.trial_config(folder / "config.json")
    content = read_weights(folder, record)
    if record.epoch < record.epochs:
        warn(f"{folder}: not trained to the end: {record.epoch} of {record.epochs} epochs")
    _warn_of_other_code(str(folder), record.provenance, config, warn)
    augmenter = rebuild_augmenter(record.preprocessing, config.augmentation)
    if augmenter is None:
        raise DamagedFileError(folder / "config.json", "has no mean and std of images")
    threads = record.provenance.threads
    origin = Origin(record.trial_id, record.epoch, record.provenance.code_version, threads)
    return _build(str(folder), config, unpack(content), augmenter, origin, device)


def _build(
    source: str,
    config: TrialConfig,
    weights: dict[str, Tensor],
    augmenter: Augmenter[Any],
    origin: Origin,
    device: torch.device,
) -> Pretrained:
    network = build_network(config.model, config.seed)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CareError(
            f"{source}: its weights do not fit the encoder {config.model.encoder!r} of this "
            f"version ({str(error).splitlines()[-1].strip()}). Use the code of the training."
        ) from error
    return Pretrained(move_network(network, device), augmenter, config, origin)


def _open_augmenter(
    folder: TrialFolder, config: TrialConfig, provenance: ProvenanceRecord
) -> Augmenter[Any]:
    """Build the trial's preprocessing from its record, or from its data for want of a record.

    Raises:
        CareError: Neither is here.
    """
    if provenance.preprocessing is not None:
        augmenter = rebuild_augmenter(provenance.preprocessing, config.augmentation)
        if augmenter is not None:
            return augmenter
    root = Path(config.runtime.data_root)
    try:
        now = fingerprints(config.data, root)
        dataset = load_dataset(config.data, root)
    except (CareError, OSError) as error:
        raise CareError(
            f"{folder.path}: records no mean and std of its images, as trials of earlier versions "
            f"or with a plugin's preprocessing, and its data are not in {root.absolute()}. "
            f"'care data get {config.data.name}' gets them; then load it once more ({error})"
        ) from error
    fields = {f"data.{part}" if part else "data": value for part, value in now.items()}
    check_same_data(folder.path, provenance.data, fields, config)
    return dataset.augmenter(config.augmentation)


def _warn_of_other_code(
    source: str, provenance: ProvenanceRecord, config: TrialConfig, warn: Warn
) -> None:
    """Warn that features may differ from the measured ones; present data do not matter."""
    if provenance.code_version != code_version():
        difference = f"trained with other code ({provenance.code_version}, now {code_version()})"
    else:
        difference = plugin_difference(provenance.plugins, plugin_versions(config))
    if difference:
        warn(f"{source}: stale, {difference}; its features may differ from the measured ones")
