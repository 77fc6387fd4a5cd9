"""Measure any encoder on an experiment's data with every measure of a trial."""

from __future__ import annotations

from pathlib import Path

import torch

from care.config import TrialConfig
from care.data.dataset import check_dataset, load_dataset
from care.errors import CareError, ConfigError, Problem
from care.evaluation.evaluate import evaluate, transfer_sets
from care.evaluation.results import Results
from care.models import Network
from care.models.network import move_network
from care.pretrained.public_encoder import Adapted, OpenedEncoder
from care.system.cores import available_cores
from care.system.device import resolve_device
from care.system.precision import in_exact_float32
from care.trials.preprocessing import describe_preprocessing
from care.trials.records import PreprocessingRecord

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
    torch.set_num_threads(config.runtime.threads or available_cores())
    with in_exact_float32():
        transfer = transfer_sets(config, device)
        results = evaluate(move_network(network, device), dataset.to(device), config, transfer)
    return results if opened.has_head else _without_head(results)


def _adapt(opened: OpenedEncoder, given: PreprocessingRecord, config: TrialConfig) -> Network:
    own = opened.preprocessing
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
