"""Registries: what a plugin may register, and messages for what it may not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from care.errors import ConfigError
from care.plugins import VARIABLE, Entry, Registry, load, load_plugins
from care.registry import DataEntry, MeasureEntry


@dataclass(frozen=True)
class Thing(Entry):
    path: str


@pytest.fixture
def things() -> Registry[Thing]:
    return Registry("thing", {"ours": Thing("care.errors:nearest")})


def test_a_registered_name_is_one_of_the_names(things: Registry[Thing]) -> None:
    things.register("theirs", Thing("lab.theirs:make"))
    things.register("theirs", Thing("lab.theirs:make"))  # imported twice
    assert list(things) == ["ours", "theirs"]
    assert [thing.is_plugin for thing in things.values()] == [False, True]
    with pytest.raises(KeyError):
        things["others"]


@pytest.mark.parametrize(
    ("name", "path", "allowed"),
    [
        ("ours", "lab.theirs:make", "a name of its own"),
        ("Two words", "lab.theirs:make", "lower-case letters"),
        ("theirs", "lab.theirs.make", "module:attribute"),
    ],
)
def test_what_is_no_registration(
    things: Registry[Thing], name: str, path: str, allowed: str
) -> None:
    with pytest.raises(ConfigError, match=allowed):
        things.register(name, Thing(path))


def test_a_plugin_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plugin.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, reason in (("broken_plugin", "ZeroDivisionError"), ("no_such_plugin", "No module")):
        monkeypatch.setenv(VARIABLE, f" {name},")
        for _ in range(2):  # it is not taken for loaded
            with pytest.raises(ConfigError, match=f"{name}.*{reason}"):
                load_plugins()


def test_an_import_path_that_leads_nowhere() -> None:
    for path in ("no_such_lab.vicreg:VICReg", "json:VICReg"):
        with pytest.raises(ConfigError, match=path):
            load(path)


def test_entries_that_contradict_themselves() -> None:
    with pytest.raises(ValueError, match="images have a side"):
        DataEntry("lab.stripes:load_stripes", "stripes")
    with pytest.raises(ValueError, match="encoder/ or head/"):
        MeasureEntry("lab.sparsity:measure", ("sparsity",))
