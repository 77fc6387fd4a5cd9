"""Evaluate a trained trial with other settings, without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from care.config import TrialConfig
from care.data.dataset import check_dataset, load_dataset
from care.data.fingerprints.fingerprint import fingerprints
from care.errors import CareError
from care.evaluation.evaluate import TransferSets, evaluate
from care.evaluation.results import Results
from care.models import build_network
from care.system.cores import available_cores
from care.system.device import resolve_device
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from care.trials.staleness import by_field, check_same_data, data_difference, is_own

RETRAIN = "care store delete {}, then the command that trained it"


def reevaluate(folder: TrialFolder, config: TrialConfig, warn: Callable[[str], None]) -> Results:
    """Evaluate the network of the trial's newest checkpoint or weights; writes nothing.

    Args:
        folder: Folder of the trial, finished or not.
        config: The trial's configuration, possibly with other settings of the evaluation. The data
            must be prepared.
        warn: Called with a line for each skipped damaged checkpoint, and if the training has not
            finished.

    Raises:
        CareError: There are no weights, those of a finished trial's last epoch are lost, or data
            are missing.
        OtherDataError: The network was trained on other data.
    """
    device = resolve_device(config.runtime.device)
    loaded = checkpoint.load_network(folder.path, device, warn, folder.trial_id)
    if loaded is None:
        problem = "has no valid checkpoint or weights file, so there is no network to evaluate"
        advice = f". To train it again: {RETRAIN.format(folder.trial_id)}"
        raise CareError(f"{folder.path}: {problem}{advice if _is_finished(folder) else ''}")
    epoch, weights = loaded
    check_epoch(folder, epoch, config.training.epochs, warn)
    # Sums round differently with another number of threads.
    recorded = folder.read_provenance()
    threads = recorded.threads if recorded else config.runtime.threads
    torch.set_num_threads(threads or available_cores())
    _check_data(folder, recorded.data if recorded else {}, config, warn)
    dataset = load_dataset(config.data, Path(config.runtime.data_root))
    check_dataset(config, dataset)
    network = build_network(config.model, config.seed).to(device)
    network.load_state_dict(weights)
    transfer = TransferSets(config, device)
    return evaluate(network, dataset.to(device), config, transfer)


def check_epoch(folder: TrialFolder, epoch: int, epochs: int, warn: Callable[[str], None]) -> None:
    """Refuse an earlier network of a finished trial; warn of that of an unfinished one."""
    if epoch >= epochs:
        return
    if _is_finished(folder):
        raise CareError(
            f"{folder.path}: the last checkpoint is lost; the newest one is of epoch {epoch} of "
            f"{epochs}, whose measures are not the trial's"
        )
    warn(f"not trained to the end: this is the network after {epoch} of {epochs} epochs")


def _is_finished(folder: TrialFolder) -> bool:
    status = folder.read_status()
    return status is not None and status.finished


def _check_data(
    folder: TrialFolder,
    recorded: Mapping[str, str],
    config: TrialConfig,
    warn: Callable[[str], None],
) -> None:
    """Refuse other data than the network was trained on; warn of other transfer data."""
    now = by_field(config, fingerprints)
    own = {field: value for field, value in now.items() if is_own(field)}
    check_same_data(folder.path, recorded, own, config)
    trial = folder.read_trial()
    trained = TrialConfig.model_validate(trial.config) if trial else config
    if trained.transfer_data == config.transfer_data:
        difference = data_difference(recorded, now, config)
        if difference:
            warn(f"{difference}; these measures are of the present data")
