"""Measure any encoder on an experiment's data with every measure of a trial, and store that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from care.config import TrialConfig
from care.data.dataset import check_dataset, load_dataset
from care.errors import CareError, ConfigError, Problem
from care.evaluation.evaluate import TransferSets, evaluate
from care.evaluation.results import Results
from care.models import Network
from care.models.network import move_network
from care.pretrained.public_encoder import Adapted, OpenedEncoder
from care.system.cores import available_cores
from care.system.device import resolve_device
from care.system.precision import in_exact_float32, resolve_precision
from care.trials.preprocessing import describe_preprocessing
from care.trials.provenance import provenance
from care.trials.records import PreprocessingRecord
from care.trials.reference import Reference, measuring_plugins, write_reference
from care.trials.staleness import Versions, data_difference

_HEAD = "head/"


def measure_encoder(opened: OpenedEncoder, config: TrialConfig) -> Results:
    """Measure an encoder's frozen features; trains and writes nothing.

    Without a projection head there are no measures ``head/…``. An encoder of this project, on data
    that are prepared as in its training, gives the measures of its trial bit for bit.

    Args:
        opened: The encoder.
        config: Data, augmentation, evaluation and runtime count; the data must be prepared.

    Raises:
        CareError: Data are missing, or a plugin prepares them.
        ConfigError: The encoder does not take such data.
    """
    dataset = load_dataset(config.data, Path(config.runtime.data_root))
    check_dataset(config, dataset)
    given = describe_preprocessing(dataset.augmenter(config.augmentation))
    if given is None:
        raise CareError(
            f"data {config.data.name!r}: a plugin's code prepares them; other encoders need images "
            "that are normalized by mean and standard deviation"
        )
    network = _adapt(opened, given, config)
    device = resolve_device(config.runtime.device)
    torch.set_num_threads(_threads(config))
    with in_exact_float32():
        transfer = TransferSets(config, device)
        results = evaluate(move_network(network, device), dataset.to(device), config, transfer)
    return results if opened.record.has_head else _without_head(results)


def measure_reference(opened: OpenedEncoder, config: TrialConfig, root: Path) -> Reference:
    """Measure an encoder and store the result as a reference.

    Args:
        opened: The encoder.
        config: See :func:`measure_encoder`.
        root: Folder of the store, which exists.

    Raises:
        CareError: Raised by :func:`measure_encoder`, or the data changed meanwhile.
        DiskError: The store cannot be written.
    """
    data = Versions().data(config)
    results = measure_encoder(opened, config)
    difference = data_difference(data, Versions().data(config), config, verb="measured on")
    if difference:
        raise CareError(f"{opened.name}: {difference}: the data changed meanwhile. Repeat it")
    device = resolve_device(config.runtime.device)
    precision = resolve_precision("evaluation.precision", config.evaluation.precision, device)
    record = provenance(device, _threads(config), 1, precision, data, measuring_plugins(config))
    details = {**results.details, "notes": np.array(results.notes, np.str_)}
    return write_reference(
        root, opened.name, opened.record, config, record, results.measures, details
    )


def _threads(config: TrialConfig) -> int:
    return config.runtime.threads or available_cores()


def _adapt(opened: OpenedEncoder, given: PreprocessingRecord, config: TrialConfig) -> Network:
    own = opened.record.preprocessing
    if own == given:
        return opened.network
    if own.kind != given.kind:
        allowed = f"allowed: data that the encoder takes ({own.kind}); these are {given.kind}"
        raise ConfigError("--encoder", [Problem("data.name", config.data.name, allowed)])
    return Network(Adapted(opened.network.encoder, own, given), opened.network.head).eval()


def _without_head(results: Results) -> Results:
    """Remove the measures of a head that passes the encoder's features on."""
    return Results(
        {name: value for name, value in results.measures.items() if not name.startswith(_HEAD)},
        {name: value for name, value in results.details.items() if not name.startswith(_HEAD)},
        [note for note in results.notes if not note.startswith("head: ")],
    )
