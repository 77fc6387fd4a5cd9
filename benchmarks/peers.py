"""The environment of the peers, which is created on demand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import venv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from care.errors import CareError

_PINS = Path(__file__).parent / "peers.txt"
_ENVIRONMENT = Path(__file__).parent.parent / ".bench" / "peers"
_PYTHON = _ENVIRONMENT / "bin" / "python"
_INSTALL_SECONDS = 600
_FIRST = ("torch", "torchvision")


class PeerError(CareError):
    """A peer cannot be installed; the message has the reason."""


def peer(*packages: str) -> Path:
    """Install ``packages`` if they are missing, and return the Python that can import them.

    Raises:
        PeerError: A package cannot be installed here.
    """
    for package in (*_FIRST, *packages):
        problem = _install(package)
        if problem:
            raise PeerError(f"not installed: {problem}")
    return _PYTHON


def best_blur() -> tuple[str, Path | None]:
    """Return the best available blur for PIL images, OpenCV's or torchvision's, and its Python."""
    if importlib.util.find_spec("cv2"):
        return "OpenCV's blur", None
    try:
        return "OpenCV's blur", peer("opencv-python-headless")
    except PeerError:
        return "PIL's blur", None


@cache
def _install(package: str) -> str | None:
    """Install one package, unless it is installed; return the reason if that fails."""
    pin = next(line for line in _pins() if line.split("==")[0] == package)
    done = _ENVIRONMENT / f"{pin}.installed"
    if done.exists():
        return None
    try:
        if not _PYTHON.exists():
            venv.create(_ENVIRONMENT, with_pip=True, system_site_packages=False)
        print(f"installing {pin} into .bench, once", file=sys.stderr)
        _pip([pin, *(line for line in _pins() if line.split("==")[0] in _FIRST)])
    except (OSError, subprocess.SubprocessError) as error:
        return f"{pin}, {_reason(error)}"
    done.touch()
    return None


def _pins() -> list[str]:
    lines = _PINS.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _pip(pins: Sequence[str]) -> None:
    command = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, *pins], check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS
    )


def _reason(error: Exception) -> str:
    """Return the last line of pip's output that has the reason of the failure."""
    lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1].removeprefix("ERROR: ")
