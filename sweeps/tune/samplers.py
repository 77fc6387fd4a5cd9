"""Optuna's samplers, each a function of the points before it and of (seed, number).

A sampler lives for one suggestion, so no generator and no model runs on between two of them.
CMA-ES and NSGA-II also choose by generation. Which generation a point belongs to, and which points
a generation was made from, depend on the order in which trials ended; so both are logged with the
suggestion (:class:`sweeps.event_log.Suggestion`), and the generations are rebuilt from that.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from care.system.rng import torch_seed
from sweeps.spec.search import SearchConfig

Space = Mapping[str, BaseDistribution]
_POPULATION = 20
_LEAST_SOURCE = 10


@dataclass
class Generations:
    """The generations of a search.

    Attributes:
        of_point: Number of a point in the study to its generation.
        parents: Generation to the numbers of the points that it was made from.
    """

    of_point: dict[int, int] = field(default_factory=dict)
    parents: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The last generation that was started."""
        return max(self.of_point.values(), default=0)

    def add(self, number: int, generation: int | None, parents: Collection[int]) -> None:
        """Enter a point that was suggested."""
        if generation is not None:
            self.of_point[number] = generation
        if generation is not None and parents:
            self.parents[generation] = tuple(parents)

    def complete(self, study: Study, generation: int) -> list[FrozenTrial]:
        """List the points of a generation that have values, in the order of their numbers."""
        return [
            trial for trial in _complete(study) if self.of_point.get(trial.number) == generation
        ]

    def parents_of(self, study: Study, generation: int) -> list[FrozenTrial]:
        """List the points that a generation was made from, as far as they have values."""
        numbers = set(self.parents.get(generation, ()))
        return [trial for trial in _complete(study) if trial.number in numbers]


def _complete(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


class LoggedNSGAII(optuna.samplers.NSGAIISampler):
    """NSGA-II whose generations are those of the log, not of Optuna's storage."""

    def __init__(self, generations: Generations, population: int, seed: int) -> None:
        super().__init__(
            population_size=population,
            seed=seed,
            mutation_prob=None,
            crossover_prob=0.9,
            swapping_prob=0.5,
        )
        self._generations, self._size = generations, population

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """Return a point's generation; that of a new one is the next if the last is full."""
        known = self._generations.of_point.get(trial.number)
        if known is not None:
            return known
        newest = self._generations.newest
        full = len(self._generations.complete(study, newest)) >= self._size
        self._generations.of_point[trial.number] = newest + full
        return newest + full

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """List the points of a generation that have values."""
        return self._generations.complete(study, generation)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """List the parents of a generation; the first has none, and its points are random."""
        if generation == 0:
            return []
        if generation not in self._generations.parents:
            chosen = self.select_parent(study, generation)
            self._generations.parents[generation] = tuple(trial.number for trial in chosen)
        parents = self._generations.parents_of(study, generation)
        return parents if len(parents) > 1 else []  # a cross-over needs two


class LoggedCMAES(optuna.samplers.CmaEsSampler):
    """CMA-ES whose distribution is computed from the log's generations at every suggestion.

    Optuna keeps it as a pickle in its storage, which a log of plain text must not hold.

    Args:
        generations: Of the search.
        space: The intervals of the space; the other axes are sampled at random.
        population: Points of a generation.
        seed: Of this suggestion.
        source: Points of other sweeps from which the first distribution is estimated.
    """

    def __init__(
        self,
        generations: Generations,
        space: Space,
        population: int,
        seed: int,
        source: Sequence[FrozenTrial] = (),
    ) -> None:
        super().__init__(
            seed=seed,
            popsize=population,
            n_startup_trials=0,
            warn_independent_sampling=False,
            source_trials=list(source) or None,
        )
        self._generations, self._intervals, self._size = generations, space, population
        self._direction = StudyDirection.MINIMIZE

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the intervals, also before a point has a value."""
        return dict(self._intervals)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw a point of the last generation; it starts the next if the last is full."""
        newest, self._direction = self._generations.newest, study.direction
        full = self._generations.complete(study, newest)[: self._size]
        if len(full) == self._size:
            newest += 1
            self._generations.parents[newest] = tuple(trial.number for trial in full)
        self._generations.of_point[trial.number] = newest
        point: dict[str, Any] = super().sample_relative(study, trial, search_space)
        return point

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        """Compute the distribution of the last generation from those before it."""
        transform = _SearchSpaceTransform(dict(self._intervals), transform_0_1=True)
        optimizer = self._init_optimizer(transform, self._direction)
        sign = 1 if self._direction == StudyDirection.MINIMIZE else -1
        values = {trial.number: trial for trial in completed_trials}
        for generation in range(1, self._generations.newest + 1):
            numbers = self._generations.parents.get(generation, ())
            parents = [values[number] for number in numbers if number in values]
            # A generation with a point that was deleted or is stale is left out until it is
            # trained again.
            if len(parents) == self._size:
                optimizer.tell(
                    [(transform.transform(one.params), sign * one.values[0]) for one in parents]
                )
        return optimizer

    def _get_solution_trials(self, trials: list[FrozenTrial], generation: int) -> list[FrozenTrial]:
        """Return nothing: the distribution already knows every full generation."""
        return []


class LoggedTPE(optuna.samplers.TPESampler):
    """TPE that knows of a running point what the log knows.

    Optuna keeps what it drew for axes that turned out not to exist at the point, which no log has.
    """

    def _get_params(self, trial: FrozenTrial, study: Study) -> dict[str, Any]:
        return trial.params


class NumberedQMC(optuna.samplers.QMCSampler):
    """A Sobol sequence in which a suggestion has the place of its number.

    Optuna counts in its storage, and draws the first point from no sequence.
    """

    def __init__(self, space: Space, number: int, seed: int) -> None:
        super().__init__(
            qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False
        )
        self._all_axes, self._number = space, number

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space, so that an axis has the same column at every point."""
        return dict(self._all_axes)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number


def make_sampler(
    search: SearchConfig,
    space: Space,
    number: int,
    generations: Generations,
    earlier: Sequence[FrozenTrial] = (),
) -> optuna.samplers.BaseSampler:
    """Build the sampler of one suggestion.

    Args:
        search: Its name and settings.
        space: Axis to distribution.
        number: Index of the suggestion.
        generations: Those so far; the sampler enters the new point.
        earlier: Points of other sweeps that the search started from; the study has them, too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _make_sampler(search, space, number, generations, earlier)


def _make_sampler(
    search: SearchConfig,
    space: Space,
    number: int,
    generations: Generations,
    earlier: Sequence[FrozenTrial],
) -> optuna.samplers.BaseSampler:
    seed = torch_seed(search.seed, "suggestion", number) % 2**32
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if search.sampler == "qmc":
        return NumberedQMC(space, number, torch_seed(search.seed, "sequence") % 2**32)
    if search.sampler == "gp":
        return optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=search.startup, warn_independent_sampling=False
        )
    if search.sampler == "nsga2":
        return LoggedNSGAII(generations, search.population or _POPULATION, seed)
    if search.sampler == "cmaes":
        intervals = {name: axis for name, axis in space.items() if _is_interval(axis)}
        size = search.population or 4 + int(3 * np.log(len(intervals)))
        return LoggedCMAES(generations, intervals, size, seed, _on(intervals, earlier))
    # Optuna's defaults change between versions.
    return LoggedTPE(
        seed=seed,
        n_startup_trials=search.startup,
        n_ei_candidates=24,
        multivariate=search.multivariate,
        group=search.group,
        constant_liar=True,
    )


def _on(space: Space, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Restrict points with values to some axes, for the first distribution of CMA-ES.

    It is estimated from the best tenth of them; fewer than ten give none.
    """
    known = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(known) < _LEAST_SOURCE:
        return []
    return [
        optuna.trial.create_trial(
            params={name: trial.params[name] for name in space},
            distributions=dict(space),
            values=trial.values,
        )
        for trial in known
    ]


def _is_interval(axis: BaseDistribution) -> bool:
    return not isinstance(axis, CategoricalDistribution) and not axis.single()
