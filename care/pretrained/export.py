"""Export a trained encoder to a folder for other people, atomically."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import save as pack
from torch import nn

from care.errors import CareError, ConfigError, Problem
from care.pretrained.exported import (
    CARD,
    FORMAT,
    PROGRAM,
    RECORD,
    WEIGHTS,
    ExportRecord,
    is_exported,
    read_exported,
)
from care.pretrained.load import load
from care.pretrained.model_card import Group, write_model_card
from care.pretrained.pretrained import Pretrained
from care.pretrained.program import pack_program
from care.pretrained.source import read_config
from care.system.files import DiskError, pack_json, sync_folder
from care.trials.find import list_trials
from care.trials.folder import TrialFolder
from care.trials.identity import group_id, trial_id
from care.trials.preprocessing import describe_preprocessing


def export(
    folder: TrialFolder,
    target: Path,
    *,
    overwrite: bool = False,
    program: bool = False,
    with_seeds: bool = True,
) -> ExportRecord:
    """Export the encoder of a trial as weights, configuration and model card.

    The files are written beside ``target`` and then get its name, so that a full disk or Ctrl-C
    leaves nothing.

    Args:
        folder: Folder of the trial, finished or not.
        target: New or empty folder, or one with an export of this trial.
        overwrite: Replace an export of this trial.
        program: Also write ``encoder.pt2`` (:mod:`care.pretrained.program`).
        with_seeds: Whether the card has means over the trial's seeds, which reads every trial of
            the store.

    Returns:
        The content of ``config.json``.

    Raises:
        CareError: The trial has no weights, or a plugin's preprocessing, which needs its data.
        ConfigError: ``target`` holds something else.
        DiskError: ``target`` cannot be written; nothing was changed.

    Warns:
        UserWarning: See :func:`care.load`.
    """
    config, target = read_config(folder), target.resolve()
    check_target(target, trial_id(config), overwrite=overwrite)
    model = load(folder.path)
    files = pack_export(folder, model, program=program, with_seeds=with_seeds)
    with _new_folder(target) as temporary:
        for name, content in files.items():
            _write(temporary / name, content)
    return read_exported(target)


def check_target(target: Path, trial: str, *, overwrite: bool) -> None:
    """Check that an export may have the name ``target``.

    Raises:
        CareError: Its folder cannot be read.
        ConfigError: It is a file, or a folder that holds something else.
    """
    if not os.path.lexists(target):
        return
    allowed = "allowed: a new or empty folder, or an export of the same trial"
    try:
        if not target.is_dir():
            raise ConfigError(
                "export", [Problem("--to", str(target), f"{allowed}; this is a file")]
            )
        if not any(target.iterdir()):
            return
    except OSError as error:
        raise CareError(f"{target}: cannot be read ({error.strerror})") from error
    held = read_exported(target).trial_id if is_exported(target) else None
    if held != trial:
        what = f"this is of trial {held}" if held else "this folder holds other files"
        raise ConfigError("export", [Problem("--to", str(target), f"{allowed}; {what}")])
    if not overwrite:
        what = "a new folder, or --overwrite, as this trial was exported there before"
        raise ConfigError("export", [Problem("--to", str(target), f"allowed: {what}")])


def pack_export(
    folder: TrialFolder, model: Pretrained, *, program: bool = False, with_seeds: bool = True
) -> Mapping[str, bytes]:
    """Pack the files of an export by name.

    Args:
        folder: Folder of the trial.
        model: The trial's encoder, on the CPU.
        program: Include ``encoder.pt2``.
        with_seeds: As of :func:`export`.

    Raises:
        CareError: The preprocessing is a plugin's.
    """
    preprocessing = describe_preprocessing(model.augmenter)
    provenance, config = folder.read_provenance(), model.config
    if preprocessing is None or provenance is None:
        raise CareError(
            f"{folder.path}: cannot be exported: the data set {config.data.name!r} prepares its "
            "samples by a plugin's code, which no file can hold. Use care.load on the trial."
        )
    measures = folder.read_evaluation() or {}
    record = ExportRecord(
        format=FORMAT,
        trial_id=model.origin.trial_id,
        group_id=group_id(config),
        config=config.model_dump(mode="json", exclude={"runtime"}),
        epoch=model.origin.epoch,
        epochs=config.training.epochs,
        preprocessing=preprocessing,
        sha256="",
        # Hosts are nobody's business outside.
        provenance=provenance.model_copy(update={"hostname": "", "preprocessing": None}),
        measures=measures,
    )
    weights = pack_weights(model.network, record)
    record = record.model_copy(update={"sha256": hashlib.sha256(weights).hexdigest()})
    own = Group([measures] if measures else [])
    group = summarize_group(folder, record) if with_seeds else own
    card = write_model_card(record, config, group, program=program)
    content = pack_json(Path(RECORD), record.model_dump(mode="json"))
    files = {WEIGHTS: weights, RECORD: content, CARD: card.encode()}
    return {**files, PROGRAM: pack_program(model)} if program else files


def pack_weights(network: nn.Module, record: ExportRecord) -> bytes:
    """Pack a network's weights in safetensors; equal weights give equal bytes."""
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    return pack(tensors, metadata=record.header())


def summarize_group(folder: TrialFolder, record: ExportRecord) -> Group:
    """Collect the measures of the finished trials that differ in their seed alone.

    Args:
        folder: Folder of the trial, in a store.
        record: The trial. Trials of other code do not count.
    """
    group: list[Mapping[str, float]] = []
    for other in list_trials(folder.path.parent):
        with contextlib.suppress(CareError):  # a damaged trial has no measures
            trial, provenance = other.read_trial(), None
            if trial is not None and trial.group_id == record.group_id:
                provenance = other.read_provenance()
            if provenance is not None and provenance.code_version == record.provenance.code_version:
                group.append(other.read_evaluation() or {})
    return Group([measures for measures in group if measures])


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside ``target`` that replaces it at the end, or is removed on an error.

    Raises:
        DiskError: The folder cannot be written.
    """
    unique = f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}"
    temporary, old = (target.absolute().with_name(f"{unique}.{end}") for end in ("tmp", "old"))
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        sync_folder(temporary)
        _replace(target, temporary, old)
        sync_folder(temporary.parent)
    except OSError as error:
        raise DiskError(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if os.path.lexists(target):
            shutil.rmtree(old, ignore_errors=True)


def _replace(target: Path, new: Path, old: Path) -> None:
    """Give ``new`` the name ``target``; an earlier export returns to its name on an error."""
    if not target.exists() or not any(target.iterdir()):
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
