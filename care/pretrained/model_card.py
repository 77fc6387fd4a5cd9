"""Write the model card of an exported encoder, and read the record in a card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from care import __version__
from care.config import TrialConfig
from care.pretrained.exported import CARD, PROGRAM, WEIGHTS, ExportRecord
from care.system.files import DamagedFileError, pack_json, read_whole
from care.trials.identity import canonical, flatten
from care.trials.records import parse_record

_RECORD = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADLINES = (
    "encoder/probe_accuracy",
    "encoder/knn_accuracy",
    "encoder/paper_probe_accuracy",
    "encoder/authors_probe_accuracy",
    "encoder/hue_r2",
    "encoder/axis_error",
    "head/gamma",
    "head/wahba_per_sqrt_n",
    "head/composition_on_data",
    "head/hue_r2",
    "head/axis_error",
)
_TRANSFER = "encoder/transfer_"
_RESNETS = {"resnet18": "resnet18", "resnet50": "resnet50", "resnet50_imagenet": "resnet50"}
_OWN_STEM = "resnet50_imagenet"
CITATION = """\
@inproceedings{gupta2024structuring,
  title     = {Structuring Representation Geometry with Rotationally Equivariant
               Contrastive Learning},
  author    = {Gupta, Sharut and Robinson, Joshua and Lim, Derek and Villar, Soledad and
               Jegelka, Stefanie},
  booktitle = {International Conference on Learning Representations},
  year      = {2024},
  note      = {arXiv:2306.13924}
}"""
"""BibTeX of the paper."""


@dataclass(frozen=True)
class Group:
    """Trials that differ in their seed alone.

    Attributes:
        measures: Final measures of each finished trial by name, the exported one included.
    """

    measures: Sequence[Mapping[str, float]]

    def mean(self, name: str) -> float | None:
        """Average a measure over the trials; None unless all have it."""
        values = [measures[name] for measures in self.measures if name in measures]
        return fmean(values) if values and len(values) == len(self.measures) else None


def write_model_card(
    record: ExportRecord, config: TrialConfig, group: Group, *, program: bool = False
) -> str:
    """Write the model card as Markdown.

    Args:
        record: The export.
        config: The trial's configuration.
        group: Measures of trials with other seeds.
        program: The export has ``encoder.pt2``.
    """
    title = f"{config.model.encoder} trained with {_name_method(config)} on {config.data.name}"
    sections = [
        _write_front_matter(config),
        f"# {title}",
        _introduce(record, config),
        "## Load it",
        _show_loading(record, config, program),
        "## Data",
        _describe_data(record, config),
        "## Training",
        _describe_training(record, config),
        "## Measures",
        _write_measures(record, group),
        "## Check and reproduce",
        _show_checks(record),
        "## Cite",
        f"```bibtex\n{CITATION}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def read_card(path: Path) -> ExportRecord:
    """Read the record that a model card holds; the card alone suffices.

    Raises:
        DamagedFileError: The file is missing or holds no record.
    """
    content = read_whole(path)
    match = _RECORD.search(content.decode("utf-8", "replace")) if content else None
    if match is None:
        raise DamagedFileError(path, "holds no configuration; allowed: a card of 'care export'")
    return parse_record(path, match[1].encode(), ExportRecord)


def _write_front_matter(config: TrialConfig) -> str:
    facts = {
        "library_name": "care",
        "tags": ["contrastive-learning", "equivariance", "care", config.model.encoder],
        "datasets": [config.data.name],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _name_method(config: TrialConfig) -> str:
    base = config.objective.name
    weight = config.objective.equivariance.weight
    return f"CARE on {base} (λ = {weight:g})" if weight else base


def _introduce(record: ExportRecord, config: TrialConfig) -> str:
    lines = [
        "An encoder and its projection head, whose outputs lie on the unit sphere, trained "
        f"without labels by care {__version__}. Trial `{record.trial_id}`, seed {config.seed}."
    ]
    if record.epoch < record.epochs:
        lines.append(
            f"**Not trained to the end:** {record.epoch} of {record.epochs} epochs, no measures."
        )
    return "\n\n".join(lines)


def _show_loading(record: ExportRecord, config: TrialConfig, program: bool) -> str:
    kind = record.preprocessing.kind
    blocks = [
        "With care, preprocessing included:",
        "```python\nimport care\n\n"
        'model = care.load("path/of/this/folder")\n'
        f"features = model.encode({kind})    # {_describe_input(kind)}\n"
        f"embedding = model.project({kind})  # on the unit sphere\n```",
        *(_show_program(record) if program else ()),
        *_show_plain_loading(record, config),
    ]
    return "\n\n".join(blocks)


def _describe_input(kind: str) -> str:
    if kind == "points":
        return "float32 [N,P,4]: x, y, z in nanometers about their mean, and 1, or 0 as padding"
    return "uint8 [N,3,H,W], or PIL images"


def _show_program(record: ExportRecord) -> tuple[str, str]:
    """Show how torch alone runs the program."""
    kind, size = record.preprocessing.kind, record.preprocessing.size
    shape = "float32 [N,P,4]" if size is None else f"uint8 [N,3,{size[0]},{size[1]}]"
    code = (
        "import torch\n\n"
        f'program = torch.export.load("{PROGRAM}").module()\n'
        f"features, embedding = program({kind})  # {shape}"
    )
    return "With torch alone, preprocessing included:", f"```python\n{code}\n```"


def _show_plain_loading(record: ExportRecord, config: TrialConfig) -> Iterator[str]:
    """Yield how torch and torchvision load the weights without care."""
    encoder = config.model.encoder
    yield (
        f"`{WEIGHTS}` is a state dict: `encoder.…` of the encoder `{encoder}`, "
        "`head.…` of the projection head (Linear, BatchNorm, ReLU, Linear)."
    )
    if record.preprocessing.kind == "images":
        size, mean, std = (
            record.preprocessing.size,
            record.preprocessing.mean,
            record.preprocessing.std,
        )
        shown = f"{size[0]} × {size[1]}" if size else ""
        yield (
            f"Its inputs are images of {shown} pixels in [0, 1], minus mean {list(mean or ())}, "
            f"divided by standard deviation {list(std or ())}, channel by channel."
        )
    if encoder in _RESNETS:
        yield "The encoder's weights fit torchvision's own model:"
        yield f"```python\n{_write_torchvision_code(encoder)}\n```"


def _write_torchvision_code(encoder: str) -> str:
    name = _RESNETS[encoder]
    stem = (
        ""
        if encoder == _OWN_STEM
        else (
            "model.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)\n"
            "model.maxpool = nn.Identity()\n"
        )
    )
    return (
        "from safetensors.torch import load_file\n"
        "from torch import nn\n"
        f"from torchvision.models import {name}\n\n"
        f"model = {name}()\n{stem}model.fc = nn.Identity()\n"
        f'weights, prefix = load_file("{WEIGHTS}"), "encoder.resnet."\n'
        "names = [name for name in weights if name.startswith(prefix)]\n"
        "model.load_state_dict({name.removeprefix(prefix): weights[name] for name in names})\n"
        "model.eval()"
    )


def _describe_data(record: ExportRecord, config: TrialConfig) -> str:
    data, source = config.data, config.data.source
    lines = [f"- `{data.name}`: {source.about}"]
    if data.pixels:
        lines.append(f"- images of {data.pixels} × {data.pixels} pixels")
    if data.train_size:
        lines.append(f"- {data.train_size:,} training samples")
    lines.append(f"- licence of the data: {source.licence or 'that of its owner; not known here'}")
    if record.provenance.data.get("data"):
        lines.append(f"- fingerprint of the files: `{record.provenance.data['data']}`")
    return "\n".join(lines)


def _describe_training(record: ExportRecord, config: TrialConfig) -> str:
    provenance = record.provenance
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    head = config.model.head
    tree = canonical(config)
    rows = {
        "encoder": config.model.encoder,
        "projection head": f"{head.hidden} hidden, {head.output} outputs",
        "objective": _list_settings(tree["objective"]),
        "optimizer": _list_settings(tree["optimizer"]),
        "training": _list_settings(tree["training"]),
        "seed": config.seed,
        "device": f"{provenance.device_name or provenance.device}, {provenance.threads} threads",
        "code": f"`{provenance.code_version}`, commit {provenance.git_commit or 'unknown'}"
        + (" with uncommitted changes" if provenance.git_dirty else ""),
        "libraries": versions,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| setting | value |", "|---|---|", *lines])


def _list_settings(tree: dict[str, Any]) -> str:
    settings = flatten(tree)
    return ", ".join(f"{name} {value}" for name, value in settings if value is not None)


def _write_measures(record: ExportRecord, group: Group) -> str:
    names = [name for name in record.measures if name in _HEADLINES or name.startswith(_TRANSFER)]
    if not names:
        return "None: the training has not finished."
    n = len(group.measures)
    header, rule = "| measure | this encoder (n = 1 seed) |", "|---|---:|"
    if n > 1:
        header, rule = f"{header} mean of n = {n} seeds |", f"{rule}---:|"
    lines = [header, rule]
    for name in sorted(names):
        cells = [f"`{name}`", f"{record.measures[name]:.4f}"]
        if n > 1:
            mean = group.mean(name)
            cells.append("–" if mean is None else f"{mean:.4f}")
        lines.append(f"| {' | '.join(cells)} |")
    meaning = (
        "On held-out samples. `encoder/` is the encoder's output, `head/` the embedding on the "
        "sphere. γ_f (`gamma`), Wahba and composition are better lower, the others higher. One "
        "seed says little about the method. All measures are in the record below."
    )
    return "\n".join([*lines, "", meaning])


def _show_checks(record: ExportRecord) -> str:
    content = pack_json(Path(CARD), record.model_dump(mode="json")).decode()
    return (
        f"SHA-256 of `{WEIGHTS}`:\n\n```\n{record.sha256}\n```\n\n"
        f"`care reproduce {CARD}` trains it again from this file alone, and compares the hash.\n\n"
        "<details><summary>The record of which it is made</summary>\n\n"
        f"```json\n{content}```\n\n</details>"
    )
