from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from sklearn.metrics import top_k_accuracy_score
from torch import Tensor, nn
from torch.nn import functional as fn

from care.config import AugmentationConfig, Protocol, TrainedProbeConfig
from care.data.dataset import Dataset
from care.evaluation.sgd_probe import (
    LinearProbes,
    learning_rate,
    top_k_accuracy,
    train_probes,
)
from care.models import Network
from care.system.rng import generator
from tests.helpers.colored_images import (
    UNCHANGED,
    color_network,
    colored_dataset,
    small_network,
)

AUGMENTATION = AugmentationConfig()


def probe(**fields: Any) -> TrainedProbeConfig:
    defaults = {"epochs": 3, "batch_size": 20, "optimizer": {"learning_rate": 0.01}}
    return TrainedProbeConfig.model_validate({**defaults, **fields})


def one_by_one(
    network: Network, data: Dataset, config: TrainedProbeConfig, protocol: Protocol
) -> list[float]:
    """Each initialization by itself, with torch's own layer, as the authors' loop goes."""
    scores = []
    augmenter = data.augmenter(config.augmentation or AUGMENTATION)
    start = LinearProbes(network.feature_dim, len(data.classes), config.initializations)
    for index in range(config.initializations):
        frozen = copy.deepcopy(network)
        layer = nn.Linear(network.feature_dim, len(data.classes))
        layer.weight.data, layer.bias.data = start.weight[index].data, start.bias[index].data
        settings, decay = config.optimizer, config.optimizer.weight_decay
        optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(layer.parameters(), weight_decay=decay)
            if settings.name == "adam"
            else torch.optim.SGD(layer.parameters(), momentum=settings.momentum, weight_decay=decay)
        )
        for epoch in range(config.epochs):
            frozen.train(protocol == "authors")
            optimizer.param_groups[0]["lr"] = learning_rate(config, epoch)
            order = generator(0, "probe-order", epoch).permutation(len(data.train))
            for step, first in enumerate(range(0, len(order), config.batch_size)):
                chosen = order[first : first + config.batch_size]
                table = augmenter.sample(len(chosen), generator(0, "probe-view", epoch, step))
                with torch.no_grad():
                    features = frozen.encoder(augmenter.apply(table, data.train.images[chosen]))
                optimizer.zero_grad()
                loss = fn.cross_entropy(layer(features), data.train.labels[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        frozen.eval()
        with torch.no_grad():
            plain = augmenter.apply(augmenter.identity(), data.test.images)
            predicted = layer(frozen.encoder(plain)).argmax(1)
        scores.append(float((predicted == data.test.labels).double().mean()))
    return scores


@pytest.mark.parametrize("protocol", ["paper", "authors"])
@pytest.mark.parametrize(
    "optimizer",
    [
        {"learning_rate": 0.003},
        {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-3},
    ],
)
def test_all_at_once_are_what_each_is_alone(protocol: Protocol, optimizer: dict[str, Any]) -> None:
    network, data = small_network(), colored_dataset(train=50, test=90)
    config = probe(optimizer=optimizer, milestones=[2])
    scores = train_probes(network, data, AUGMENTATION, config, protocol)
    alone = one_by_one(network, data, config, protocol)
    assert scores.top1.tolist() == pytest.approx(alone, abs=1 / 90)
    assert len(set(alone)) > 1  # otherwise the comparison says little


def test_the_authors_protocol_lets_the_running_statistics_drift() -> None:
    """The network's statistics are wrong: the paper's protocol keeps them, the authors' mends."""
    network, data = small_network(), colored_dataset()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.add_(3)
    before = copy.deepcopy(network.state_dict())
    config = probe(epochs=40, augmentation=UNCHANGED.model_dump())
    found = {
        protocol: float(train_probes(network, data, UNCHANGED, config, protocol).top1.mean())
        for protocol in ("paper", "authors")
    }
    assert found["authors"] > found["paper"] + 0.2
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_color_is_learnt_and_what_is_not_there_is_not() -> None:
    data = colored_dataset(train=90, test=60)
    config = probe(epochs=60, optimizer={"learning_rate": 0.05})
    scores = train_probes(color_network(), data, UNCHANGED, config, "paper")
    assert scores.top1.tolist() == [1, 1, 1]
    assert scores.top5.tolist() == [1, 1, 1]


def test_only_labelled_images_are_used() -> None:
    data = colored_dataset(train=60)
    labels = data.train.labels.clone()
    labels[30:] = -1
    half = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=labels))
    part = dataclasses.replace(data, train=data.train.part(torch.arange(30)))
    network, config = small_network(), probe()
    for protocol in ("paper", "authors"):
        expected = train_probes(network, part, AUGMENTATION, config, protocol)
        assert torch.equal(
            train_probes(network, half, AUGMENTATION, config, protocol).top1, expected.top1
        )


def test_a_last_batch_of_one_image_is_left_out() -> None:
    data = colored_dataset(train=41)
    train_probes(small_network(), data, AUGMENTATION, probe(), "authors")


def test_milestones_divide_the_rate_by_ten() -> None:
    config = probe(optimizer={"learning_rate": 30.0}, milestones=[30, 40, 50])
    rates = [learning_rate(config, epoch) for epoch in (0, 29, 30, 39, 40, 50, 59)]
    assert rates == pytest.approx([30, 30, 3, 3, 0.3, 0.03, 0.03])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_scikit_learns(k: int) -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 50, 7, generator=rng)
    labels = torch.arange(50) % 7
    found: Tensor = top_k_accuracy(logits, labels, k)
    theirs = [top_k_accuracy_score(labels, values, k=k, labels=range(7)) for values in logits]
    assert found.tolist() == pytest.approx(theirs)
    assert top_k_accuracy(logits[..., :3], labels % 3, 5).tolist() == [1, 1]


def test_probes_begin_apart_and_always_the_same() -> None:
    one, again = LinearProbes(4, 3, 2), LinearProbes(4, 3, 3)
    assert torch.equal(one.weight, again.weight[:2])
    assert not torch.equal(one.weight[0], one.weight[1])
    assert float(one.weight.detach().abs().max()) <= 0.5
