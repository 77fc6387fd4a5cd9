"""The export of encoders without the start of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from care.pretrained.export import export
from care.trials.folder import TrialFolder
from sweeps.tracking.encoder_export import EncoderExporter

_USERS = ("sweep_sync", "register")


class InProcess(EncoderExporter):
    """Exports in this process, which has torch already."""

    def export(self, trial: Path, target: Path, *, with_seeds: bool) -> str:
        """Export as the process does."""
        return export(TrialFolder(trial), target, overwrite=True, with_seeds=with_seeds).sha256


def export_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sync and a registration export in this process."""
    for module in _USERS:
        monkeypatch.setattr(f"sweeps.tracking.{module}.EncoderExporter", InProcess)
