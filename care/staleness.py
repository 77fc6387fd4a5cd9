"""Whether a trial's numbers still rest on what a training would rest on now."""

from __future__ import annotations

from care.config import TrialConfig
from care.identity import code_version
from care.records import ProvenanceRecord


class Versions:
    """The code and the data that trials would be trained with now.

    Args:
        code: Version of the code whose results count; this code's when None.
    """

    def __init__(self, code: str | None = None) -> None:
        self.code = code or code_version()

    def why_stale(self, provenance: ProvenanceRecord | None, config: TrialConfig) -> str:  # noqa: ARG002
        """Name what a trained trial rests on and what differs now; empty when nothing does.

        Args:
            provenance: What the trial recorded at its last start; None when it did not.
            config: The trial's configuration as it is planned now, with its data root.
        """
        if provenance is None or provenance.code_version != self.code:
            return "trained with other code"
        return ""
