"""docker/train: the image has the pinned libraries, and what its files name exists."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.paths import ROOT

TRAIN = ROOT / "docker" / "train"
INSTALL = TRAIN / "install"
# torch pins CUDA's libraries itself, by the exact version; the installer of Python packages is Debian's.
PINNED_BY_TORCH = re.compile(r"nvidia-.*|cuda-.*|triton")


def requirements(name: str, extras: set[str]) -> set[tuple[str, frozenset[str]]]:
    """Packages that an installed one needs on this machine."""
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return set()
    parsed = [Requirement(text) for text in found.requires or ()]
    return {
        (canonicalize_name(each.name), frozenset(each.extras))
        for each in parsed
        if each.marker is None
        or any(each.marker.evaluate({"extra": extra}) for extra in {"", *extras})
    }


def test_every_library_of_the_image_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert all("==" in line for line in lines)
    todo, seen = [("care-contrastive", frozenset[str]())], set[str]()
    while todo:
        name, extras = todo.pop()
        for each in requirements(name, set(extras)):
            if each[0] not in seen:
                seen.add(each[0])
                todo.append(each)
    assert {"torch", "ray", "mlflow", "aiohttp"} <= seen
    assert not {name for name in seen - pinned if not PINNED_BY_TORCH.fullmatch(name)}


@pytest.mark.parametrize("file", ["Dockerfile", "care.def"])
def test_the_images_are_made_by_the_script(file: str) -> None:
    text = (TRAIN / file).read_text()
    steps = re.findall(r"/install ((?:build-)?packages|python|check)", text)
    assert steps[:3] == ["packages", "build-packages", "python"]
    assert "apt-get" not in text
    assert "pip" not in re.sub(r"#.*", "", text)
    bases = re.findall(r"debian:[\d.]+-slim", text)
    assert bases == ["debian:12.12-slim"]


def test_a_wrong_call_says_what_is_allowed(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.touch()
    for arguments, expected in {
        ("pakages",): "no command 'pakages'",
        ("python", "x"): "python needs FOLDER and WHEEL",
        ("python", "x", "none.whl"): "no wheel 'none.whl'; 'make wheel' builds it",
        ("python", "x", str(wheel), "rocm"): "'rocm': allowed are cpu and cuda",
        ("python", "x", str(wheel), "cpu"): "cpu needs TORCH_INDEX",
        ("python", str(tmp_path), str(wheel)): f"'{tmp_path}' exists",
        ("check",): "check needs FOLDER",
    }.items():
        done = subprocess.run(
            [INSTALL, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 1
        assert f"install: error: {expected}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]
