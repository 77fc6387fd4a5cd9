"""Open a trainer at the newest checkpoint of its trial, in each of the trial's processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch

from care.config import DataConfig, TrialConfig
from care.data.dataset import Dataset, check_dataset, load_dataset
from care.data.fingerprints.fingerprint import fingerprints
from care.data.fingerprints.sources import NotHereError
from care.data.shared_batches import SharedBatches
from care.distributed.group import Group
from care.errors import CareError
from care.system.allocator import keep_freed_memory
from care.system.device import resolve_device
from care.system.files import Writer
from care.system.precision import exact_float32
from care.training.trainer import Trainer
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.staleness import by_field, check_same_data


@functools.lru_cache(maxsize=1)
def _dataset(data: DataConfig, root: Path, device: torch.device, fingerprint: str) -> Dataset:
    """Load a data set; cached, since one process trains many trials on it."""
    dataset = load_dataset(data, root).to(device)
    if fingerprints(data, root)[""] != fingerprint:
        raise CareError(f"{root}: {data.name!r} changed while it was read; repeat the command")
    return dataset


def open_data(config: TrialConfig, device: torch.device) -> tuple[Dataset, dict[str, str]]:
    """Load a trial's data set, and fingerprint it and its transfer sets.

    Returns:
        The data set on ``device``; the fingerprints as :func:`care.trials.staleness.by_field` has
        them.

    Raises:
        CareError: Data are missing or damaged, or changed while they were read.
    """
    root = Path(config.runtime.data_root)
    try:
        current = by_field(config, fingerprints)
    except NotHereError as error:
        raise CareError(_explain_missing(config, root) or str(error)) from error
    return _dataset(config.data, root, device, current["data"]), current


def _explain_missing(config: TrialConfig, root: Path) -> str:
    """Explain for each missing data set of a trial how to get its files."""
    reasons = []
    for data in (config.data, *config.transfer_data):
        try:
            load_dataset(data, root)
        except CareError as error:
            reasons.append(str(error))
    return "\n".join(dict.fromkeys(reasons))


def open_trainer(
    config: TrialConfig,
    folder: Path,
    group: Group,
    threads: int,
    warn: Callable[[str], None],
    shared: SharedBatches | None = None,
    writer: Writer | None = None,
) -> tuple[Trainer, dict[str, str]]:
    """Make a trainer with the state of the trial's newest sound checkpoint, or a new one.

    Args:
        config: The trial.
        folder: Its folder.
        group: The processes that train it.
        threads: CPU threads of this process, set here.
        warn: Called with a line for each damaged checkpoint.
        shared: Shared by the trials that train in this process step by step.
        writer: The trial's claim, to set damaged checkpoints aside; None in a process without it.

    Returns:
        The trainer; the fingerprints of its data, as :func:`open_data` has them.

    Raises:
        ConfigError: The device or the data do not fit the trial.
        OtherDataError: The trial was trained on other data, or rank 0 trains on other data.
    """
    keep_freed_memory()
    exact_float32()
    # A training has few shapes, so a trial of every kernel for each shape pays off.
    torch.backends.cudnn.benchmark = True
    device = resolve_device(config.runtime.device, group)
    torch.set_num_threads(threads)
    dataset, data = open_data(config, device)
    check_dataset(config, dataset)
    recorded = TrialFolder(folder).read_provenance()
    # Rank 0 records its data before the others open theirs, with or without a checkpoint.
    if recorded and (group.rank > 0 or TrialFolder(folder).has_checkpoint()):
        check_same_data(folder, recorded.data, data, config)
    # A resumed trial keeps its precision: another one would change its numbers.
    precision = recorded.precision if recorded else None
    trainer = Trainer(config, dataset, device, group, precision, shared, warn)
    identity, epochs = trial_id(config), config.training.epochs
    trained = checkpoint.load_weights(folder, device, warn, writer, identity)
    if trained is not None and trained[0] == epochs:  # only its evaluation is repeated
        trainer.load_trained(*trained)
    elif state := checkpoint.load(folder, device, warn, writer, identity):
        trainer.load_state(state)
    return trainer, data
