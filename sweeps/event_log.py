"""The log of the decisions of search and scheduler: ``events.jsonl`` of a sweep.

It also records the comparisons that give points more seeds.

A ``question`` line starts a generation of the log; the lines after it belong to that question. Only
the last generation counts, and earlier ones stay in the file. A decision is logged before it takes
effect. Values of finished trials are not logged: they are read from the store at every start, so
that a trial that was deleted, archived or made stale is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from analysis.labels import point_name
from care.errors import CareError
from care.system.claim import Claim, holder
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder, now
from care.trials.records import Values
from sweeps.question import (
    Difference,
    OtherQuestionError,
    Question,
    differences,
    is_searched,
    question_of,
)
from sweeps.spec.sweep import Sweep
from sweeps.store import EVENTS_ADVICE, SweepFolder


@dataclass(frozen=True)
class Suggestion:
    """A point that Optuna chose.

    Attributes:
        number: Its index in the study, from 0.
        point: Dotted axis to value.
        generation: The sampler's generation; None for a sampler without generations.
        parents: Numbers of the points that the generation was made from; only in the line that
            starts a generation.
    """

    number: int
    point: dict[str, Any]
    generation: int | None = None
    parents: tuple[int, ...] = ()

    def record(self) -> dict[str, Any]:
        """Convert to the line of the log."""
        line = {"event": "suggest", "number": self.number, "point": self.point}
        if self.generation is not None:
            line["generation"] = self.generation
        return {**line, "parents": list(self.parents)} if self.parents else line


@dataclass(frozen=True)
class RungEntry:
    """A trial's value at one of ASHA's rungs, and the decision.

    Attributes:
        trial_id: The trial.
        epoch: Completed epochs.
        value: The sweep's metric after that epoch.
        stopped: Whether the trial was ended at this rung.
        created: Creation time of the trial's folder. A folder that was deleted or archived and
            created again has another time, so that old rungs do not apply to it.
    """

    trial_id: str
    epoch: int
    value: float
    stopped: bool
    created: str = ""

    def record(self) -> dict[str, Any]:
        """Convert to the line of the log."""
        return {"event": "rung", **vars(self)}


@dataclass(frozen=True)
class SeedEntry:
    """The comparison of a point with the best one before a further seed, and the decision.

    Attributes:
        group_id: The point's identity.
        seed: The seed that was to start.
        point: Dotted axis to value.
        seeds: Seeds that both points have; without another point, the seeds of the point.
        values: The point's values of the sweep's metric with these seeds.
        best: The best other point; None without one that has enough of the seeds.
        best_values: Its values with the same seeds.
        p: One-sided p-value of Wilcoxon's test that the point is worse; None without a best point.
        stopped: Whether the point gets no further seed.
        running: Seeds that had started before and are trained to their end.
        trials: Creation time of the folder of each of the point's trials, by identity. If one was
            deleted or archived since, the entry does not apply any more.
    """

    group_id: str
    seed: int
    point: dict[str, Any]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    best: dict[str, Any] | None
    best_values: tuple[float, ...]
    p: float | None
    stopped: bool
    running: tuple[int, ...]
    trials: dict[str, str]

    def record(self) -> dict[str, Any]:
        """Convert to the line of the log."""
        return {"event": "seed", **vars(self)}

    @property
    def reason(self) -> str:
        """Why the point was stopped: ``worse than λ=0.1, Wilcoxon p = 0.06``."""
        best = self.best or {}
        return f"worse than {point_name(best, best.values())}, Wilcoxon p = {self.p:.2g}"


@dataclass(frozen=True)
class WarmStartLine:
    """The points of other sweeps that a search starts from; it precedes the first suggestion.

    Attributes:
        points: Dotted axis to value, each.
    """

    points: tuple[dict[str, Any], ...]

    def record(self) -> dict[str, Any]:
        """Convert to the line of the log."""
        return {"event": "warm_start", "points": list(self.points)}


@dataclass(frozen=True)
class QuestionLine:
    """The line of the log that starts a generation, or extends the current one to more trials.

    Attributes:
        question: The question of the decisions after it.
        grown: Whether the decisions before it stay valid: they are about fewer trials.
    """

    question: Question
    grown: bool

    def record(self) -> dict[str, Any]:
        """Convert to the line of the log."""
        return {"event": "question", "at": now(), **asdict(self)}


Line = QuestionLine | WarmStartLine | Suggestion | RungEntry | SeedEntry
_KINDS: dict[str, TypeAdapter[Any]] = {
    "question": TypeAdapter(QuestionLine),
    "warm_start": TypeAdapter(WarmStartLine),
    "suggest": TypeAdapter(Suggestion),
    "rung": TypeAdapter(RungEntry),
    "seed": TypeAdapter(SeedEntry),
}
_OLDER_KINDS = ("value",)
_RECORDS = ("seeds",)
"""Lines that are no decision: they follow from the trials' values (:mod:`sweeps.point_seeds`)."""


@dataclass(frozen=True)
class Decisions:
    """The last generation of a sweep's log.

    Attributes:
        question: The question of all decisions; None for an empty log.
        suggestions: Points in the order of their numbers.
        rungs: Rung entries, oldest first.
        unknown: Whether an older version wrote decisions without their question.
        warm_start: The points that the search started from; None if none were looked for.
        seeds: Comparisons of points before their further seeds, oldest first.
    """

    question: Question | None = None
    suggestions: tuple[Suggestion, ...] = ()
    rungs: tuple[RungEntry, ...] = ()
    unknown: bool = False
    warm_start: tuple[dict[str, Any], ...] | None = None
    seeds: tuple[SeedEntry, ...] = ()

    def stopped(self) -> Mapping[str, RungEntry]:
        """Return the trials that the scheduler ended early, by identity."""
        return {entry.trial_id: entry for entry in self.rungs if entry.stopped}

    def differences(self, sweep: Sweep) -> list[Difference]:
        """List the fields in which a sweep's question differs; empty for an empty log."""
        if self.unknown:
            began = "a version of care that did not record its question"
            return [Difference("name", began, sweep.spec.name)]
        return [] if self.question is None else differences(self.question, question_of(sweep))


def created(folder: TrialFolder) -> str:
    """Return the creation time of a trial's folder; empty if it is missing or damaged."""
    try:
        trial = folder.read_trial()
    except DamagedFileError:
        return ""
    return trial.created if trial else ""


def epochs_to_replay(folder: TrialFolder, epochs: int) -> list[Values]:
    """Read the epochs to report to a scheduler again.

    The last one is reported with the final measures, also if a process was killed before it had
    them: the scheduler would stop a whole trial that has no measures yet.

    Args:
        folder: The trial.
        epochs: Number of epochs that it trains for.
    """
    return [line for line in folder.read_metrics() if line["epoch"] < epochs]


def is_of(entry: RungEntry, folder: TrialFolder) -> bool:
    """Check that an entry is about the present content of a trial's folder."""
    return bool(entry.created) and entry.created == created(folder)


def present_seed_entries(decisions: Decisions, trials: Path) -> Iterator[SeedEntry]:
    """Yield the comparisons of points whose trials are still those that were compared.

    Args:
        decisions: The sweep's decisions.
        trials: The folder of the trials' folders.
    """
    known: dict[str, str] = {}
    for entry in decisions.seeds:
        for identity in entry.trials.keys() - known.keys():
            known[identity] = created(TrialFolder(trials / identity))
        if all(made and known[identity] == made for identity, made in entry.trials.items()):
            yield entry


def stopped_points(decisions: Decisions, trials: Path) -> dict[str, SeedEntry]:
    """Return the points that get no further seed, by identity, with the reason.

    Args:
        decisions: The sweep's decisions.
        trials: The folder of the trials' folders.
    """
    entries = present_seed_entries(decisions, trials)
    return {entry.group_id: entry for entry in entries if entry.stopped}


def read_decisions(folder: SweepFolder) -> Decisions:
    """Read the last generation of a sweep's log.

    Raises:
        DamagedFileError: A line is not of this format.
    """
    question, unknown = None, False
    suggestions: list[Suggestion] = []
    rungs: list[RungEntry] = []
    seeds: list[SeedEntry] = []
    warm_start = None
    for line in _lines(folder):
        if isinstance(line, QuestionLine):
            question, unknown = line.question, False
            if not line.grown:
                suggestions, rungs, seeds, warm_start = [], [], [], None
        elif question is None:
            unknown = True
        elif isinstance(line, Suggestion):
            suggestions.append(line)
        elif isinstance(line, WarmStartLine):
            warm_start = line.points
        elif isinstance(line, SeedEntry):
            seeds.append(line)
        elif line is not None:
            rungs.append(line)
    decided = tuple(suggestions), tuple(rungs), unknown, warm_start, tuple(seeds)
    return Decisions(question, *decided)


def _lines(folder: SweepFolder) -> Iterator[Line | None]:
    """Yield the log's lines; None for a kind that only older versions wrote.

    Raises:
        DamagedFileError: A line is not of this format; the other lines depend on it.
    """
    for number, event in enumerate(folder.events(), start=1):
        name = event.get("event")
        if name in _RECORDS:
            continue
        if name in _OLDER_KINDS:
            yield None
            continue
        try:
            yield _KINDS[str(name)].validate_python(event)
        except (KeyError, ValidationError) as error:
            problem = f"line {number} is no {name!r} event"
            if str(name) not in _KINDS:
                problem = f"line {number} has event {name!r}, which this version does not know"
            path = folder.path / "events.jsonl"
            raise DamagedFileError(path, problem, EVENTS_ADVICE) from error


def begin(folder: SweepFolder, sweep: Sweep) -> None:
    """Log the question of a sweep that starts, unless the log has it.

    The caller holds the sweep's claim.

    Raises:
        OtherQuestionError: The log's question is another one.
    """
    if not is_searched(sweep):
        return
    decisions = read_decisions(folder)
    refuse(sweep, decisions.differences(sweep), f"care sweep run {sweep.source}")
    question = question_of(sweep)
    if question != decisions.question:
        folder.log(QuestionLine(question, grown=decisions.question is not None).record())


def restart(folder: SweepFolder, sweep: Sweep) -> None:
    """Start a new generation of the log; nothing is deleted.

    Raises:
        CareError: A driver runs the sweep.
    """
    claim = Claim.take(folder.path)
    if claim is None:
        raise CareError(
            f"{sweep.spec.name} is being run by {holder(folder.path)}: its search cannot be "
            "restarted meanwhile. End that run, then repeat the command."
        )
    with claim:
        if folder.events():
            line = QuestionLine(question_of(sweep), grown=False)
            SweepFolder(folder.path, claim).log(line.record())


def refuse(sweep: Sweep, differing: list[Difference], command: str) -> None:
    """Refuse a sweep whose log is about another question.

    Args:
        sweep: The sweep.
        differing: The fields that differ; nothing is refused if there are none.
        command: The command that starts the sweep.

    Raises:
        OtherQuestionError: The questions differ; names each field with both values.
    """
    if differing:
        raise OtherQuestionError(sweep, differing, describe_ways_to_continue(sweep, command))


def describe_ways_to_continue(sweep: Sweep, command: str) -> str:
    """Describe the two ways to continue with a sweep whose log is about another question."""
    return (
        "Earlier decisions do not apply to it. Two ways to continue:\n"
        f"  give the sweep a new 'name' in {sweep.source}, or\n"
        f"  {command} --restart-search\n"
        "      which restarts the search; finished trials that fit are used, nothing is deleted"
    )
