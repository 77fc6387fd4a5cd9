"""``care store``: disk usage, garbage collection, deletion, merging."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from care.errors import CareError, ConfigError, Problem, nearest
from sweeps.disk.collect import Collector
from sweeps.disk.garbage import Findings, Garbage, GarbageSearch, Keep, Policy, What
from sweeps.disk.membership import Membership, read_membership
from sweeps.disk.units import format_bytes, parse_age
from sweeps.disk.usage import Usage, measure_usage, scan_trials
from sweeps.process.terminal import make_console
from sweeps.store import Store

_SHOWN = 5


def open_store(root: Path) -> Store:
    """Open an existing store.

    Raises:
        CareError: No store is there.
    """
    if not (root / "store.json").exists():
        raise CareError(f"{root}: no store is here; run a sweep first, or name one with --store")
    return Store(root)


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
        _print(console, f"{frees} of it can go without a number: care store gc")
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
    found = GarbageSearch(store, policy, membership).search(scan_trials(store).items())
    if not any(found.all()):
        _print(console, "Nothing to free.")
        _print_busy(console, found.busy)
        return 0
    if go:
        return _collect(store, keep, found, console)
    _print_garbage(console, found, keep)
    _print_busy(console, found.busy)
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


def _print_garbage(console: Console, found: Findings, keep: Keep) -> None:
    """Print each kind of garbage with its bytes and the number of its parts."""
    frees: Counter[What] = Counter()
    parts: Counter[What] = Counter()
    for each in found.all():
        frees[each.what] += each.frees
        parts[each.what] += _count(each)
    _print(console, f"{format_bytes(found.frees)} can go:")
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
    if what != What.CHECKPOINTS:
        return ""
    return "; encoders stay" if keep == "encoder" else "; no encoder stays"


def _print_busy(console: Console, busy: dict[str, str]) -> None:
    for name, process in list(busy.items())[:_SHOWN]:
        _print(console, f"left alone: {name}, which {process} holds")
    if len(busy) > _SHOWN:
        _print(console, f"left alone: {len(busy) - _SHOWN} more that processes hold")


def _collect(store: Store, keep: Keep, found: Findings, console: Console) -> int:
    total = len(found.trials) + len(found.sweeps) + len(found.rest)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("freeing", total=total)
        done = Collector(store, keep, lambda: progress.advance(task)).collect(found)
    _print(console, f"freed {format_bytes(done.freed)}")
    _print_busy(console, {**found.busy, **dict.fromkeys(done.busy, "another process")})
    for line in done.failed:
        _print(console, line)
    return 1 if done.failed else 0


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
