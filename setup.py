"""Adds the experiments, the sweeps and the commit to a wheel; pyproject.toml has all else.

Git holds these files once, in the top folders.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
BUNDLED = ("experiments/**/*.yaml", "sweeps/*.yaml", "sweeps/clusters/*.yaml")


class BuildWithFiles(build_py):
    """Build the packages, and copy what ``care/config/bundled.py`` finds."""

    def run(self) -> None:
        """Build; an editable install reads the files of the checkout."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies().items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        record = Path(self.build_lib) / "care" / "build.json"
        record.write_text(json.dumps(git_state()), encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """List the built files with the copies."""
        record = str(Path(self.build_lib) / "care" / "build.json")
        return [*super().get_outputs(include_bytecode), *self._copies().values(), record]

    def _copies(self) -> dict[Path, str]:
        folder = Path(self.build_lib) / "care" / "bundled"
        files = [path for pattern in BUNDLED for path in sorted(ROOT.glob(pattern))]
        return {path: str(folder / path.relative_to(ROOT)) for path in files}


def git_state() -> dict[str, object]:
    """Return the commit and whether files differ from it; both None outside of a checkout."""
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
    dirty = None if changes is None else bool(changes)
    return {"git_commit": commit, "git_dirty": dirty}


def git(*arguments: str) -> str | None:
    """Return the output of git here, or None outside of a checkout."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


setup(cmdclass={"build_py": BuildWithFiles})
