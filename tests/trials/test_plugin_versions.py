"""What of a plugin's code counts for a trial: all that it imports, and nothing that it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from care.trials.plugin_versions import plugin_difference
from tests.helpers.paths import ROOT

FILES = {
    "lab/__init__.py": """
from care.registry import ENCODERS, MEASURES, EncoderEntry, MeasureEntry, of_points
ENCODERS.register("lab", EncoderEntry("lab.nets.encoder:Encoder", size=16, flops=1.0))
MEASURES.register("clouds", MeasureEntry("lab.clouds:measure", ("head/clouds",), when=of_points))
""",
    "lab/nets/__init__.py": "",
    "lab/nets/encoder.py": "import torch, json\nfrom .. import shared\nfrom helping import help\n",
    "lab/shared.py": "A = 1\n",
    "lab/unused.py": "A = 1\n",
    "lab/clouds.py": "A = 1\n",
    "helping.py": "def help():\n    from helped import A\n",
    "helped.py": "A = 1\n",
}
SCRIPT = """
import json, sys
from pathlib import Path
from care.config import TrialConfig
from care.trials.plugin_versions import plugin_versions
from sweeps.backends.slurm.code_snapshot import take_snapshot
config = TrialConfig.model_validate({"model": {"encoder": sys.argv[1]}})
copy = take_snapshot(Path(sys.argv[2]))
files = sorted(str(path.relative_to(copy)) for path in copy.rglob("*.py"))
print(json.dumps([plugin_versions(config), "torch" in sys.modules, files]))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def run(lab: Path, encoder: str = "lab") -> tuple[dict[str, str], bool, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, encoder, str(lab.parent / "copies")],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{lab}", "CARE_PLUGINS": "lab"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    versions, torch, files = json.loads(done.stdout)
    return versions, torch, files


def test_what_counts(lab: Path) -> None:
    before, torch, files = run(lab)
    assert list(before) == ["encoder lab"], "a measure of point clouds is no part of it"
    assert not torch, "hashing imports nothing"
    assert set(FILES) <= set(files), "jobs run a copy of all of it"
    assert run(lab, "small")[0] == {}
    for name in ("lab/nets/encoder.py", "lab/nets/__init__.py", "lab/shared.py", "helped.py"):
        file = lab / name
        content = file.read_text()
        file.write_text(f"{content}B = 2\n")
        assert run(lab)[0] != before, name
        file.write_text(content)
    for name in ("lab/__init__.py", "lab/unused.py", "lab/clouds.py"):
        file = lab / name
        file.write_text(f"{file.read_text()}B = 2\n")
    (lab / "helped.py").write_text("# a comment\nA = 1\n")
    assert run(lab)[0] == before


@pytest.mark.parametrize(
    ("recorded", "now", "differs"),
    [
        ({}, {}, False),
        ({"objective a": "1"}, {"objective a": "1"}, False),
        ({"objective a": "1"}, {"objective a": "2"}, True),
        ({}, {"objective a": "1"}, True),
        ({}, {"measure a": "1"}, False),
        ({"measure a": "1"}, {"measure a": "2"}, True),
        ({"measure a": "1"}, {}, False),
    ],
)
def test_what_makes_a_trial_stale(
    recorded: dict[str, str], now: dict[str, str], differs: bool
) -> None:
    assert bool(plugin_difference(recorded, now)) == differs
