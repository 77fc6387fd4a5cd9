from __future__ import annotations

import torch
from torch.nn import functional as fn

from care.augmentation.table import PARAMETERS, identity, sample
from care.config import AugmentationConfig
from care.objectives.equimod import EquiMod
from care.objectives.infonce import infonce
from care.randomness import generator
from tests.objectives.stepping import BATCH, trainer, views


def test_every_parameter_of_an_augmentation_is_seen() -> None:
    table = sample(AugmentationConfig(), 64, (16, 16), generator(0, "test"))
    seen = table.parameters()
    assert seen.shape == (64, PARAMETERS)
    expected = [
        [
            *map(float, table.crop[i]),
            float(table.flip[i]),
            *map(float, table.order[i]),
            *map(float, table.jitter[i]),
            float(table.gray[i]),
            float(table.sigma[i] > 0),
            float(table.sigma[i]),
        ]
        for i in range(64)
    ]
    assert torch.equal(seen, torch.tensor(expected))
    assert torch.equal(identity(1, (16, 16)).parameters()[0, :5], torch.tensor([0, 0, 16, 16, 0.0]))


def test_the_loss_is_infonce_of_embeddings_and_predictions() -> None:
    made = trainer("equimod-simclr")
    module = made.objective.equimod
    assert module is not None
    terms = made.objective(views(made))
    drawn = views(made)
    seen = [drawn.augmented("view-1"), drawn.augmented("view-2")]
    before = module.head(drawn.original().embedding.features)
    after = torch.cat([module.head(view.embedding.features) for view in seen])
    described = module.parameters_head(torch.cat([view.table.parameters() for view in seen]))
    predicted = module.predictor(torch.cat([before.repeat(2, 1), described], dim=1))
    expected = infonce(fn.normalize(after, dim=1), fn.normalize(predicted, dim=1), 0.2)
    torch.testing.assert_close(terms["train/equimod"], expected)
    total = terms["train/infonce"] + terms["train/equimod"]
    torch.testing.assert_close(terms["train/loss"], total)


def test_everything_of_it_is_trained() -> None:
    made = trainer("equimod-byol")
    made.objective(views(made))["train/loss"].backward()
    stepped = {id(p) for group in made.optimizer.param_groups for p in group["params"]}
    assert isinstance(made.objective.equimod, EquiMod)
    for name, parameter in made.objective.equimod.named_parameters():
        assert parameter.grad is not None, name
        assert id(parameter) in stepped, name


def test_images_that_share_an_augmentation_share_its_parameters() -> None:
    made = trainer("equimod-simclr")
    module = made.objective.equimod
    assert module is not None
    drawn = views(made)
    chunks = [drawn.augmented(f"chunk-{i}", rows=4) for i in (1, 2)]
    seen: list[torch.Tensor] = []
    module.parameters_head.register_forward_hook(lambda m, inputs, output: seen.append(inputs[0]))
    module(drawn.original(), chunks)
    expected = torch.cat(
        [view.table.parameters().repeat_interleave(BATCH // 4, 0) for view in chunks]
    )
    assert torch.equal(seen[0], expected)
