"""Damaged configuration files and overrides: they are read, or refused by a ConfigError."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.config.loading import load_trial
from care.errors import ConfigError
from sweeps.backends.slurm.config import load_cluster
from sweeps.plan import make_plan
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.fuzzing import NASTY, mutate

INPUTS = int(os.environ.get("CARE_FUZZ_INPUTS", "2000"))
SEED = int(os.environ.get("CARE_FUZZ_SEED", "11"))
PROFILES = (None, None, "small", "paper", "no such")


def plan(file: Path, profile: str | None) -> None:
    """Load a sweep and plan it."""
    make_plan(load_sweep(file, profile=profile), Store(file.parent / "runs"))


FIG7, DIGITS = "experiments/paper/fig7-lambda.yaml", "experiments/digits.yaml"
CASES: list[tuple[str, str, Callable[[Path, str | None], object]]] = [
    (DIGITS, DIGITS, lambda file, _: load_trial(file)),
    ("experiments/cifar10.yaml", FIG7, plan),
    ("experiments/profiles/small-cifar10.yaml", FIG7, lambda file, _: plan(file, "small")),
    (FIG7, FIG7, plan),
    ("experiments/paper/fig10-losses.yaml", "experiments/paper/fig10-losses.yaml", plan),
    ("sweeps/digits-lambda.yaml", "sweeps/digits-lambda.yaml", plan),
    ("sweeps/clusters/example.yaml", "sweeps/clusters/example.yaml", lambda f, _: load_cluster(f)),
]
"""The file that is damaged, the file that is read, and how."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's configuration files."""
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree("experiments", folder / "experiments")
    shutil.copytree("sweeps", folder / "sweeps", ignore=shutil.ignore_patterns("*.py", "__*"))
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_damaged_files_are_read_or_refused(tree: Path) -> None:
    random = Random(SEED)
    texts = [(tree / damaged).read_text() for damaged, _, _ in CASES]
    before, refused, longest = listing(tree), 0, 0
    for number in range(INPUTS):
        place = random.randrange(len(CASES))
        damaged, file, read = CASES[place]
        data = mutate(random, texts[place], random.choice(texts))
        (tree / damaged).write_bytes(data)
        try:
            read(tree / file, random.choice(PROFILES))
        except ConfigError as error:
            refused += 1
            longest = max(longest, len(str(error)))
        except BaseException as error:
            error.add_note(f"input {number} of seed {SEED}: {damaged}\n{data!r}")
            raise
        (tree / damaged).write_text(texts[place])
    assert listing(tree) == before
    assert longest < 60_000
    assert INPUTS * 0.5 < refused < INPUTS * 0.98, "the inputs reach further than the parser"


FIELDS = st.sampled_from(
    ["training.epochs", "objective.equivariance.weight", "augmentation.crop.scale", "data.name"]
)
VALUES = st.sampled_from(NASTY) | st.text() | st.floats().map(str) | st.integers().map(str)


@given(override=st.builds("{}={}".format, FIELDS | st.text(), VALUES) | st.text())
def test_overrides_are_read_or_refused(tree: Path, override: str) -> None:
    try:
        config = load_trial(tree / DIGITS, [override])
    except ConfigError:
        return
    assert "=" in override
    json.dumps(config.model_dump(mode="json")).encode()
