"""Importance of a space's axes by Optuna's evaluators, for :mod:`analysis.importance`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from analysis.importance import Axes, Draw, Method
from sweeps.spec.expansion import Space
from sweeps.tune.study_space import StudySpace, parameter

_TREES, _TREES_OF_RESAMPLE = 64, 8
_SEED = 0


class StudyImportance:
    """Computes importances on studies that are made of points of a space.

    Args:
        space: The sweep's space.
    """

    def __init__(self, space: Space) -> None:
        self._space = StudySpace(space)
        self._names = {one.axes: parameter(one) for one in space.dimensions}

    def __call__(
        self,
        method: Method,
        points: Sequence[Mapping[str, Any]],
        axes: Sequence[Axes],
        draws: Sequence[Draw],
    ) -> list[dict[Axes, float]]:
        """Return the importance of each of ``axes`` for each draw."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        copies = max(int(draw.counts.max()) for draw in draws)
        study = self._make_study(points, copies)
        names = {one: self._names[one] for one in axes}
        found = []
        for index, draw in enumerate(draws):
            evaluator = _make_evaluator(method, _TREES_OF_RESAMPLE if index else _TREES)
            shares = _evaluate(study, copies, draw, evaluator, list(names.values()), method)
            found.append({one: float(shares[name]) for one, name in names.items()})
        return found

    def _make_study(self, points: Sequence[Mapping[str, Any]], copies: int) -> optuna.Study:
        """Make a study in which trial number n is a copy of point n modulo their number."""
        trials = []
        for point in points:
            params = self._space.params(point)
            scaled = {
                name: _on_sampled_scale(value, self._space.distributions[name])
                for name, value in params.items()
            }
            trials.append(
                optuna.trial.create_trial(
                    params={name: value for name, (value, _) in scaled.items()},
                    distributions={name: one for name, (_, one) in scaled.items()},
                    value=0.0,
                )
            )
        return optuna.create_study(storage=_SharedTrials(trials, copies))


class _SharedTrials(InMemoryStorage):
    """A storage with copies of trials that share their parameters.

    Optuna's own storage copies each trial deeply, which took half of the time of an importance.

    Args:
        trials: The trials.
        copies: How often each is in the study.
    """

    def __init__(self, trials: Sequence[FrozenTrial], copies: int) -> None:
        super().__init__()
        self._shared = [
            FrozenTrial(
                number=number,
                trial_id=number,
                state=TrialState.COMPLETE,
                value=trial.value,
                datetime_start=trial.datetime_start,
                datetime_complete=trial.datetime_complete,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={},
                system_attrs={},
                intermediate_values={},
            )
            for number, trial in enumerate([*trials] * copies)
        ]

    def get_all_trials(self, *_: Any, **__: Any) -> list[FrozenTrial]:
        """Return every trial, which Optuna's evaluators only read."""
        return self._shared


def _on_sampled_scale(value: Any, distribution: BaseDistribution) -> tuple[Any, BaseDistribution]:
    """Replace a parameter on a log scale by its logarithm.

    Optuna's fANOVA averages over the parameter itself: of an interval from 0.001 to 1, nine tenths
    of the weight would lie above 0.1, where only a third of the points are.
    """
    if isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log:
        low, high = math.log(distribution.low), math.log(distribution.high)
        return min(max(math.log(value), low), high), FloatDistribution(low, high)
    return value, distribution


def _make_evaluator(method: Method, trees: int) -> BaseImportanceEvaluator:
    if method.name == "fANOVA":
        return FanovaImportanceEvaluator(n_trees=trees, seed=_SEED)
    return PedAnovaImportanceEvaluator(target_quantile=method.top)


def _evaluate(
    study: optuna.Study,
    copies: int,
    draw: Draw,
    evaluator: BaseImportanceEvaluator,
    names: list[str],
    method: Method,
) -> dict[str, float]:
    # Optuna leaves out trials without a finite value.
    counted = np.arange(copies)[:, np.newaxis] < draw.counts
    values = np.where(counted, draw.values, math.nan).ravel().tolist()

    with warnings.catch_warnings():
        # That it prefers small values, which these are made for, and that a regime has few points.
        warnings.simplefilter("ignore")
        return get_param_importances(
            study,
            evaluator=evaluator,
            params=names,
            target=lambda trial: values[trial.number],
            normalize=method.name != "fANOVA",
        )
