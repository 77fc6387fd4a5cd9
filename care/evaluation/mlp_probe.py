"""Fit a small multilayer perceptron to frozen features, for what is not linear in them.

Everything random is a function of its purpose, so equal features give equal predictions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.evaluation.features import double
from care.evaluation.linear_probe import Standardization
from care.system.rng import generator

HIDDEN = 256
EPOCHS = 50
_BATCH = 256
_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 1e-4
_VALIDATION = 10


class MlpProbe:
    """A perceptron with two hidden layers of 256 units and ReLU on standardized features.

    AdamW minimizes the squared error of standardized targets: learning rate 10⁻³ with cosine decay,
    weight decay 10⁻⁴, 50 epochs of batches of 256. Every tenth sample trains nothing. The weights
    with the least error on these samples are kept.
    """

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        """Train on features [N,F] and targets [N,outputs], N >= 10."""
        features = double(features)
        targets = double(targets).to(features.device)
        self._inputs, self._outputs = Standardization.fit(features), Standardization.fit(targets)
        x, y = self._inputs(features).float(), self._outputs(targets).float()
        validation = torch.arange(len(x), device=x.device) % _VALIDATION == 0
        self._layers = _build(x.shape[1], y.shape[1], x.device)
        with torch.enable_grad():
            self._train(x[~validation], y[~validation], x[validation], y[validation])

    def __call__(self, features: Tensor) -> Tensor:
        """Predict the targets of features [M,F], float64 [M,outputs]."""
        with torch.no_grad():
            predicted = self._layers(self._inputs(features).float()).double()
        scale = self._outputs.inverse_std
        # A constant target has scale 0.
        return torch.where(scale > 0, predicted / scale, 0.0) + self._outputs.mean

    def _train(self, x: Tensor, y: Tensor, unseen_x: Tensor, unseen_y: Tensor) -> None:
        parameters = list(self._layers.parameters())
        optimizer = torch.optim.AdamW(parameters, _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        least, best = math.inf, [value.detach().clone() for value in parameters]
        for epoch in range(EPOCHS):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
            order = torch.from_numpy(generator(0, "mlp-order", epoch).permutation(len(x)))
            for index in torch.split(order.to(x.device), _BATCH):
                optimizer.zero_grad(set_to_none=True)
                fn.mse_loss(self._layers(x[index]), y[index]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with torch.no_grad():
                error = float(fn.mse_loss(self._layers(unseen_x), unseen_y))
            if error < least:
                least, best = error, [value.detach().clone() for value in parameters]
        with torch.no_grad():
            for value, kept in zip(parameters, best, strict=True):
                value.copy_(kept)


def _build(inputs: int, outputs: int, device: torch.device) -> nn.Sequential:
    """Build the perceptron with torch's initialization, drawn from its purpose."""
    widths = (inputs, HIDDEN, HIDDEN, outputs)
    layers: list[nn.Module] = []
    for index in range(3):
        layer = nn.Linear(widths[index], widths[index + 1], device=device)
        rng, bound = generator(0, "mlp-init", index), 1 / math.sqrt(widths[index])
        with torch.no_grad():
            for value in (layer.weight, layer.bias):
                value.copy_(torch.from_numpy(rng.uniform(-bound, bound, value.shape)))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
