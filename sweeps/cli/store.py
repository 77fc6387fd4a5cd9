"""``care store``: disk usage, garbage collection, deletion, merging."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sized
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from care.errors import CareError, ConfigError, Problem, nearest
from sweeps.disk.collect import Collector
from sweeps.disk.delete import Deleter, Deletion, plan_deletion
from sweeps.disk.garbage import Findings, Garbage, GarbageSearch, Keep, Policy, What
from sweeps.disk.membership import Membership, read_membership
from sweeps.disk.pull import Pulled, Puller, Verdict, parts_of
from sweeps.disk.remote import fetch, is_remote
from sweeps.disk.units import format_bytes, parse_age
from sweeps.disk.usage import Usage, measure_usage, scan_trials
from sweeps.process.terminal import make_console
from sweeps.store import Store

_SHOWN = 5
_LEFT = {
    Verdict.DIFFERENT: "has other numbers there; the ones here stay",
    Verdict.BUSY: "is not copied, because it is held",
    Verdict.DAMAGED: "is not copied, because it is damaged",
}


def open_store(root: Path) -> Store:
    """Open an existing store.

    Raises:
        CareError: No store is there.
    """
    store = Store(root)  # refuses another user's private store
    if not (root / "store.json").exists():
        raise CareError(f"{root}: no store is here; run a sweep first, or name one with --store")
    return store


def usage_command(root: Path, as_json: bool) -> None:
    """Print the disk usage of a store by kind and by sweep."""
    usage = measure_usage(open_store(root))
    if as_json:
        print(json.dumps(_usage_as_json(usage)))
        return
    console = make_console()
    _print(console, f"{root}: {format_bytes(usage.bytes)}")
    if usage.frees.total():
        frees = format_bytes(usage.frees.total())
        _print(console, f"{frees} of it can go, and no number with it: care store gc")
    _print_table(
        console,
        "kind",
        [(kind, "", size, usage.frees[kind]) for kind, size in usage.kinds.most_common() if size],
    )
    rows = sorted(usage.sweeps.items(), key=lambda item: -item[1].bytes)
    _print_table(
        console, "sweep", [(name, f"{row.trials:,}", row.bytes, row.frees) for name, row in rows]
    )
    for data_root, size in usage.caches.items():
        _print(console, f"beside the store: {format_bytes(size)} of decoded data in {data_root}")
    for name, reason in usage.unreadable.items():
        _print(console, f"{name}: its trials are not counted as its own ({reason})")


def _usage_as_json(usage: Usage) -> dict[str, object]:
    return {
        "bytes": usage.bytes,
        "frees": usage.frees.total(),
        "kinds": {
            kind: {"bytes": size, "frees": usage.frees[kind]}
            for kind, size in usage.kinds.most_common()
        },
        "sweeps": {
            name: {"bytes": row.bytes, "trials": row.trials, "frees": row.frees}
            for name, row in sorted(usage.sweeps.items(), key=lambda item: -item[1].bytes)
        },
        "data_caches": usage.caches,
        "unreadable": usage.unreadable,
    }


def _print_table(console: Console, name: str, rows: Iterable[tuple[str, str, int, int]]) -> None:
    """Print rows of name, number of trials, bytes and bytes that can go."""
    rows = list(rows)
    if not rows:
        return
    width = max([len(name), *(len(row[0]) for row in rows)])
    counted = any(row[1] for row in rows)
    trials = f"{'trials':>8}" if counted else ""
    _print(console, f"\n{name:{width}}{trials}{'size':>10}{'gc frees':>10}")
    for title, count, size, frees in rows:
        trials = f"{count:>8}" if counted else ""
        can_go = format_bytes(frees) if frees else ""
        _print(console, f"{title:{width}}{trials}{format_bytes(size):>10}{can_go:>10}".rstrip())


def gc_command(root: Path, keep: Keep, older: str | None, sweep: str | None, go: bool) -> int:
    """Print what a garbage collection removes, or remove it.

    Returns:
        0, or 1 if a part could not be cleaned.
    """
    policy = Policy(keep, parse_age(older) if older is not None else None, sweep)
    store, console = open_store(root), make_console()
    membership = read_membership(store)
    _check_sweep(store, sweep, membership)
    findings = GarbageSearch(store, policy, membership).search(scan_trials(store).items())
    if not any(findings.all()):
        _print(console, "Nothing to free.")
        _print_busy(console, findings.busy)
        return 0
    if go:
        return _collect(store, keep, findings, console)
    _print_garbage(console, findings, keep)
    _print_busy(console, findings.busy)
    _print(console, "Nothing is removed yet. To remove it:")
    _print(console, f"  {_gc_again(root, keep, older, sweep)}")
    return 0


def _check_sweep(store: Store, name: str | None, membership: Membership) -> None:
    """Refuse a sweep that is not in the store, or cannot be read."""
    if name is None or name in membership.trials:
        return
    if name in membership.unreadable:
        raise CareError(membership.unreadable[name])
    raise unknown_sweep(store, name)


def unknown_sweep(store: Store, name: str) -> ConfigError:
    """Make the error about a sweep that the store does not have."""
    known = [sweep.name for sweep in store.all_sweeps()]
    allowed = f"allowed: a sweep of the store ({', '.join(known) or 'none yet'})"
    return ConfigError(str(store.root), [Problem("sweep", name, allowed, nearest(name, known))])


def _gc_again(root: Path, keep: Keep, older: str | None, sweep: str | None) -> str:
    words = ["care", "store", "gc"]
    words += ["--keep", keep] if keep != "encoder" else []
    words += ["--older", older] if older is not None else []
    words += ["--sweep", sweep] if sweep is not None else []
    words += ["--store", str(root)] if root != Path("runs") else []
    return shlex.join([*words, "--yes"])


def _print_garbage(console: Console, findings: Findings, keep: Keep) -> None:
    """Print each kind of garbage with its bytes and the number of its parts."""
    frees: Counter[What] = Counter()
    parts: Counter[What] = Counter()
    for each in findings.all():
        frees[each.what] += each.frees
        parts[each.what] += _count(each)
    _print(console, f"{format_bytes(findings.frees)} can go:")
    for what, size in frees.most_common():
        count = f"{parts[what]:,} {_unit(what, parts[what])}"
        _print(console, f"  {what:32s}{format_bytes(size):>8}  {count}{_kept(what, keep)}")


def _count(garbage: Garbage) -> int:
    is_of_trial = garbage.what in (What.CHECKPOINTS, What.WEIGHTS, What.PROGRESS)
    return 1 if is_of_trial else len(garbage.paths)


def _unit(what: What, count: int) -> str:
    trials = (What.CHECKPOINTS, What.WEIGHTS, What.PROGRESS, What.ARCHIVED)
    return ("trial" if what in trials else "file or folder") + ("" if count == 1 else "s")


def _kept(what: What, keep: Keep) -> str:
    if what not in (What.CHECKPOINTS, What.WEIGHTS):
        return ""
    return "; encoders stay" if keep == "encoder" else "; care evaluate will refuse them"


def _print_busy(console: Console, busy: dict[str, str]) -> None:
    for name, process in list(busy.items())[:_SHOWN]:
        _print(console, f"left alone: {name}, which {process} holds")
    if len(busy) > _SHOWN:
        _print(console, f"left alone: {len(busy) - _SHOWN} more that processes hold")


def _collect(store: Store, keep: Keep, findings: Findings, console: Console) -> int:
    total = len(findings.trials) + len(findings.sweeps) + len(findings.rest)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("freeing", total=total)
        done = Collector(store, keep, lambda: progress.advance(task)).collect(findings)
    _print(console, f"freed {format_bytes(done.freed)}")
    _print_busy(console, {**findings.busy, **dict.fromkeys(done.busy, "another process")})
    for line in done.failed:
        _print(console, line)
    return 1 if done.failed else 0


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def delete_command(name: str, root: Path, go: bool) -> int:
    """Show what the deletion of a sweep or trial removes, ask, and delete it.

    Returns:
        0 if it is deleted, 1 if it is not.
    """
    store, console = open_store(root), make_console()
    deletion = plan_deletion(name, store)
    _print_deletion(console, deletion)
    if not go and not _confirm(console):
        _print(console, "Nothing was deleted.")
        return 1
    left = Deleter(store).delete(deletion)
    for trial in left:
        _print(console, f"{trial} was started meanwhile; it stays, and with it its sweep")
    if deletion.reference:
        _print(console, "deleted 1 reference")
        return 0
    _print(console, f"deleted {len(deletion.trials) - len(left)} {_trials(deletion.trials)}")
    _print(console, "MLflow follows with the next run of a sweep, or now: care track sync")
    return 1 if left else 0


def _print_deletion(console: Console, deletion: Deletion) -> None:
    size = format_bytes(deletion.bytes)
    if deletion.reference:
        _print(console, f"This deletes reference {deletion.reference.name}, {size}.")
        return
    if not deletion.sweep:
        _print(console, f"This deletes trial {deletion.trials[0]}, {size}, with its numbers.")
        for sweep in deletion.sweeps:
            _print(console, f"Sweep {sweep} has it, and will train it again at its next run.")
        return
    count = len(deletion.trials)
    _print(
        console,
        f"This deletes sweep {deletion.sweep} with its report and {count} "
        f"{_trials(deletion.trials)}, {size}, with their numbers.",
    )
    if deletion.shared:
        others = sorted({other for names in deletion.shared.values() for other in names})
        stay = f"{len(deletion.shared)} {_trials(deletion.shared)}"
        _print(console, f"{stay} of it stay, because other sweeps have them: {', '.join(others)}")


def _trials(trials: Sized) -> str:
    return "trial" if len(trials) == 1 else "trials"


def _confirm(console: Console) -> bool:
    """Ask on a terminal; without one, name the option that answers.

    Raises:
        CareError: Nobody can answer.
    """
    if not sys.stdin.isatty():
        raise CareError("nothing was deleted: there is no terminal to ask; to delete it, add --yes")
    return console.input("Delete it? [y/N] ").strip().lower() in ("y", "yes")


def pull_command(source: str, root: Path) -> int:
    """Merge another store into this one, and print what was copied and where numbers differ.

    Returns:
        0 if this store now has all of the other one with equal numbers, 1 otherwise.
    """
    console, store = make_console(), Store(root)
    if not is_remote(source):
        other = open_store(Path(source))
        if root.exists() and other.root.samefile(root):
            raise CareError(f"{source}: is this store; name another one")
    with parts_of(store):
        if is_remote(source):
            other = fetch(source, store)
        pulled = _pull(store, other, console)
    _print_pulled(console, pulled, source)
    return 0 if pulled.complete else 1


def _pull(store: Store, other: Store, console: Console) -> Pulled:
    total = sum(1 for _ in other.all_trials())
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("pulling", total=total)
        return Puller(store, other, lambda: progress.advance(task)).pull()


def _print_pulled(console: Console, pulled: Pulled, source: str) -> None:
    trials, reasons = pulled.trials, pulled.reasons
    copied, replaced = trials[Verdict.COPIED], trials[Verdict.REPLACED]
    here = trials[Verdict.HERE]
    size = format_bytes(pulled.bytes)
    count = len(copied) + len(replaced)
    text = f"{count} {_trials([*copied, *replaced])} copied from {source}, {size}"
    _print(console, text if count else f"nothing to copy from {source}")
    if replaced:
        _print(console, f"{len(replaced)} of them unfinished here; those are in archive/ now")
    if here:
        _print(console, f"{len(here)} {_trials(here)} here already")
    if pulled.sweeps:
        _print(console, f"sweeps added: {', '.join(pulled.sweeps)}")
    for identity in [*copied, *replaced]:
        if identity in reasons:
            _print(console, f"{identity} is copied {reasons.pop(identity)}")
    for verdict, text in _LEFT.items():
        for identity in trials[verdict]:
            _print(console, f"{identity} {text}: {reasons.pop(identity, '')}")
    for name, reason in reasons.items():
        _print(console, f"sweep {name} {reason}")
