"""Whether a trial's numbers still rest on what a training would rest on now: code and data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from care.config import DataConfig, TrialConfig
from care.data.fingerprints.fingerprint import CLASS_LIST, fingerprints
from care.errors import CareError
from care.trials.code_version import code_version
from care.trials.plugin_versions import plugin_difference, plugin_versions
from care.trials.records import ProvenanceRecord

_SHOWN_DIGITS = 8


class OtherDataError(CareError):
    """A trial would resume or be measured on other data than it was trained on."""


class Versions:
    """The code and the data that trials would be trained with now.

    Data are looked at when the first trial that used them is judged, and once.

    Args:
        code: Version of the code whose results count. None for this code and that of its plugins;
            with another version plugins are not compared.
        say: Called with a line before much is read.

    Attributes:
        absent: Data sets that are not on this machine, so that no trial was compared with them.
    """

    def __init__(self, code: str | None = None, say: Callable[[str], None] = lambda _: None):
        self.code = code or code_version()
        self._is_this_code = code is None
        self.absent: set[str] = set()
        self._say = say
        self._known: dict[tuple[DataConfig, str], dict[str, str]] = {}

    def why_stale(self, provenance: ProvenanceRecord | None, config: TrialConfig) -> str:
        """Name what a trained trial rests on and what differs now; empty when nothing does.

        Args:
            provenance: What the trial recorded at its last start; None when it did not.
            config: The trial's configuration as it is planned now, with its data root.
        """
        if provenance is None or provenance.code_version != self.code:
            return _why_other_code(provenance.code_version if provenance else "", self.code)
        if self._is_this_code:
            difference = plugin_difference(provenance.plugins, plugin_versions(config))
            if difference:
                return difference
        return data_difference(provenance.data, self.data(config), config)

    def data(self, config: TrialConfig) -> dict[str, str]:
        """Fingerprint a trial's data, by dotted field; data that are not here are left out."""
        return by_field(config, self._fingerprints)

    def _fingerprints(self, data: DataConfig, root: Path) -> dict[str, str]:
        key = (data, str(root))
        if key not in self._known:
            try:
                self._known[key] = fingerprints(data, root, self._say)
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
        "from now on only code that computes something else makes a trial stale"
    )


def by_field(
    config: TrialConfig, of: Callable[[DataConfig, Path], Mapping[str, str]]
) -> dict[str, str]:
    """Collect the fingerprints of all data of a trial.

    Args:
        config: The trial.
        of: Gives those of one data set below a data root.

    Returns:
        By dotted field, e.g. ``data``, ``data.class_list``, ``evaluation.transfer.0``.
    """
    root = Path(config.runtime.data_root)
    return {
        f"{field}.{part}" if part else field: value
        for field, data in _data_fields(config)
        for part, value in of(data, root).items()
    }


def is_own(field: str) -> bool:
    """Whether a fingerprint is of the data that a trial trains on, not of a transfer set."""
    return field.partition(".")[0] == "data"


def data_difference(
    recorded: Mapping[str, str], now: Mapping[str, str], config: TrialConfig
) -> str:
    """Name the first data of a trial that are other than recorded; empty when there are none.

    Args:
        recorded: Fingerprints by dotted field, from the trial's last start.
        now: Fingerprints by dotted field; what is not here is not compared.
        config: The trial.
    """
    for field, data in _data_fields(config):
        # The list first: with it the data differ, too.
        for part in (f"{field}.{CLASS_LIST}", field):
            before, after = recorded.get(part), now.get(part)
            if before and after and before != after:
                used = "trained on" if field == "data" else "started with"
                kind = "data" if field == "data" else "transfer data"
                what = f"class list {data.class_list or ''}".strip() if part != field else data.name
                shown = f"{before[:_SHOWN_DIGITS]}… recorded, {after[:_SHOWN_DIGITS]}… now"
                return f"{used} other {kind}: {what}, fingerprint {shown}"
    return ""


def check_same_data(
    folder: Path, recorded: Mapping[str, str], now: Mapping[str, str], config: TrialConfig
) -> None:
    """Refuse to resume a trial on other data than it was trained on.

    Raises:
        OtherDataError: Names both fingerprints and the ways to resolve it.
    """
    difference = data_difference(recorded, now, config)
    if difference:
        raise OtherDataError(
            f"{folder}: {difference}. Restore the data that it was {difference.split(' other')[0]}"
            ", or archive it and train it anew with 'care sweep run --rerun-stale'."
        )


def _data_fields(config: TrialConfig) -> Iterator[tuple[str, DataConfig]]:
    yield "data", config.data
    for index, data in enumerate(config.transfer_data):
        yield f"evaluation.transfer.{index}", data
