"""Messages of a sweep: to a real webhook or command, in time, and never in the sweep's way."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from care.errors import ConfigError
from care.trials.state import State
from sweeps.notify import notifier as notifier_module
from sweeps.notify.deliver import DeliveryError, deliver
from sweeps.notify.notifier import Notifier, make_notifier
from sweeps.notify.target import Target, find_target
from sweeps.plan import make_plan
from sweeps.progress import Board
from sweeps.spec.notify import NotifyConfig
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import declare, load
from tests.helpers.processes import care, wait_for
from tests.helpers.webhook import SECRET, Webhook


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return load(tmp_path, metric={"name": "head/gamma", "mode": "min"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def board(sweep: Sweep, store: Store) -> Board:
    board = Board(sweep.spec.metric, 4)
    board.plan(make_plan(sweep, store), lambda _: None)
    return board


@contextlib.contextmanager
def plain(_: Board) -> Iterator[None]:
    yield


def script(folder: Path, body: str) -> Path:
    path = folder / "tell.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path


def test_the_end_with_counts_best_and_report(
    sweep: Sweep, store: Store, board: Board, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.touch()
    first, second, *_ = board.trials
    with Webhook() as hook, Notifier(Target("w", hook.url), sweep, store) as notifier:
        with notifier.watching(plain)(board):
            for trial in (first, second):
                board.report(trial, State.FINISHED, {"epoch": 3, "head/gamma": 0.25})
        notifier.end("unfinished", page)
    (message,) = hook.messages
    assert message["event"] == "end"
    assert message["outcome"] == "unfinished"
    assert message["counts"] == {"finished": 2, "new": 2}
    assert message["best"] == {"point": "λ=0", "mean": 0.25, "n": 2}
    assert message["report"] == str(page)
    assert message["text"] == "tiny: unfinished (2 finished, 2 new); best λ=0: head/gamma 0.25"


def test_the_first_failure_once(sweep: Sweep, store: Store, board: Board) -> None:
    old, one, other, _ = board.trials
    board.report(old, State.FAILED, error="of an earlier run")
    with (
        Webhook() as hook,
        Notifier(Target("w", hook.url), sweep, store) as notifier,
        notifier.watching(plain)(board),
    ):
        board.report(one, State.FAILED, error="diverged: loss is nan")
        wait_for(lambda: bool(hook.messages))
        board.report(other, State.FAILED, error="too")
    (message,) = hook.messages
    assert message["event"] == "failure"
    assert message["failed"] == {
        "trial": one,
        "label": board.trials[one].label,
        "error": "diverged: loss is nan",
    }


def test_a_failure_just_before_the_end(sweep: Sweep, store: Store, board: Board) -> None:
    with Webhook() as hook, Notifier(Target("w", hook.url), sweep, store) as notifier:
        with notifier.watching(plain)(board):
            board.report(next(iter(board.trials)), State.FAILED, error="late")
        notifier.end("unfinished", None)
    assert [message["event"] for message in hook.messages] == ["failure", "end"]


def test_a_stall_once_until_the_next_progress(
    tmp_path: Path, store: Store, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "_LOOK_SECONDS", 0.01)
    sweep = load(tmp_path, notify={"stall_minutes": 0.001, "events": ["stall"]})
    trial = next(iter(board.trials))
    with Webhook() as hook, Notifier(Target("w", hook.url), sweep, store) as notifier:
        with notifier.watching(plain)(board):
            wait_for(lambda: len(hook.messages) == 1)
            board.report(trial, State.RUNNING, {"epoch": 1})
            wait_for(lambda: len(hook.messages) == 2)
        notifier.end("complete", None)
    assert [message["event"] for message in hook.messages] == ["stall", "stall"]
    assert "no epoch has ended for 0.001 minutes" in hook.messages[0]["text"]


def test_an_error_of_the_driver(sweep: Sweep, store: Store) -> None:
    with Webhook() as hook:
        with (
            pytest.raises(RuntimeError),
            Notifier(Target("w", hook.url), sweep, store),
        ):
            raise RuntimeError("no answer of http://user:word@host/")
        (message,) = hook.messages
    assert message["outcome"] == "error"
    assert "word" not in json.dumps(message)


@pytest.mark.parametrize("status", [500, 404, 302])
def test_an_error_of_the_webhook_is_one_line(
    status: int, sweep: Sweep, store: Store, log_lines: list[str]
) -> None:
    with Webhook(status) as hook, Notifier(Target("the webhook of X", hook.url), sweep, store) as n:
        n.end("complete", None)
    assert log_lines == [
        f"A message (end) did not reach the webhook of X: it answered {status}. "
        "The sweep is not affected."
    ]


def test_one_that_hangs_holds_nobody_up(
    sweep: Sweep, store: Store, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "_LAST_SECONDS", 0.2)
    with Webhook(hang=True) as hook:
        with Notifier(Target("w", hook.url), sweep, store) as notifier:
            notifier.end("complete", None)
        assert log_lines == ["The last message did not reach w in time."]
        with pytest.raises(DeliveryError, match=r"no answer within 0\.2 s"):
            deliver(Target("w", hook.url), {}, seconds=0.2)


def test_one_that_is_not_there(sweep: Sweep) -> None:
    with pytest.raises(DeliveryError) as caught:
        deliver(Target("w", f"http://127.0.0.1:1/{SECRET}"), {}, seconds=5)
    assert SECRET not in str(caught.value)
    with pytest.raises(DeliveryError) as caught:
        deliver(Target("w", f"http://no host:x/{SECRET}"), {}, seconds=5)
    assert SECRET not in str(caught.value)


def test_a_command_reads_the_message(sweep: Sweep, store: Store, tmp_path: Path) -> None:
    path = script(tmp_path, f"cat > {tmp_path}/message")
    with Notifier(Target("c", command=(str(path),)), sweep, store) as notifier:
        notifier.end("complete", None)
    assert json.loads((tmp_path / "message").read_text())["sweep"] == "tiny"


def test_a_command_that_fails_or_hangs(tmp_path: Path) -> None:
    target = Target("c", command=(str(script(tmp_path, "exit 3")),))
    with pytest.raises(DeliveryError, match="exit status 3"):
        deliver(target, {})
    script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(DeliveryError, match="did not end within 1 s"):
        deliver(target, {}, seconds=1)
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_where_the_address_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://host/{SECRET}"
    monkeypatch.delenv("CARE_NOTIFY", raising=False)
    assert find_target(None) is None
    monkeypatch.setenv("CARE_NOTIFY", url)
    target = find_target(None)
    assert target
    assert target.url == url
    assert SECRET not in repr(target)
    monkeypatch.setenv("OTHER", url)
    assert find_target(NotifyConfig(to="env:OTHER")) == Target("the webhook of OTHER", url)
    file = tmp_path / "address"
    file.write_text(f"{url}\n")
    file.chmod(0o600)
    assert find_target(NotifyConfig(to=f"file:{file}")) == Target(f"the webhook of {file}", url)
    monkeypatch.setenv("CARE_NOTIFY", f"file:{file}")
    assert find_target(None) == Target("the webhook of CARE_NOTIFY", url)
    own = find_target(NotifyConfig(to="cat -n"))
    assert own == Target("the command of this sweep", command=("cat", "-n"))


def test_a_wrong_address_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "address"
    file.write_text(f"https://host/{SECRET}")
    file.chmod(0o644)
    monkeypatch.setenv("ODD", f"slack://{SECRET}/b")
    monkeypatch.setenv("GONE", f"/no/such/command {SECRET}")
    monkeypatch.delenv("ABSENT", raising=False)
    wrong = {
        "env:ABSENT": "a variable that is set",
        "env:ODD": "allowed: http, https, or a command",
        "env:GONE": "a command that can be run here",
        f"file:{file}": "chmod 600",
        f"file:{tmp_path}/nowhere": "No such file",
        "no-such-command": "a command that can be run here",
        "unbalanced '": "a command that can be run here",
    }
    for to, allowed in wrong.items():
        with pytest.raises(ConfigError, match=re.escape(allowed)) as caught:
            find_target(NotifyConfig(to=to))
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("notify", "field", "allowed"),
    [
        ({"to": f"https://host/{SECRET}"}, "notify.to", "env:NAME or file:PATH"),
        ({"to": f"curl https://host/{SECRET}"}, "notify.to", "env:NAME or file:PATH"),
        ({"to": " "}, "notify.to", "env:NAME, file:PATH, or a command"),
        ({"events": ["ends"]}, "notify.events.0", "end"),
        ({"stall_minutes": 0}, "notify.stall_minutes", "greater than 0"),
        ({"when": "end"}, "notify.when", "no such field"),
    ],
)
def test_a_declaration_holds_no_address(
    notify: dict[str, Any], field: str, allowed: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, notify=notify)
    assert SECRET not in str(caught.value)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert allowed in problem.allowed


def test_a_driver_without_the_variable_runs_on(
    tmp_path: Path, store: Store, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster, a job may lack a variable of the terminal that submitted it."""
    monkeypatch.delenv("ABSENT", raising=False)
    sweep = load(tmp_path, notify={"to": "env:ABSENT"})
    with make_notifier(sweep, store) as notifier:
        assert notifier.watching(plain) is plain
        notifier.end("complete", None)
    (line,) = log_lines
    assert line.startswith("No messages are sent: ")


@pytest.mark.timeout(600)  # a whole sweep, beside other tests
def test_a_sweep_sends_its_end_and_keeps_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = declare(tmp_path, axes={}, seeds=1)
    with Webhook() as hook:
        monkeypatch.setenv("CARE_NOTIFY", hook.url)
        done = care("sweep", "run", file, "training.epochs=1", cwd=tmp_path)
    (message,) = hook.messages
    assert message["outcome"] == "complete"
    assert message["counts"] == {"finished": 1}
    assert message["report"] == str(tmp_path / "runs/sweeps/tiny/report/report.html")
    assert SECRET not in done.stdout + done.stderr
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_a_wrong_variable_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARE_NOTIFY", "")
    file = declare(tmp_path, notify={"to": "env:CARE_NOTIFY"})
    done = care("sweep", "run", file, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "to: got 'env:CARE_NOTIFY'; allowed: a variable that is set" in done.stderr
    assert not (tmp_path / "runs").exists()
    assert os.environ["CARE_NOTIFY"] == ""
