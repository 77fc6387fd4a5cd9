"""Check or train one trial with the ``care`` of a snapshot.

This file runs as a script of its own, beside the code of any revision. So it imports nothing of
today's code, and of the snapshot's only what many revisions have in common.

Requests and answers are lines of JSON. The first request is a task: a check of configurations, or a
trial. Then each empty line asks for one epoch; another word, or the end of the input, pauses the
trial. So a child never outlives the process that started it by more than a step.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import select
import signal
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

EPOCH = b"\n"
"""The request for one more epoch."""
_CHUNK = 1 << 20
_CALLED = {
    "care.system.claim": {"Claim", "take", "LostClaimError"},
    "care.training.trial_run": {"TrialRun", "advance", "pause"},
    "care.trials.failure": {"classify"},
    "care.trials.folder": {"TrialFolder"},
    "care.trials.identity": {"trial_id", "group_id"},
}
"""What a snapshot must define, by module."""
_IDENTITY = ("trial_id", "group_id", "identities")


class _RefusedError(Exception):
    """The snapshot cannot train a configuration."""


class _OnlySnapshot:
    """Finds the modules of care in the snapshot alone.

    An editable installation would find in its checkout what the snapshot lacks.
    """

    def __init__(self, snapshot: str) -> None:
        self._snapshot = snapshot

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] != "care":
            return None
        spec = PathFinder.find_spec(name, path or [self._snapshot], target)
        if spec is None:
            raise ModuleNotFoundError(f"has no module {name}", name=name)
        return spec


class _Line:
    """The two pipes to the process that started this one."""

    def __init__(self) -> None:
        self._received = b""
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # whatever else is printed is no answer
        self._ending = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self._ending = True

    def receive(self) -> bytes:
        """Wait for a request; empty at the end of the input."""
        parts = [self._received]
        while b"\n" not in parts[-1]:
            parts.append(os.read(0, _CHUNK))
            if not parts[-1]:
                break
        line, end, self._received = b"".join(parts).partition(b"\n")
        return line + end

    def send(self, **answer: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # the next request is then the end
            print(json.dumps(answer), file=self._answers, flush=True)

    def stop(self) -> bool:
        """Check for a request to pause: during an epoch nothing else arrives."""
        return self._ending or bool(self._received or select.select([0], [], [], 0)[0])


def main() -> None:
    """Do the task of the first request."""
    line = _Line()
    task = json.loads(line.receive())
    try:
        sys.meta_path.insert(0, _OnlySnapshot(task["snapshot"]))
        from care.trials.code_version import code_version

        if task["kind"] == "check":
            _check(task, line, code_version())
        else:
            _train(task, line, code_version())
    except _RefusedError as error:
        line.send(outcome="refused", error=str(error))
    except ModuleNotFoundError as error:
        line.send(outcome="refused", error=str(error))
    except (ImportError, AttributeError, TypeError) as error:
        line.send(outcome="refused", error=f"{type(error).__name__}: {error}")


def _check(task: dict[str, Any], line: _Line, version: str) -> None:
    """Check that the snapshot has what :func:`_train` calls, and knows each configuration."""
    for module, names in _CALLED.items():
        spec = find_spec(module)
        # Read, not imported: to import torch would take seconds.
        source = Path(str(spec and spec.origin)).read_bytes()
        nodes = ast.walk(ast.parse(source))
        defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        if missing := sorted(names - defined):
            raise _RefusedError(f"has no {', '.join(missing)} in {module}")
    problems: list[Any] = []
    for each in task["configs"]:
        try:
            _read_config(each)
            problems.append(None)
        except _RefusedError as error:
            problems.append(error.args[0])
    line.send(outcome="checked", version=version, problems=problems)


def _read_config(task: dict[str, Any]) -> Any:
    """Validate a configuration by the snapshot's schema.

    Fields that it does not know are left out where they have today's default.
    """
    from pydantic import ValidationError

    from care.config import TrialConfig

    tree = task["config"]
    while True:
        try:
            config = TrialConfig.model_validate(tree)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
        unknown = [one for one in details if one["type"] == "extra_forbidden"]
        for one in unknown or details:
            field = ".".join(map(str, one["loc"]))
            left_out = field.startswith("runtime.") or not _has(task["chosen"], one["loc"])
            if one not in unknown or not left_out:
                # A check across fields has no location: its type and context name the field.
                value = one.get("ctx", {}).get("value", one["input"])
                problem = {"field": field or one["type"], "value": repr(value), "why": one["msg"]}
                raise _RefusedError(problem)
            _remove(tree, one["loc"])
    kept = config.model_dump(mode="json")
    for field, value in _leaves(tree):
        if _get(kept, field) != value:
            name = ".".join(map(str, field))
            problem = {"field": name, "value": repr(value), "why": "is read as another value"}
            raise _RefusedError(problem)
    return config


def _has(tree: Any, loc: tuple[Any, ...]) -> bool:
    """Check whether a field has a value other than its default."""
    try:
        _get(tree, loc)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _get(tree: Any, loc: tuple[Any, ...]) -> Any:
    for part in loc:
        tree = tree[part]
    return tree


def _remove(tree: Any, loc: tuple[Any, ...]) -> None:
    del _get(tree, loc[:-1])[loc[-1]]


def _leaves(tree: Any, loc: tuple[Any, ...] = ()) -> Any:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, value in parts:
        if isinstance(value, dict | list):
            yield from _leaves(value, (*loc, name))
        else:
            yield (*loc, name), value


def _train(task: dict[str, Any], line: _Line, version: str) -> None:
    if version != task["version"]:
        raise _RefusedError(f"the snapshot's code version is {version}, not {task['version']}")
    config = _read_config(task)
    from care.system.claim import Claim, LostClaimError
    from care.training.trial_run import TrialRun
    from care.trials.failure import classify
    from care.trials.folder import TrialFolder

    _take_identity(task, config)
    warnings: list[str] = []

    def send(outcome: str, **more: Any) -> None:
        line.send(outcome=outcome, warnings=warnings, **more)
        warnings.clear()

    try:
        claim = Claim.take(Path(task["folder"]))
        if claim is None:
            send("busy")
            return
        send("claimed")
        folder = TrialFolder(Path(task["folder"]), claim)
        with claim, _logging(folder):
            run = TrialRun(config, folder, warnings.append)
            send("finished" if run.finished else "opened")
            while not run.finished:
                if line.receive() != EPOCH:
                    run.pause()
                    send("paused")
                    return
                metrics = run.advance(line.stop)
                if metrics is None:
                    send("paused")
                    return
                outcome = "finished" if run.finished else "running"
                send(outcome, metrics=metrics, evaluation_seconds=run.evaluation_seconds)
    except LostClaimError:
        send("busy")
    except Exception as error:  # noqa: BLE001 - the trial's own, which the sweep reports
        send("failed", kind=classify(error), error=str(error) or type(error).__name__)


def _take_identity(task: dict[str, Any], config: Any) -> None:
    """Give the trial the identity that its sweep has for it.

    The snapshot would compute another one, without the code and from another schema. In this
    process there is one trial, so every identity is its own, and so is every configuration on disk.
    """
    from care.config import TrialConfig
    from care.trials import identity

    pair = (task["trial_id"], task["group_id"])
    fixed = (lambda _: pair[0], lambda _: pair[1], lambda _: pair)
    ours = {getattr(identity, name, None): own for name, own in zip(_IDENTITY, fixed, strict=True)}
    ours.pop(None, None)
    for module in [module for name, module in sys.modules.items() if name.startswith("care.")]:
        for name in _IDENTITY:
            if (function := getattr(module, name, None)) in ours:
                setattr(module, name, ours[function])
    TrialConfig.model_validate = classmethod(lambda *_, **__: config)  # type: ignore[method-assign,assignment]


def _logging(folder: Any) -> contextlib.AbstractContextManager[Any]:
    """Send warnings to the trial's log, if the snapshot can."""
    try:
        from care.trials.process_log import logging_to
    except ImportError:
        return contextlib.nullcontext()
    return logging_to(folder)


if __name__ == "__main__":
    main()
