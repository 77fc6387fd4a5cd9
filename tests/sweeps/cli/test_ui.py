"""``care ui``: a page that answers, and nothing left when it ends."""

from __future__ import annotations

import functools
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from care.errors import ConfigError, Problem
from care.trials.identity import trial_id
from sweeps.store import Store
from sweeps.tracking.exposure import check_host, check_port, url_of
from sweeps.tracking.pages import check_target, list_pages
from sweeps.tracking.server import serve
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.declaring import WEIGHT
from tests.helpers.processes import alive, care, descendants, start_care, wait_for
from tests.helpers.reviewing import start_sweep
from tests.helpers.serving import answers, free_port
from tests.helpers.tracked import copy_database, open_mlflow, run_ids


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "runs"), (signal.SIGTERM, "a b%20c?d#e%j'é")]
)
def test_serves_until_it_gets_a_signal(
    tmp_path: Path, number: signal.Signals, name: str, empty_database: Path
) -> None:
    copy_database(empty_database, tmp_path / name)
    (tmp_path / name / "store.json").write_text('{"format": 1}')
    port = free_port()
    page = start_care("ui", "--port", str(port), "--store", name, cwd=tmp_path)
    wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"))
    started = descendants(page.pid)
    os.kill(page.pid, number)
    output = page.communicate(timeout=60)[0]
    assert page.returncode == 0, output
    wait_for(lambda: not alive(started))
    assert (
        f"table of runs  http://127.0.0.1:{port}/#/experiments/1/runs"
        "?workflowType=machine_learning\n" in output
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert "Traceback" not in output


def test_a_sweep_or_trial_that_is_not_there(tmp_path: Path) -> None:
    start_sweep(tmp_path, [0, 0.1], 1)
    refused = care("ui", "tinny", cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "sweep or trial: got 'tinny'" in refused.stdout + refused.stderr
    assert "did you mean 'tiny'" in refused.stdout + refused.stderr
    assert not (tmp_path / "runs" / "mlflow.db").exists(), "refused before anything is written"


def test_the_pages_of_a_store_a_sweep_and_a_trial(tmp_path: Path, empty_database: Path) -> None:
    copy_database(empty_database, tmp_path / "runs")
    store, sweep = start_sweep(tmp_path, [0, 0.1], 1)
    sync_store(store, None)
    client, experiment = open_mlflow(store.root)
    uuid = store.prepare()

    def pages(target: str = "") -> dict[str, str]:
        return list_pages(client, experiment, store, uuid, False, target)

    by_axis = (
        "#/experiments/1/runs?viewStateShareKey=care-by-axis-tiny&compareRunsMode=CHART"
        "&workflowType=machine_learning"
    )
    assert list(pages()) == ["tiny", "all sweeps", "table of runs"]
    assert pages()["tiny"] == pages("tiny")["tiny"] == by_axis
    trial = trial_id(sweep.trial({WEIGHT: 0.1}, 0))
    assert check_target(store, trial[:6]) == trial
    first, page = next(iter(pages(trial).items()))
    assert first == "λ=0.1 seed=0"
    assert run_ids(store.root)[first] in page
    assert all("workflowType=machine_learning" in page for page in pages(trial).values())


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "0"]
)
def test_other_machines_are_let_in_on_demand_only(
    host: str, refused: Callable[..., Problem]
) -> None:
    problem = refused(functools.partial(check_host, host, 5000, allow_anyone=False))
    assert problem.field == "--host"
    assert "no password" in problem.allowed
    assert "--allow-anyone" in problem.allowed
    warning = check_host(host, 5000, allow_anyone=True)
    assert "can read all runs" in warning
    assert "delete" in warning


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2", "::ffff:127.0.0.1"])
def test_this_machine_is_let_in(host: str) -> None:
    assert check_host(host, 5000, allow_anyone=False) == ""


def test_a_host_that_is_none(refused: Callable[..., Problem], tmp_path: Path) -> None:
    assert (
        "e.g. 127.0.0.1"
        in refused(
            functools.partial(check_host, "no.such.host.invalid", 5000, allow_anyone=True)
        ).allowed
    )
    store = Store(tmp_path / "runs")
    store.prepare()
    with pytest.raises(ConfigError, match="--allow-anyone"):
        serve(store, "0.0.0.0", free_port(), None)
    assert not (store.root / "mlflow.db").exists(), "refused before anything is written"


def test_a_port_of_either_family(refused: Callable[..., Problem]) -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as taken:
            taken.bind((host, 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert refused(check_port, host, port).field == "--port"
    check_port("::1", free_port())
    assert url_of("::1", 5000) == "http://[::1]:5000"
