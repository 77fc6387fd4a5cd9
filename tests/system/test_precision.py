from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from care.config import TrialConfig
from care.config.loading import validate
from care.errors import ConfigError
from care.evaluation.features import computing_in, extract
from care.models import Network, build_network
from care.objectives.infonce import infonce
from care.system import precision
from care.system.device import check_machine
from care.system.precision import has_fast_bf16, resolve_precision
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit

CPU = torch.device("cpu")


def machine(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)


def tiny(**parts: Any) -> TrialConfig:
    return validate(TrialConfig, {**TINY, **parts}, "test")


def network(**settings: Any) -> Network:
    made = build_network(tiny().model, 0)
    for name, value in settings.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("units", ["avx512_bf16", "amx_bf16"])
def test_a_cpu_is_fast_at_bfloat16_with_units_for_it(
    monkeypatch: pytest.MonkeyPatch, units: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, units: True})
    assert has_fast_bf16(CPU)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True})
    assert not has_fast_bf16(CPU)


def test_this_cpu_says_what_the_kernel_says() -> None:
    flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text()))
    assert has_fast_bf16(CPU) == bool(flags & {"avx512_bf16", "amx_bf16"})


@pytest.mark.parametrize(("fast", "meant"), [(True, "bf16"), (False, "fp32")])
def test_auto(monkeypatch: pytest.MonkeyPatch, fast: bool, meant: str) -> None:
    machine(monkeypatch, fast)
    assert resolve_precision("f", "auto", CPU) == meant
    assert resolve_precision("f", "fp32", CPU) == "fp32"


@pytest.mark.parametrize("part", ["training", "evaluation"])
def test_refused_where_it_is_only_imitated(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    config = tiny(**{part: {**TINY[part], "precision": "bf16"}})
    machine(monkeypatch, True)
    check_machine(config)
    machine(monkeypatch, False)
    with pytest.raises(ConfigError, match=f"{part}.precision.*'bf16'.*auto or fp32"):
        check_machine(config)


def test_only_the_network_is_in_bfloat16() -> None:
    """Features and gradients are float32 and near those of a float32 network; so is a loss."""
    images = torch.rand(2, 64, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def step(net: Network) -> tuple[torch.Tensor, list[torch.Tensor]]:
        loss = infonce(net(images[0]), net(images[1]), 0.5)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), [
            weight.grad for weight in net.parameters() if weight.grad is not None
        ]

    wide, narrow = network(), network(precision="bf16")
    (loss, gradients), (other, others) = step(wide), step(narrow)
    assert {gradient.dtype for gradient in others} == {torch.float32}
    assert {value.dtype for value in narrow.embed(images[0])} == {torch.float32}
    assert loss != other, "nothing was computed in bfloat16"
    torch.testing.assert_close(other, loss, rtol=1e-2, atol=0)
    flat, near = (torch.cat([g.flatten() for g in found]) for found in (gradients, others))
    assert torch.nn.functional.cosine_similarity(flat, near, dim=0) > 0.98


def test_measures_are_of_float32_features_unless_asked() -> None:
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    trained = network(precision="bf16")
    with computing_in(trained, "evaluation.precision", "fp32"):
        assert torch.equal(extract(trained, images).head, extract(network(), images).head)
    assert trained.precision == "bf16"
    assert not torch.equal(extract(trained, images).head, extract(network(), images).head)
    assert copy.deepcopy(trained).precision == "bf16", "momentum encoders are copies"


def test_a_trial_goes_on_in_what_it_began_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny()

    def run(folder: Path, **fast: bool) -> None:
        for place in ("first", "then"):
            machine(monkeypatch, fast[place])
            trial = TrialRun(config, TrialFolder(folder))
            while not trial.finished and (place == "then" or trial.epoch < 2):
                trial.advance()

    run(tmp_path / "moved", first=True, then=False)
    run(tmp_path / "stayed", first=True, then=True)
    run(tmp_path / "other", first=False, then=False)
    assert_equal_to_the_bit(tmp_path / "moved", tmp_path / "stayed")
    recorded = [TrialFolder(tmp_path / name).read_provenance() for name in ("moved", "other")]
    assert [found and found.precision for found in recorded] == ["bf16", "fp32"]
    moved, other = (tmp_path / name / "metrics.jsonl" for name in ("moved", "other"))
    assert moved.read_bytes() != other.read_bytes()


def test_what_is_asked_for_is_part_of_the_trial() -> None:
    asked = [tiny(training={**TINY["training"], "precision": p}) for p in ("auto", "fp32", "bf16")]
    assert trial_id(asked[0]) == trial_id(tiny())
    assert len({trial_id(config) for config in asked}) == 3
