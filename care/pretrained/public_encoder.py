"""Open an encoder of torchvision, timm or this project, to measure it on an experiment's data."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as pack
from torch import Tensor, nn
from torch.nn import functional as fn

from care.errors import CareError, ConfigError, Problem, unknown_name
from care.models import Network
from care.models.init import seeded
from care.pretrained.exported import is_exported
from care.pretrained.load import load
from care.trials.preprocessing import describe_preprocessing
from care.trials.records import PreprocessingRecord
from care.trials.reference import EncoderRecord

RANDOM = "random"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIDE = 224
_AT_SIDE = re.compile(r"(.+:.+)@([1-9]\d{0,3})")
_SPECIFICATIONS = (
    "allowed: torchvision:NAME[:WEIGHTS][@SIDE], timm:NAME[:WEIGHTS][@SIDE], a trial or an "
    "exported folder; "
    f"WEIGHTS is a name, a file, or {RANDOM}"
)


@dataclass(frozen=True)
class OpenedEncoder:
    """An encoder to be measured.

    Attributes:
        name: The encoder as the user named it.
        network: The encoder, with the projection head if it has one, in eval mode. Otherwise the
            head passes features on.
        record: Its architecture, weights and preprocessing.
    """

    name: str
    network: Network
    record: EncoderRecord


class _Pooled(nn.Module):
    """A network whose classifier was removed.

    Attributes:
        feature_dim: Width of the output.
    """

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network = network.eval()
        with torch.no_grad():
            shape = self.network(torch.zeros(1, 3, side, side)).shape
        if len(shape) != 2:
            allowed = f"allowed: encoders with features [N,F]; these are {list(shape)}"
            _refuse(type(network).__name__, allowed)
        self.feature_dim = int(shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N,3,H,W] to features [N,feature_dim]."""
        features: Tensor = self.network(images)
        return features


class Adapted(nn.Module):
    """An encoder that takes images as a data set normalizes them.

    It undoes the data set's normalization, resizes (bilinear, antialiased) and normalizes as the
    encoder was trained.

    Args:
        encoder: Takes images of its own preprocessing.
        own: The encoder's preprocessing.
        given: The data set's preprocessing.

    Attributes:
        feature_dim: Width of the output.
    """

    own_mean: Tensor
    own_std: Tensor
    given_mean: Tensor
    given_std: Tensor

    def __init__(
        self, encoder: nn.Module, own: PreprocessingRecord, given: PreprocessingRecord
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.feature_dim = encoder.feature_dim
        self.size, self.resized = own.size, own.size != given.size
        for name, values in (
            ("own_mean", own.mean),
            ("own_std", own.std),
            ("given_mean", given.mean),
            ("given_std", given.std),
        ):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images [N,3,H,W] to features [N,feature_dim]."""
        pixels = images * self.given_std + self.given_mean
        if self.resized:
            pixels = fn.interpolate(pixels, self.size, mode="bilinear", antialias=True)
        features: Tensor = self.encoder((pixels - self.own_mean) / self.own_std)
        return features


def open_encoder(
    name: str, store: str | os.PathLike[str] | None = None, side: int | None = None
) -> OpenedEncoder:
    """Open an encoder by its name.

    Args:
        name: ``torchvision:resnet50``, ``torchvision:resnet50:IMAGENET1K_V1``,
            ``torchvision:resnet50:weights.pth``, ``timm:vit_small_patch16_224``, or a source of
            :func:`care.load`. Without weights their default ones, which may be downloaded. ``@64``
            at the end is short for ``side=64``.
        store: Folder of the run store; see :func:`care.load`.
        side: Side in pixels of the images of an encoder of torchvision or timm; None for that of
            its weights.

    Raises:
        CareError: Weights cannot be downloaded or do not fit, or a library is missing.
        ConfigError: No such encoder, weights or side; names the nearest one.
    """
    name, side = _split_side(name, side)
    library, colon, rest = name.partition(":")
    makers: dict[str, _Maker] = {"torchvision": _make_torchvision, "timm": _make_timm}
    if not colon or library == "models":
        return _open_own(name, store, side)
    if library not in makers:
        raise ConfigError("--encoder", [Problem("--encoder", name, _SPECIFICATIONS)])
    architecture, _, weights = rest.partition(":")
    module, preprocessing, chosen = makers[library](architecture, weights)
    if side is not None:
        preprocessing = preprocessing.model_copy(update={"size": (side, side)})
    assert preprocessing.size is not None
    record = EncoderRecord(
        architecture=f"{library}:{architecture}",
        weights=chosen,
        sha256=_hash(module),
        preprocessing=preprocessing,
        has_head=False,
    )
    network = Network(_Pooled(module, preprocessing.size[0]), nn.Identity())
    return OpenedEncoder(name if side is None else f"{name}@{side}", network, record)


def _split_side(name: str, side: int | None) -> tuple[str, int | None]:
    """Split ``torchvision:resnet50@64`` into the name and the side."""
    match = _AT_SIDE.fullmatch(name)
    if not match or Path(name).exists():
        return name, side
    if side not in (None, int(match[2])):
        allowed = f"allowed: {match[2]}, as --encoder has it, or none"
        raise ConfigError("--side", [Problem("--side", side, allowed)])
    return match[1], int(match[2])


_Maker = Callable[[str, str], tuple[nn.Module, PreprocessingRecord, str]]
"""Makes a network by its name and weights, with its preprocessing and the name of its weights."""


def _open_own(name: str, store: str | os.PathLike[str] | None, side: int | None) -> OpenedEncoder:
    if Path(name).is_file() and not is_exported(Path(name).parent):
        allowed = f"allowed: a file with its architecture, e.g. torchvision:resnet50:{name}"
        _refuse(name, allowed)
    model = load(name, store=store)
    preprocessing = describe_preprocessing(model.augmenter)
    if preprocessing is None:
        raise CareError(f"{name}: its samples are prepared by a plugin's code; it has to be a file")
    if side is not None:
        allowed = f"allowed: none; {name} takes images as it was trained"
        raise ConfigError("--side", [Problem("--side", side, allowed)])
    record = EncoderRecord(
        architecture=f"care:{model.config.model.encoder}",
        weights=model.origin.trial_id,
        sha256=_hash(model.network),
        preprocessing=preprocessing,
        has_head=True,
    )
    return OpenedEncoder(name, model.network, record)


def _make_torchvision(name: str, weights: str) -> tuple[nn.Module, PreprocessingRecord, str]:
    from care.system.torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise ConfigError("--encoder", [unknown_name("torchvision", name, names)])
    kinds = models.get_model_weights(name)
    default = kinds["DEFAULT"]
    chosen = None
    if weights != RANDOM and not Path(weights or "?").is_file():
        known = [kind.name for kind in kinds]
        if weights and weights != "DEFAULT" and weights not in known:
            problem = unknown_name("weights", weights, [*known, RANDOM, "a file"])
            raise ConfigError("--encoder", [problem])
        chosen = kinds[weights or "DEFAULT"]
    module = _build(lambda: models.get_model(name, weights=chosen), name)
    _remove_classifier(module)
    if chosen is None and weights != RANDOM:
        _load_file(module, Path(weights))
    transforms = (chosen or default).transforms()
    (side,) = set(transforms.crop_size)
    own = chosen.name if chosen else Path(weights).name
    return module, _describe(side, transforms.mean, transforms.std), own


def _make_timm(name: str, weights: str) -> tuple[nn.Module, PreprocessingRecord, str]:
    from care.system import torchvision  # noqa: F401 - repairs torchvision, which timm imports

    try:
        import timm
    except ImportError as error:
        raise CareError(f"timm:{name}: timm is not installed; 'pip install timm'") from error
    if not timm.is_model(name.partition(".")[0]):
        raise ConfigError("--encoder", [_unknown_timm(name, timm.list_models())])
    is_file = bool(weights) and Path(weights).is_file()
    if weights and not is_file and weights != RANDOM:
        allowed = f"allowed: a file, or {RANDOM}; timm names weights as timm:{name}.TAG"
        raise ConfigError("--encoder", [Problem("weights", weights, allowed)])
    create = timm.create_model
    module: Any = _build(lambda: create(name, pretrained=not weights, num_classes=0), name)
    if is_file:
        _load_file(module, Path(weights))
    facts = module.pretrained_cfg
    mean, std = facts.get("mean", _IMAGENET_MEAN), facts.get("std", _IMAGENET_STD)
    side = facts.get("input_size", (3, _SIDE, _SIDE))[-1]
    own = Path(weights).name if weights else str(facts.get("tag") or "pretrained")
    return module, _describe(side, mean, std), own


def _unknown_timm(name: str, names: list[str]) -> Problem:
    """Build the problem of an unknown name; a thousand names are too many to list."""
    problem = unknown_name("timm", name, names)
    return Problem("timm", name, "allowed: a name of timm.list_models()", problem.nearest)


def _describe(side: int, mean: Any, std: Any) -> PreprocessingRecord:
    means, stds = tuple(map(float, mean)), tuple(map(float, std))
    fields = {"kind": "images", "size": (side, side), "mean": means, "std": stds}
    return PreprocessingRecord.model_validate(fields)


def _build(make: Callable[[], nn.Module], name: str) -> nn.Module:
    """Build a network; random weights depend on its architecture alone."""
    try:
        with seeded(0, "public-encoder"):
            return make()
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise CareError(
            f"{name}: its weights cannot be downloaded ({error}). Download them elsewhere and give "
            f"the file: --encoder …:{name}:FILE"
        ) from error


def _remove_classifier(module: nn.Module) -> None:
    """Replace the last linear layer, the classifier of each model of torchvision."""
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        _refuse(type(module).__name__, "allowed: encoders with a linear classifier")
    owner, _, attribute = linear[-1].rpartition(".")
    setattr(module.get_submodule(owner), attribute, nn.Identity())


def _load_file(module: nn.Module, path: Path) -> None:
    """Load a state dict; weights that the module lacks, e.g. of a classifier, are ignored.

    Raises:
        CareError: The file cannot be read, or weights are missing or have other shapes.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
        weights = _find_state_dict(content)
        missing, _ = module.load_state_dict(weights, strict=False)
    except (SafetensorError, OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip() if str(error) else repr(error)
        raise CareError(f"{path}: cannot be loaded into this encoder ({reason})") from error
    except Exception as error:  # pickle's own errors, e.g. of code in the file
        raise CareError(f"{path}: is no file of weights ({type(error).__name__})") from error
    if missing:
        some = missing[0] + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        raise CareError(f"{path}: lacks weights of this encoder: {some}")


def _find_state_dict(content: Any) -> Mapping[str, Tensor]:
    """Return the state dict in a checkpoint, without the prefix of data-parallel training."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it holds no state dict")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _hash(module: nn.Module) -> str:
    state = module.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    return hashlib.sha256(pack(tensors)).hexdigest()


def _refuse(name: str, allowed: str) -> None:
    raise ConfigError("--encoder", [Problem("--encoder", name, allowed)])
