"""Pair the trials of two sides by configuration and seed, else by axis and seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.collect import read_final_values
from analysis.labels import axis_label, point_name, value_label
from analysis.levels import to_level
from analysis.side import Side, SideTrial
from care.config.loading import validate
from care.errors import CareError
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.identity import canonical, flatten
from care.trials.pinned import trial_model
from care.trials.records import ProvenanceRecord, Values
from care.trials.state import State

SIDE = "side"
"""The axis whose levels are the two sides."""

LETTERS = ("A", "B")
"""Names of the two sides."""

MISSING = "–"
"""The level of an axis that a trial's configuration lacks; it pairs with none."""

_MOST_NAMES = 6
_DIGITS = 8
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Candidate:
    """A finished trial of a side.

    Attributes:
        trial: The trial.
        settings: The fields of its configuration that can change a number.
        every: All fields of its configuration.
        provenance: Record of its last start; None without one.
        values: The last epoch's metrics and the final measures.
    """

    trial: SideTrial
    settings: dict[str, Any]
    every: dict[str, Any]
    provenance: ProvenanceRecord | None
    values: Values

    def level(self, axis: str) -> Any:
        """Return its value of an axis, from its point or its configuration."""
        if axis in self.trial.point:
            return to_level(self.trial.point[axis])
        return to_level(self.every[axis]) if axis in self.every else MISSING


@dataclass(frozen=True)
class Pair:
    """The trials of one seed at one point: several of a side that differ in other axes.

    Attributes:
        key: The levels of the axes that the pairing holds fixed.
        seed: The seed.
        sides: Trials of the first and of the second side.
    """

    key: Key
    seed: int
    sides: tuple[list[Candidate], list[Candidate]]


@dataclass
class Pairing:
    """The pairs of two sides, and everything that is not compared.

    Attributes:
        axes: The axes that the pairing holds fixed.
        pairs: The comparable pairs.
        left_out: For each reason, the points or measures that it holds for, with their seeds.
    """

    axes: list[str]
    pairs: list[Pair] = field(default_factory=list)
    left_out: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str, seed: int | None = None) -> None:
        """Record that a trial, pair or measure is not compared."""
        seeds = self.left_out.setdefault(reason, {}).setdefault(name, [])
        if seed is not None and seed not in seeds:
            seeds.append(seed)

    def remarks(self) -> list[tuple[str, str]]:
        """List (reason, the points and seeds that it holds for), the first ones by name."""
        return [(reason, _shorten(names)) for reason, names in self.left_out.items()]


def _shorten(names: dict[str, list[int]]) -> str:
    texts = []
    for name, seeds in names.items():
        listed = f"seed {', '.join(map(str, sorted(seeds)))}" if seeds else ""
        texts.append(f"{name} ({listed})" if name and listed else name or listed)
    more = len(texts) - _MOST_NAMES
    shown = "; ".join(texts[:_MOST_NAMES])
    return f"{shown}; … and {more} more" if more > 0 else shown


def pair_sides(one: Side, other: Side, by: Sequence[str] = ()) -> Pairing:
    """Pair the finished trials of two sides.

    Without ``by``, trials of equal configuration are paired first, then those with equal values of
    every axis of either side; a side without such an axis has its configuration's value.

    Args:
        one: The first side.
        other: The second side.
        by: The axes of equal values; trials that differ in others are averaged within a seed.
    """
    axes = list(by) or list(dict.fromkeys([*one.axes, *other.axes]))
    pairing = Pairing(axes)
    sides = [
        list(_candidates(side, letter, pairing))
        for side, letter in zip((one, other), LETTERS, strict=True)
    ]
    equal = [] if by else list(_pair_equal(sides, axes))
    taken = {id(each) for pair in equal for side in pair.sides for each in side}
    rest = [[each for each in side if id(each) not in taken] for side in sides]
    candidates = [*equal, *_pair_levels(rest, axes, pairing)]
    for pair in _complete(candidates, pairing) if by else candidates:
        reason = _why_not(pair)
        if reason:
            pairing.leave_out(reason, point_name(axes, pair.key), pair.seed)
        else:
            pairing.pairs.append(pair)
    return pairing


def _candidates(side: Side, letter: str, pairing: Pairing) -> Iterator[Candidate]:
    """Yield the finished trials of a side, each once; record the others."""
    seen: set[tuple[str, Key]] = set()
    for trial in side.trials:
        key = tuple(to_level(value) for value in trial.point.values())
        if (trial.trial_id, key) in seen:
            continue
        seen.add((trial.trial_id, key))
        name = point_name(trial.point, key)
        if trial.state != State.FINISHED:
            pairing.leave_out(_describe_state(trial, letter), name, trial.seed)
            continue
        try:
            yield _read(trial)
        except DamagedFileError as error:
            reason = f"damaged in {letter}: {error.path.name} {error.problem}"
            pairing.leave_out(reason, name, trial.seed)


def _describe_state(trial: SideTrial, letter: str) -> str:
    """Describe why a trial has no result; of a stale one, name the version that compares it."""
    why = f": {trial.reason}" if trial.reason else ""
    advice = ""
    if trial.state == State.STALE:
        with contextlib.suppress(DamagedFileError):
            record = TrialFolder(trial.folder).read_provenance()
            advice = f" (SWEEP@{record.code_version} compares it)" if record else ""
    return f"{trial.state.value} in {letter}{why}{advice}"


def _read(trial: SideTrial) -> Candidate:
    folder = TrialFolder(trial.folder)
    record = folder.read_trial()
    config = {} if record is None else record.config
    every = dict(flatten({name: part for name, part in config.items() if name != "runtime"}))
    settings = every
    with contextlib.suppress(CareError):  # written by another version: as it was written
        settings = dict(
            flatten(canonical(validate(trial_model(config), config, str(trial.folder))))
        )
    values = read_final_values(folder)
    return Candidate(trial, settings, every, folder.read_provenance(), values)


def _pair_equal(sides: Sequence[list[Candidate]], axes: list[str]) -> Iterator[Pair]:
    """Pair trials of equal configuration; an axis of one side only has that side's level."""
    others: dict[str, Candidate] = {}
    for each in sides[1]:
        others.setdefault(each.trial.trial_id, each)
    used: set[str] = set()
    for each in sides[0]:
        identity = each.trial.trial_id
        if identity in others and identity not in used:
            used.add(identity)
            other = others[identity]
            levels = [(each.level(axis), other.level(axis)) for axis in axes]
            key = tuple(b if a == MISSING else a for a, b in levels)
            yield Pair(key, each.trial.seed, ([each], [other]))


def _pair_levels(
    sides: Sequence[list[Candidate]], axes: list[str], pairing: Pairing
) -> Iterator[Pair]:
    groups: list[dict[tuple[Key, int], list[Candidate]]] = [{}, {}]
    for side, group in zip(sides, groups, strict=True):
        for each in side:
            key = tuple(each.level(axis) for axis in axes)
            group.setdefault((key, each.trial.seed), []).append(each)
    unfinished = {name for names in pairing.left_out.values() for name in names}
    for group, other, letter in zip(groups, reversed(groups), reversed(LETTERS), strict=True):
        for key, seed in group:
            known = {a: level for a, level in zip(axes, key, strict=True) if level != MISSING}
            name = point_name(known, known.values())
            if MISSING in key:
                lacking = axis_label(axes[key.index(MISSING)])
                reason = f"has no {lacking}, which pairs share (--by names other axes)"
                pairing.leave_out(reason, name, seed)
            elif (key, seed) not in other and name not in unfinished:
                pairing.leave_out(f"without a counterpart in {letter}", name, seed)
    for key, seed in groups[0]:
        if MISSING not in key and (key, seed) in groups[1]:
            yield Pair(key, seed, (groups[0][key, seed], groups[1][key, seed]))


def _complete(pairs: Iterable[Pair], pairing: Pairing) -> Iterator[Pair]:
    """Yield the pairs whose sides have every setting that other seeds have at the point.

    Otherwise a seed's mean over settings would be another mixture than that of the next seed.
    """
    by_key: dict[Key, list[Pair]] = {}
    for pair in pairs:
        by_key.setdefault(pair.key, []).append(pair)
    for key, group in by_key.items():
        wanted = [
            {_setting(each) for pair in group for each in pair.sides[side]} for side in (0, 1)
        ]
        for pair in group:
            lacking = [
                letter
                for side, letter in enumerate(LETTERS)
                if {_setting(each) for each in pair.sides[side]} != wanted[side]
            ]
            if lacking:
                reason = f"lacks settings in {lacking[0]} that other seeds have"
                pairing.leave_out(reason, point_name(pairing.axes, key), pair.seed)
            else:
                yield pair


def _setting(candidate: Candidate) -> Key:
    return tuple(to_level(value) for value in candidate.trial.point.values())


def _why_not(pair: Pair) -> str:
    """Explain why the trials of a pair are not comparable; empty if they are."""
    for one in pair.sides[0]:
        for other in pair.sides[1]:
            if one.trial.folder.resolve() == other.trial.folder.resolve():
                return "A and B have one trial, so there are no two to compare"
            if reason := _different_data(one, other) or _different_precision(one, other):
                return reason
    return ""


def _different_data(one: Candidate, other: Candidate) -> str:
    """Name the data set whose files differ although the configured data are the same."""
    if one.provenance is None or other.provenance is None:
        return ""
    for name, before in one.provenance.data.items():
        after = other.provenance.data.get(name, before)
        if before != after and _configured(one, name) == _configured(other, name):
            return f"other data: {name}, fingerprint {before[:_DIGITS]}… and {after[:_DIGITS]}…"
    return ""


def _configured(candidate: Candidate, name: str) -> dict[str, Any]:
    prefix = "data." if name.partition(".")[0] == "data" else "evaluation.transfer"
    return {field: value for field, value in candidate.every.items() if field.startswith(prefix)}


def _different_precision(one: Candidate, other: Candidate) -> str:
    """Name the precisions of trials that were configured alike and computed otherwise."""
    precisions = [each.provenance and each.provenance.precision for each in (one, other)]
    setting = "training.precision"
    chosen = one.every.get(setting) != other.every.get(setting)
    if None in precisions or precisions[0] == precisions[1] or chosen:
        return ""
    return f"another precision: {precisions[0]} and {precisions[1]}"


def list_differing(pairing: Pairing) -> list[tuple[str, str, str]]:
    """List (field, values of the first side, values of the second) of settings that differ.

    Settings are compared within each pair.
    """
    values: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for pair in pairing.pairs:
        for one in pair.sides[0]:
            for other in pair.sides[1]:
                for name in {**one.settings, **other.settings}:
                    if one.settings.get(name) != other.settings.get(name):
                        columns = values.setdefault(name, ({}, {}))
                        for column, each in zip(columns, (one, other), strict=True):
                            column[value_label(each.settings.get(name))] = None
    values.pop("seed", None)
    return [(name, *(", ".join(column) for column in both)) for name, both in values.items()]  # type: ignore[misc]


_FACTS = ("code_version", "git_commit", "device", "device_name", "threads", "processes")


def list_circumstances(pairing: Pairing) -> list[tuple[str, str, str]]:
    """List (fact, values of the first side, values of the second) of how the trials were run."""
    rows = []
    tables = [
        _facts(each.provenance for pair in pairing.pairs for each in pair.sides[side])
        for side in (0, 1)
    ]
    for name in {**tables[0], **tables[1]}:
        one, other = (table.get(name, {}) for table in tables)
        if set(one) != set(other):
            rows.append((name, ", ".join(one) or MISSING, ", ".join(other) or MISSING))
    return rows


def _facts(records: Iterable[ProvenanceRecord | None]) -> dict[str, dict[str, None]]:
    facts: dict[str, dict[str, None]] = {}
    for record in records:
        if record is not None:
            named = {name.replace("_", " "): getattr(record, name) for name in _FACTS}
            named |= {f"{name} version": value for name, value in record.versions.items()}
            for name, value in named.items():
                if value:
                    facts.setdefault(name, {})[str(value)] = None
    return facts
