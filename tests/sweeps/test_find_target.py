"""Every command finds sweeps, trials and references by one search with one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from care.errors import Problem
from care.trials.state import State
from sweeps.cli.listing import ListOptions, list_command
from sweeps.cli.logs import logs_command
from sweeps.cli.show import show_command
from sweeps.disk.delete import plan_deletion
from sweeps.inventory import find_target
from sweeps.plan import make_plan
from sweeps.store import Store
from sweeps.tracking.pages import check_target
from tests.helpers.declaring import fabricate
from tests.helpers.outside import keep_reference
from tests.helpers.small_store import declared

COMMANDS: dict[str, Callable[[str, Store], object]] = {
    "show": lambda name, store: show_command(name, store.root),
    "logs": lambda name, store: logs_command(name, store.root, None, follow=False),
    "ui": lambda name, store: check_target(store, name),
    "delete": plan_deletion,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A sweep with four started trials and a reference."""
    store = Store(tmp_path / "runs")
    sweep = declared(tmp_path, store)
    for trial in make_plan(sweep, store).trials:
        fabricate(store, trial.config, State.PAUSED, 1)
    keep_reference(store.root, sweep.base_config(), {"encoder/probe_accuracy": 0.8642})
    return store


@pytest.mark.parametrize("command", COMMANDS)
def test_the_nearest_is_shown(command: str, store: Store, refused: Callable[..., Problem]) -> None:
    call = COMMANDS[command]
    trial = next(folder.trial_id for folder in store.all_trials())
    wrong = trial[:6] + ("0" if trial[6] != "0" else "1") + trial[7:9]
    assert refused(call, wrong, store).nearest == trial
    assert refused(call, "tinny", store).nearest == "tiny"
    assert refused(call, "z", store).field == "sweep or trial"


def test_digits_of_several_are_refused_and_capitals_allowed(
    store: Store, refused: Callable[..., Problem]
) -> None:
    known = [folder.trial_id for folder in store.all_trials()]
    twin = store.trials / (known[0][:8] + "0" * 8)
    twin.mkdir()
    for call in COMMANDS.values():
        allowed = refused(call, known[0][:8], store).allowed
        assert "more digits" in allowed
        assert twin.name in allowed
    assert find_target(known[1].upper(), store) == store.trial(known[1])


def test_a_list_of_trials_ends_with_the_references(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    list_command("tiny", store.root, ListOptions())
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("torchvision resnet18, random weights, at 32 px: 0.8642")
    list_command("tiny", store.root, ListOptions(as_csv=True))
    assert "torchvision" not in capsys.readouterr().out
