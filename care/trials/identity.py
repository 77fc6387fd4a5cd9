"""Compute a trial's identity from its configuration (docs/architecture.md, invariant 2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from care.config import DataConfig, EvaluationConfig, TrialConfig
from care.trials.pinned import PinnedTrial

_DIGITS = 16
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def canonical(config: TrialConfig) -> dict[str, Any]:
    """Return the configuration without fields that cannot change a number.

    - ``runtime``: where and how a trial is run.
    - Other settings of L_equi at λ = 0, where no second pair of views is drawn. So all trials with
      λ = 0 and one base objective are one trial. Also EquiMod's other settings at weight 0.
    - Settings of a trained probe without protocols.
    - ``evaluation.monitor`` at its defaults, its numbers of images where no measure uses them, and
      the order of its measures.
    - The order of readouts, and their absence.
    - Values that equal the default: image size, number of samples, one BatchNorm group, precision.
    - Image augmentations of point clouds. Also -0.0 becomes 0.0.

    A pinned trial also has its code version.
    """
    tree = {name: _reduced(name, config) for name in _counted(PARTS, config)}
    if isinstance(config, PinnedTrial):
        tree["code_version"] = config.code_version
    positive: dict[str, Any] = unsigned_zero({"seed": config.seed, **tree})
    return positive


PARTS = tuple(name for name in TrialConfig.model_fields if name not in ("seed", "runtime"))
"""The parts of a configuration that change a number."""


def _counted(parts: Sequence[str], config: TrialConfig) -> list[str]:
    """Select the parts that change a number of this trial."""
    points = config.data.source.kind == "points"
    return [name for name in parts if not (points and name == "augmentation")]


def _reduced(name: str, config: TrialConfig) -> Any:
    """Return a part of the canonical configuration, which may still hold a -0.0."""
    if name == "data":
        return _canonical_data(config.data)
    tree = getattr(config, name).model_dump(mode="json")
    if name == "evaluation":
        _reduce_evaluation(config, tree)
    if name == "training":
        if tree["batch_norm_groups"] == 1:
            del tree["batch_norm_groups"]
        if tree["precision"] == "auto":
            del tree["precision"]
    if name == "objective":
        for loss in ("equivariance", "equimod"):
            if tree.get(loss, {}).get("weight") == 0:
                tree[loss] = {"weight": 0.0}
    return tree


def _reduce_evaluation(config: TrialConfig, tree: dict[str, Any]) -> None:
    tree["transfer"] = [_canonical_data(data) for data in config.transfer_data]
    if tree["precision"] == "fp32":
        del tree["precision"]
    tree["readouts"].sort()
    if not tree["readouts"]:
        del tree["readouts"]
    _reduce_monitor(config.evaluation, tree)
    if not config.evaluation.trained_probe.protocols:
        tree["trained_probe"] = {"protocols": []}


def _reduce_monitor(evaluation: EvaluationConfig, tree: dict[str, Any]) -> None:
    """Keep what changes a number of ``evaluation.monitor``: none of its fields at the defaults."""
    if evaluation.monitor.is_default:
        del tree["monitor"]
        return
    tree["monitor"]["measures"] = sorted(evaluation.monitor.measures)
    if evaluation.monitor.uses_parts:
        tree["monitor"] |= {
            "train_images": evaluation.monitor.train_part,
            "test_images": evaluation.monitor.test_part,
        }
    else:
        del tree["monitor"]["train_images"], tree["monitor"]["test_images"]


def unsigned_zero(tree: Any) -> Any:
    """Replace each -0.0 in a tree of plain values by 0.0, which JSON writes differently."""
    if isinstance(tree, dict):
        return {name: unsigned_zero(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [unsigned_zero(value) for value in tree]
    return 0.0 if isinstance(tree, float) and tree == 0 else tree


def _canonical_data(data: DataConfig) -> dict[str, Any]:
    tree = data.model_dump(mode="json")
    tree["side"] = data.pixels
    if data.train_images == data.source.train_size:
        tree["train_images"] = None
    if data.test_images == data.source.test_size:
        tree["test_images"] = None
    return tree


class Identities(NamedTuple):
    """The two hashes of a configuration, of 16 hexadecimal digits each.

    Attributes:
        trial: Of the canonical configuration.
        group: Of the same without the seed: a group's trials differ in it alone.
    """

    trial: str
    group: str


def identities(config: TrialConfig) -> Identities:
    """Hash the canonical configuration with and without its seed."""
    names = _counted(_SORTED, config)
    # JSON with sorted names, of which the seed is the only part that differs within a group.
    before, after = (
        ",".join(f'"{name}":{_text(name, config)}' for name in names if (name < "seed") == first)
        for first in (True, False)
    )
    code = f" {config.code_version}" if isinstance(config, PinnedTrial) else ""
    return Identities(
        _digest(f'{{{before},"seed":{config.seed},{after}}}{code}'),
        _digest(f"{{{before},{after}}}{code}"),
    )


_SORTED = sorted(PARTS)
_texts: dict[tuple[int, int], tuple[Any, DataConfig, str]] = {}
_MOST_TEXTS = 10_000


def _text(name: str, config: TrialConfig) -> str:
    """Return a part of the canonical configuration as JSON.

    The configurations of a sweep share their parts (:mod:`sweeps.spec.parts`), which are frozen.
    So the text of each object is kept.
    """
    part = getattr(config, name)
    # The data decide how the evaluation is written. Kept objects keep their addresses.
    key = id(part), id(config.data)
    known = _texts.get(key)
    if known is None:
        if len(_texts) > _MOST_TEXTS:
            _texts.clear()
        known = _texts[key] = part, config.data, _json(_reduced(name, config))
    return known[2]


def trial_id(config: TrialConfig) -> str:
    """Hash the canonical configuration; see :class:`Identities`."""
    return identities(config).trial


def group_id(config: TrialConfig) -> str:
    """Hash the canonical configuration without the seed; see :class:`Identities`."""
    return identities(config).group


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested tree by dotted field."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _json(tree: Any) -> str:
    text = _ENCODER.encode(tree)
    # To copy each tree for a rare zero would take longer than all the rest.
    return _ENCODER.encode(unsigned_zero(tree)) if "-0.0" in text else text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
