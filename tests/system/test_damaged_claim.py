"""A damaged claim has no holder: its folder can be claimed without waiting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from care.system.claim import Claim, holder
from tests.helpers.damaging import DAMAGES, remove

_TAKE = "import os, sys; from pathlib import Path; from care.system.claim import Claim; "
_TAKE += "claim = Claim.take(Path(sys.argv[1])); os._exit(0)"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """Name and content of a claim whose process is dead."""
    folder = tmp_path_factory.mktemp("left")
    subprocess.run([sys.executable, "-c", _TAKE, str(folder)], check=True)
    (claim,) = folder.glob("claim-*")
    return claim.name, claim.read_bytes()


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_claim_is_nobodys(tmp_path: Path, left: tuple[str, bytes], case: str) -> None:
    path = tmp_path / left[0]
    path.write_bytes(left[1])
    DAMAGES[case](path)
    assert holder(tmp_path) is None
    claim = Claim.take(tmp_path)
    assert claim
    assert holder(tmp_path)
    claim.release()
    assert holder(tmp_path) is None
    again = Claim.take(tmp_path)
    assert again
    again.release()
    if case == "folder":
        assert [kept.is_dir() for kept in tmp_path.glob(f"{path.name}.damaged-*")] == [True]
    remove(path)
