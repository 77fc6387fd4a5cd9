"""Detect trials that were trained with other code or data than the present ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from care.config import DataConfig, TrialConfig
from care.data.fingerprints.fingerprint import CLASS_LIST, fingerprints
from care.errors import CareError
from care.trials.code_version import code_version
from care.trials.pinned import PinnedTrial
from care.trials.plugin_versions import plugin_difference, plugin_versions
from care.trials.records import ProvenanceRecord

_SHOWN_DIGITS = 8


class OtherDataError(CareError):
    """A trial would resume or be evaluated on other data than it was trained on."""


class Versions:
    """The present versions of code and data, with which trained trials are compared.

    Each data set is fingerprinted once, when the first trial that uses it is compared.

    Args:
        code: Code version to compare with. None for the running code and its plugins; with another
            version plugins are not compared. Pinned trials are compared with their own code.

    Attributes:
        absent: Data sets that are not on this machine; trials are not compared with them.
    """

    def __init__(self, code: str | None = None) -> None:
        self.code = code or code_version()
        self._is_this_code = code is None
        self.absent: set[str] = set()
        self._known: dict[tuple[DataConfig, str], dict[str, str]] = {}

    def why_stale(self, provenance: ProvenanceRecord | None, config: TrialConfig) -> str:
        """Explain how code or data of a trained trial differ from the present; empty if equal.

        Args:
            provenance: Record of the trial's last start; None without one.
            config: The trial's planned configuration, with its data root.
        """
        pinned = isinstance(config, PinnedTrial)
        code = config.code_version if isinstance(config, PinnedTrial) else self.code
        if provenance is None or provenance.code_version != code:
            return _why_other_code(provenance.code_version if provenance else "", code)
        if self._is_this_code and not pinned:
            difference = plugin_difference(provenance.plugins, plugin_versions(config))
            if difference:
                return difference
        return data_difference(provenance.data, self.data(config), config)

    def data(self, config: TrialConfig) -> dict[str, str]:
        """Fingerprint a trial's data by dotted field, without data that are not on this machine."""
        return by_field(config, self._fingerprints)

    def _fingerprints(self, data: DataConfig, root: Path) -> dict[str, str]:
        key = (data, str(root))
        if key not in self._known:
            try:
                self._known[key] = fingerprints(data, root)
            except (CareError, OSError):
                self._known[key] = {}
                self.absent.add(f"{data.name} in {root}")
        return self._known[key]


def _why_other_code(recorded: str, now: str) -> str:
    earlier = recorded and "-" not in recorded and "-" in now
    if not earlier:
        return "trained with other code"
    return (
        "trained with an earlier version of care, which compared the bytes of its source files; "
        "from now on only a change of the computation makes a trial stale"
    )


def by_field(
    config: TrialConfig, of: Callable[[DataConfig, Path], Mapping[str, str]]
) -> dict[str, str]:
    """Collect the fingerprints of all data of a trial.

    Args:
        config: The trial.
        of: Fingerprints one data set below a data root.

    Returns:
        Fingerprints by dotted field, e.g. ``data``, ``data.class_list``, ``evaluation.transfer.0``.
    """
    root = Path(config.runtime.data_root)
    return {
        f"{field}.{part}" if part else field: value
        for field, data in _data_fields(config)
        for part, value in of(data, root).items()
    }


def is_own(field: str) -> bool:
    """Check whether a fingerprint is of a trial's training data, not of a transfer data set."""
    return field.partition(".")[0] == "data"


def data_difference(
    recorded: Mapping[str, str],
    now: Mapping[str, str],
    config: TrialConfig,
    verb: str = "trained on",
) -> str:
    """Describe the first data set of a trial that has changed; empty if none has.

    Args:
        recorded: Fingerprints by dotted field at the trial's last start.
        now: Present fingerprints by dotted field; absent data sets are not compared.
        config: The trial.
        verb: What was done with the trial's own data.
    """
    for field, data in _data_fields(config):
        # The class list first: the data set's fingerprint differs with it.
        for part in (f"{field}.{CLASS_LIST}", field):
            before, after = recorded.get(part), now.get(part)
            if before and after and before != after:
                used = verb if field == "data" else "started with"
                kind = "data" if field == "data" else "transfer data"
                name = f"class list {data.class_list or ''}".strip() if part != field else data.name
                shown = f"{before[:_SHOWN_DIGITS]}… recorded, {after[:_SHOWN_DIGITS]}… now"
                return f"{used} other {kind}: {name}, fingerprint {shown}"
    return ""


def check_same_data(
    folder: Path, recorded: Mapping[str, str], now: Mapping[str, str], config: TrialConfig
) -> None:
    """Check that a trial resumes on the data on which it was trained.

    Raises:
        OtherDataError: The data differ; states both fingerprints and how to resolve it.
    """
    difference = data_difference(recorded, now, config)
    if difference:
        raise OtherDataError(
            f"{folder}: {difference}. Restore the data that it was {difference.split(' other')[0]}"
            ", or archive and retrain the trial with 'care sweep run --rerun-stale'."
        )


def _data_fields(config: TrialConfig) -> Iterator[tuple[str, DataConfig]]:
    yield "data", config.data
    for index, data in enumerate(config.transfer_data):
        yield f"evaluation.transfer.{index}", data
