"""``care sweep extend``: more values, seeds or points of a sweep, without editing its file."""

from __future__ import annotations

import shlex
from pathlib import Path

from care.config.bundled import is_bundled
from care.config.yaml_reader import read_text
from care.errors import CareError, ConfigError, Problem, nearest
from care.system.claim import holder
from care.system.files import write_atomic
from sweeps.plan import Plan, make_plan
from sweeps.process.terminal import make_console
from sweeps.spec.extend import extend_text
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store

_SOURCE = "care sweep extend"


def extend_command(name: str, changes: list[str], root: Path) -> None:
    """Extend a sweep in its YAML file, after its new plan was made; print what is new.

    Args:
        name: The sweep's file, or its name in the store.
        changes: ``axes.FIELD=VALUE[,VALUE]``, ``seeds=N``, ``search.trials=N``.
        root: The store.

    Raises:
        ConfigError: A change is wrong, or would take away a trial. The file is unchanged.
    """
    store = Store(root)
    file = _find_file(name, store)
    before = read_text(file)
    after = extend_text(before, _split(changes), str(file))
    old = make_plan(load_sweep(file), store)
    if old.sweep.spec.name != name and file != Path(name):
        raise CareError(
            f"{name} is another sweep than {file} declares now, {old.sweep.spec.name!r}: it was "
            "started with a profile, or renamed. Name the file to extend what it declares."
        )
    new = make_plan(load_sweep(file, text=after), store)
    _check(old, new, " ".join(changes))
    mode = file.stat().st_mode
    write_atomic(file.resolve(), after.encode())
    file.chmod(mode)
    console = make_console()
    more = new.wanted - old.wanted
    console.print(f"{file}: {more} trials more, {new.wanted} in all", soft_wrap=True)
    if holder(store.sweep(new.sweep.spec.name).path):
        console.print("It is running with the plan that it started with; afterwards:")
    words = ["care", "sweep", "run", str(file)]
    console.print(f"to train them: {shlex.join(words)}", soft_wrap=True)


def _find_file(name: str, store: Store) -> Path:
    """Return the file of a sweep that is named by its file, or by its name in the store."""
    file = Path(name)
    if not name.endswith((".yaml", ".yml")):
        declaration = store.sweep(name).read()
        if declaration is None:
            known = [folder.name for folder in store.all_sweeps()]
            allowed = f"allowed: a YAML file, or a sweep of {store.root}"
            problem = Problem("sweep", name, allowed, nearest(name, known))
            raise ConfigError(_SOURCE, [problem])
        file = Path(declaration.file)
        if not file.is_file() and not is_bundled(file):
            raise CareError(
                f"{name} was started from {file}, which is not here. Name its file: "
                "care sweep extend FILE …"
            )
    if is_bundled(file):
        allowed = "allowed: a file of your own; care init copies the bundled ones"
        raise ConfigError(_SOURCE, [Problem("sweep", name, allowed)])
    return file


def _split(changes: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in changes:
        field, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not field or not value or field in found:
            allowed = "allowed: FIELD=VALUE, each field once, e.g. seeds=5"
            raise ConfigError(_SOURCE, [Problem("change", text, allowed)])
        found[field] = value
    return found


def _check(old: Plan, new: Plan, changes: str) -> None:
    """Refuse a plan that lacks a trial of the old one, has none more, or asks something else.

    Raises:
        ConfigError: Says why.
    """
    source, allowed = old.sweep.source, ""
    gone = len(old.unique().keys() - new.unique().keys()) or old.wanted - new.wanted
    if gone > 0:
        allowed = f"what keeps each trial; {gone} of {old.wanted} would be gone"
    elif new.wanted == old.wanted:
        allowed = f"what {source} does not have; it has all {old.wanted} trials"
    elif new.differences:
        asked = "; ".join(map(str, new.differences))
        allowed = f"what leaves the question of its search; {asked}. Give the sweep another name"
    if allowed:
        raise ConfigError(_SOURCE, [Problem("change", changes, f"allowed: {allowed}")])
