"""What the levels of an axis do to a measure, in one sentence: from which level on it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.effects import Axis, Effect
from analysis.labels import metric_label, point_name, short_metric_label
from analysis.statistics import Estimate
from analysis.wording import NO_DIFFERENCE, quality, signed

_MOST_NAMES = 6


@dataclass(frozen=True)
class Sentence:
    """The effect of an axis on a measure.

    Attributes:
        metric: The measure.
        text: The effect, without the measure's name.
        quality: ``better`` or ``worse`` if that holds for every clear difference; else empty.
        clear: Whether any level differs clearly from the baseline.
        comparisons: Number of intervals that were judged.
    """

    metric: str
    text: str
    quality: str
    clear: bool
    comparisons: int

    @property
    def title(self) -> str:
        """The measure's name."""
        return metric_label(self.metric)

    @property
    def line(self) -> str:
        """The sentence with the measure's short name."""
        return f"{short_metric_label(self.metric)}: {self.text}"


def describe_levels(
    axis: Axis,
    baseline: Any,
    effects: Mapping[Any, Effect],
    metric: str,
    better: str,
    *,
    numeric: bool,
) -> Sentence | None:
    """Describe how a measure differs between the levels of an axis and the baseline.

    Args:
        axis: The axis.
        baseline: The baseline level.
        effects: The effect of each other level, in the axis' order.
        metric: The measure.
        better: The better direction of the measure, ``↑`` or ``↓``; empty if there is none.
        numeric: Whether the levels are ordered numbers.

    Returns:
        The sentence; None if no level has a pair.
    """
    known = {level: effect for level, effect in effects.items() if effect.change.n}
    if not known:
        return None
    names = {level: point_name([axis.name], [level]) for level in [baseline, *known]}
    judged = [level for level, effect in known.items() if effect.change.n > 1]
    clear = [level for level in judged if known[level].change.excludes_zero]
    words = _Words(names, known, baseline, better)
    if not judged:
        text = words.one_seed()
    elif not clear:
        text = words.nothing(judged, numeric=numeric)
    elif (numeric or len(judged) == 1) and _is_end(judged, clear) and words.one_direction(clear):
        text = words.from_level_on(judged, clear)
    else:
        text = words.by_direction(judged, clear)
    if judged and len(judged) < len(known):
        single = [names[level] for level in known if level not in judged]
        text += f"; one seed only at {_list(single)}"
    verdicts = {quality(known[level].change, better) for level in clear}
    only = verdicts.pop() if len(verdicts) == 1 else ""
    return Sentence(metric, text, only, bool(clear), len(judged))


def _is_end(judged: Sequence[Any], clear: Sequence[Any]) -> bool:
    """Check that the clear levels are the last ones."""
    return list(judged[-len(clear) :]) == list(clear)


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class _Words:
    """Formats the parts of a sentence."""

    names: Mapping[Any, str]
    known: Mapping[Any, Effect]
    baseline: Any
    better: str

    def one_direction(self, clear: Sequence[Any]) -> bool:
        return len({self.known[level].change.mean > 0 for level in clear}) == 1

    def one_seed(self) -> str:
        level = list(self.known)[-1]
        return f"one seed only, so no difference is clear; {self._values(level)}"

    def nothing(self, judged: Sequence[Any], *, numeric: bool) -> str:
        start = self.names[self.baseline]
        if len(judged) == 1:
            return f"{NO_DIFFERENCE} between {start} and {self._reach(judged[0])}"
        number = len(judged)
        text = f"{NO_DIFFERENCE} from {start} at any of {number} levels"
        return f"{text}; {self._values(judged[-1])}" if numeric else text

    def from_level_on(self, judged: Sequence[Any], clear: Sequence[Any]) -> str:
        start, first, last = self.names[self.baseline], clear[0], clear[-1]
        change = self.known[last].change
        verb, judged_as = self._verb(change), self._which(change)
        before = judged[: len(judged) - len(clear)]
        if before:
            text = f"{NO_DIFFERENCE} from {start} up to {self.names[before[-1]]}; {verb}"
            on = " on" if len(clear) > 1 else ""
            text += f" {'at' if not on else 'from'} {self.names[first]}{on}{judged_as}"
        elif len(clear) == 1:
            return f"{verb} from {start} to {self._reach(last)}{judged_as}"
        else:
            text = f"{verb} from {self.names[first]} on{judged_as}"
        return f"{text}; {self._values(last)}"

    def by_direction(self, judged: Sequence[Any], clear: Sequence[Any]) -> str:
        parts, start = [], self.names[self.baseline]
        for word, positive in (("higher", True), ("lower", False)):
            levels = [x for x in clear if (self.known[x].change.mean > 0) == positive]
            if levels:
                which = self._which(self.known[levels[0]].change)
                names = _list([self._with_change(level) for level in levels])
                parts.append(f"{word} than at {start}{f'{which},' if which else ''} at {names}")
        rest = [self.names[level] for level in judged if level not in clear]
        if rest:
            parts.append(f"{NO_DIFFERENCE} at {_list(rest)}")
        return "; ".join(parts)

    def _verb(self, change: Estimate) -> str:
        return "rises" if change.mean > 0 else "falls"

    def _which(self, change: Estimate) -> str:
        judged = quality(change, self.better)
        return f", which is {judged}" if judged else ""

    def _with_change(self, level: Any) -> str:
        return f"{self.names[level]} ({signed(self.known[level].change)})"

    def _reach(self, level: Any) -> str:
        effect = self.known[level]
        values = f"{effect.at_baseline.value} → {effect.at_level.value}"
        return f"{self.names[level]}, {values} ({_difference(effect.change)})"

    def _values(self, level: Any) -> str:
        effect = self.known[level]
        start, end = self.names[self.baseline], self.names[level]
        values = f"{effect.at_baseline.value} at {start}, {effect.at_level.value} at {end}"
        return f"{values} ({_difference(effect.change)})"


def _difference(change: Estimate) -> str:
    return f"{signed(change)}, n = {change.n}"
