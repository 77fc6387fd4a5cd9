"""Sweep files that are wrong: what the user reads about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from care.config import TrialConfig
from care.errors import ConfigError, Problem
from care.trials.records import SweepRecord
from sweeps.plan import make_plan
from sweeps.spec.sweep import Sweep, load_sweep, restore_sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, load
from tests.helpers.paths import ROOT

Refused = Callable[..., Problem]
AXIS = f"axes.{WEIGHT}"
BATCH, SPLIT = "training.batch_size", "objective.equivariance.split"
TWO = [{"name": "encoder/probe_accuracy"}, {"name": "head/gamma", "mode": "min"}]
SHARED = "objective.equivariance.shared_views"


# changes, field, value, part of what is allowed, nearest name
BAD_SWEEPS: list[tuple[dict[str, Any], str, Any, str, str | None]] = [
    # unknown key, missing key
    ({"axis": {}}, "axis", {}, "there are axes, budget", "axes"),
    ({"search": {"nam": "grid"}}, "search.nam", "grid", "search has group, multivariate, name", "name"),
    ({"axes": None}, "axes", None, "must be given", None),
    ({"name": None}, "name", None, "must be given", None),
    # wrong type
    ({"axes": [WEIGHT]}, "axes", [WEIGHT], "allowed: a valid dictionary", None),
    ({"name": 7}, "name", 7, "allowed: a valid string", None),
    ({"name": "Upper Case"}, "name", "Upper Case", "lower-case letters", None),
    ({"name": "../up"}, "name", "../up", "lower-case letters", None),
    ({"search": "optuna"}, "search", "optuna", "a mapping with group, multivariate, name", None),
    # axes
    ({"axes": {WEIGHT: []}}, AXIS, [], "allowed: a list of one value or more", None),
    ({"axes": {WEIGHT: None}}, AXIS, None, "allowed: a list of one value or more", None),
    ({"axes": {WEIGHT: 0.1}}, AXIS, 0.1, "allowed: a list of one value or more", None),
    ({"axes": {WEIGHT: [0.1, 0.2, 0.1]}}, AXIS, [0.1, 0.2, 0.1], "allowed: each value once", None),
    ({"axes": {WEIGHT: [0, 0.0]}}, AXIS, [0, 0.0], "allowed: each value once", None),
    ({"axes": {"seed": [0, 1]}}, "axes.seed", [0, 1], "a list of their own, 'seeds'", None),
    ({"axes": {"seed.more": [1]}}, "axes.seed.more", [1], "a list of their own, 'seeds'", None),
    ({"axes": {"runtime.threads": [1, 2]}}, "axes.runtime.threads", [1, 2], "change a number",
     None),
    ({"axes": {"objective.equivariance": [{"weight": 0.1}], WEIGHT: [0, 1]}}, AXIS, [0, 1],
     "'objective.equivariance' is an axis", None),
    ({"axes": {}, "search": {"name": "optuna"}}, "search.name", "optuna", "one axis or more",
     None),
    # intervals
    ({"axes": {WEIGHT: {"low": 0, "high": 1}}}, AXIS, {"low": 0, "high": 1},
     "an interval needs 'search: {name: optuna}'", None),
    ({"axes": {WEIGHT: {"low": 1, "high": 0}}, "search": {"name": "optuna"}}, AXIS,
     {"low": 1, "high": 0}, "allowed: low < high", None),
    ({"axes": {WEIGHT: {"low": 0, "high": 1, "log": True}}, "search": {"name": "optuna"}}, AXIS,
     {"low": 0, "high": 1, "log": True}, "allowed: low > 0 on a log scale", None),
    ({"axes": {WEIGHT: {"low": 0, "hihg": 1}}, "search": {"name": "optuna"}},
     f"{AXIS}.hihg", 1, "there are high, log, low", "high"),
    ({"axes": {WEIGHT: {"low": 0, "high": 1, "step": 0.3}}}, AXIS,
     {"low": 0, "high": 1, "step": 0.3}, "divides high - low; these steps end at 0.9", None),
    ({"axes": {WEIGHT: {"low": 0, "high": 1, "step": -0.5}}}, AXIS,
     {"low": 0, "high": 1, "step": -0.5}, "allowed: step > 0", None),
    ({"axes": {WEIGHT: {"low": 1, "high": 2, "step": 1, "log": True}}}, AXIS,
     {"low": 1, "high": 2, "step": 1, "log": True}, "step or log, not both", None),
    ({"axes": {WEIGHT: {"low": 0, "high": 1e9, "step": 1}}}, f"{AXIS}.step", 1,
     "at most 20000 steps; these are 1000000001", None),
    ({"axes": {"training.epochs": {"low": 1, "high": 2.5, "step": 0.5}}},
     "axes.training.epochs.high", 2.5, "an integer, as the field holds integers", None),
    ({"axes": {"training.epochs": {"low": 1, "high": 2.5}}, "search": {"name": "optuna"}},
     "axes.training.epochs.high", 2.5, "an integer, as the field holds integers", None),
    ({"axes": {SHARED: {"low": 0, "high": 1, "step": 1}}}, f"axes.{SHARED}",
     {"low": 0, "high": 1, "step": 1}, "a list of values, as the field holds true or false", None),
    ({"axes": {"objective.name": {"low": 0, "high": 1}}, "search": {"name": "random"}},
     "axes.objective.name", {"low": 0, "high": 1}, "as the field holds text", None),
    ({"axes": {"training.epochs": {"low": 1, "high": 3}}, "search": {"name": "sobol", "trials": 4}},
     "search.trials", 4, "at most 3 points", None),
    ({"axes": {}, "search": {"name": "random"}}, "search.name", "random", "one axis or more", None),
    # conditions
    ({"axes": {SPLITS: {"values": [4], "when": {WEIGHT: 0.3}}, WEIGHT: [0, 0.1]}},
     f"axes.{SPLITS}.when.{WEIGHT}", 0.3, "has in this sweep (0, 0.1)", None),
    ({"axes": {SPLITS: {"values": [4], "when": {"objective.name": "moco"}}}},
     f"axes.{SPLITS}.when.objective.name", "moco", "has in this sweep (simclr)", None),
    ({"axes": {SPLITS: {"values": [4], "when": {"objective.nam": "moco"}}}},
     f"axes.{SPLITS}.when.objective.nam", "moco", "no such field", "objective.name"),
    ({"axes": {SPLITS: {"values": [4], "when": {WEIGHT: 0.3, "training.epochs": 3}},
               WEIGHT: {"values": [0.3], "when": {"training.epochs": 4}},
               "training.epochs": [3, 4]}},
     f"axes.{SPLITS}.when", {WEIGHT: 0.3, "training.epochs": 3}, "hold together at a point", None),
    ({"axes": {SPLITS: {"values": [4], "when": {WEIGHT: 0.1}}, WEIGHT: {"low": 0, "high": 1}},
      "search": {"name": "random"}},
     f"axes.{SPLITS}.when.{WEIGHT}", 0.1, "a field with listed values", None),
    ({"axes": {SPLITS: {"values": [4], "when": {WEIGHT: 0.1}},
               WEIGHT: {"values": [0.1], "when": {SPLITS: 4}}}},
     f"axes.{SPLITS}.when", f"{SPLITS}, {WEIGHT}", "do not depend on each other", None),
    ({"axes": {SPLITS: {"values": [4], "when": {}}}}, f"axes.{SPLITS}.when", {},
     "a field and the values at which the axis exists", None),
    ({"axes": {SPLITS: {"values": [4], "wen": {}}}}, f"axes.{SPLITS}.wen", {},
     "there are values, when", "when"),
    ({"axes": {"data.name": {"values": ["unused"], "when": {SPLITS: 16}}}}, "axes.data.name",
     "unused", "this one means that the axis is absent", None),
    # zipped axes
    ({"axes": {WEIGHT: [0, 0.1], SPLITS: [4]}, "zip": [[WEIGHT, SPLITS]]}, "zip.0",
     [WEIGHT, SPLITS], f"equally many values; {WEIGHT} has 2, {SPLITS} has 1", None),
    ({"axes": {WEIGHT: [0, 0.1]}, "zip": [WEIGHT]}, "zip.0", [WEIGHT], "two axes or more", None),
    ({"axes": {WEIGHT: [0], SPLITS: [4]}, "zip": [[WEIGHT, SPLITS], [SPLITS, WEIGHT]]}, "zip.1",
     SPLITS, "each axis once", None),
    ({"axes": {WEIGHT: [0], SPLITS: [4]}, "zip": [WEIGHT, "objective.equivariance.split"]},
     "zip.0", "objective.equivariance.split", "allowed: objective", SPLITS),
    ({"axes": {WEIGHT: [0, 0], SPLITS: [4, 4]}, "zip": [WEIGHT, SPLITS]}, "zip.0",
     [WEIGHT, SPLITS], "each combination of values once", None),
    ({"axes": {WEIGHT: {"low": 0, "high": 1}, SPLITS: [4]}, "zip": [WEIGHT, SPLITS],
      "search": {"name": "optuna"}}, "zip.0", WEIGHT, "a list of values", None),
    # expressions
    ({"expressions": {BATCH: f"16 * {SPLIT}"}}, f"expressions.{BATCH}", SPLIT, "no such field",
     SPLITS),
    ({"expressions": {BATCH: f"16 / {WEIGHT}"}}, f"expressions.{BATCH}", f"16 / {WEIGHT}",
     f"no division by zero (at {WEIGHT}=0)", None),
    ({"axes": {WEIGHT: [0.5]}, "expressions": {BATCH: f"{SPLITS} + {WEIGHT}"}},
     f"expressions.{BATCH}", f"{SPLITS} + {WEIGHT}", "an integer, as the field holds integers; it is 16.5",
     None),
    ({"expressions": {BATCH: "training.epochs", "training.epochs": f"{BATCH} + 1"}},
     f"expressions.{BATCH}", "training.epochs", f"no cycle, as of {BATCH}, training.epochs", None),
    ({"expressions": {BATCH: f"{BATCH} + 1"}}, f"expressions.{BATCH}", f"{BATCH} + 1", "no cycle",
     None),
    ({"expressions": {BATCH: "__import__('os')"}}, f"expressions.{BATCH}", "__import__('os')",
     "min and max; not", None),
    ({"expressions": {BATCH: "9 ** 9 ** 9"}}, f"expressions.{BATCH}", "9 ** 9 ** 9",
     "exponents up to 64", None),
    ({"expressions": {BATCH: "1 if 2 else 3"}}, f"expressions.{BATCH}", "1 if 2 else 3", "max; not",
     None),
    ({"expressions": {BATCH: "16 *"}}, f"expressions.{BATCH}", "16 *", "an expression of", None),
    ({"expressions": {BATCH: 16}}, f"expressions.{BATCH}", 16, "a valid string", None),
    ({"expressions": {BATCH: "2 * objective.name"}}, f"expressions.{BATCH}", "2 * objective.name",
     "fields that hold numbers; not 'simclr' (at objective.name=simclr)", None),
    ({"expressions": {BATCH: "2 * objective.momentum"}}, f"expressions.{BATCH}",
     "2 * objective.momentum", "fields that this point has; no such field", None),
    ({"expressions": {BATCH: "2 * seed"}}, f"expressions.{BATCH}", "seed", "fields of a point", None),
    ({"expressions": {WEIGHT: "1"}}, f"expressions.{WEIGHT}", "1", "no axis, variant or override",
     None),
    ({"expressions": {"objective.name": "1"}}, "expressions.objective.name", "1", "holds a number",
     None),
    ({"expressions": {"seed": "1"}}, "expressions.seed", "1", "change a number", None),
    ({"expressions": {"training.batch_siz": "2"}}, "training.batch_siz", 2.0, "training has",
     "batch_size"),
    # seeds
    ({"seeds": 0}, "seeds", 0, "allowed: one seed or more", None),
    ({"seeds": []}, "seeds", [], "allowed: one seed or more", None),
    ({"seeds": -2}, "seeds", -2, "allowed: one seed or more", None),
    ({"seeds": [3, 4, 3]}, "seeds", [3, 4, 3], "allowed: each seed once", None),
    ({"seeds": [0, -1]}, "seeds.1", -1, "allowed: greater than or equal to 0", None),
    ({"seeds": "three"}, "seeds", "three", "allowed: a number of seeds or a list", None),
    ({"seeds": True}, "seeds", True, "allowed: a number of seeds or a list", None),
    ({"seeds": 11125}, "seeds", 11125, "at most 1000 seeds", None),
    ({"seeds": 10**12}, "seeds", 10**12, "at most 1000 seeds", None),
    # size
    ({"axes": {WEIGHT: [*range(101)]}, "seeds": 1000}, AXIS, [*range(101)],
     "at most 100000 trials in all; these are 101000", None),
    ({"axes": {WEIGHT: [0, 1]}, "search": {"name": "optuna", "trials": 100001}}, "search.trials",
     100001, "at most 100000 trials", None),
    # variants
    ({"variants": {"two\nlines": {}}}, "variants.name", "two\nlines", "visible characters", None),
    ({"variants": {"x" * 201: {}}}, "variants.name", "x" * 201, "at most 200", None),
    ({"axes": {SPLITS: [[1, [2]], [1, [2]]]}}, f"axes.{SPLITS}", [[1, [2]], [1, [2]]],
     "each value once", None),
    # unknown names
    ({"search": {"name": "optun"}}, "search.name", "optun", "allowed: grid, random, sobol, optuna", "optuna"),
    ({"search": {"name": "optuna", "sampler": "cma"}}, "search.sampler", "cma",
     "allowed: tpe, random, gp, cmaes, qmc, nsga2", "cmaes"),
    ({"search": {"name": "optuna", "sampler": "gp", "multivariate": True}}, "search.multivariate",
     True, "allowed: with 'name: optuna' and 'sampler: tpe'", None),
    ({"search": {"name": "optuna", "population": 8}}, "search.population", 8,
     "with 'name: optuna' and 'sampler: cmaes' or 'sampler: nsga2'", None),
    ({"search": {"name": "optuna", "sampler": "qmc", "warm_start": True}}, "search.warm_start",
     True, "'sampler: tpe' or 'sampler: gp' or 'sampler: cmaes' or 'sampler: nsga2'", None),
    ({"search": {"startup": 3}}, "search.startup", 3, "with 'name: optuna' and 'sampler: tpe'", None),
    ({"search": {"name": "optuna", "group": True}}, "search.group", True, "'multivariate: true'",
     None),
    ({"search": {"name": "optuna", "sampler": "nsga2", "population": 2}}, "search.population", 2,
     "greater than or equal to 3", None),
    ({"search": {"name": "optuna", "sampler": "cmaes"}}, "search.sampler", "cmaes",
     "with an axis that is an interval", None),
    ({"scheduler": {"name": "ahsa"}}, "scheduler.name", "ahsa", "allowed: none, asha, hyperband, median",
     "asha"),
    ({"metric": {"name": "head/gama"}}, "metric.name", "head/gama", "allowed: train/loss",
     "head/gamma"),
    ({"metric": {"mode": "minimum"}}, "metric.mode", "minimum", "allowed: max, min", "min"),
    ({"metric": {"name": "head/gamma"}, "scheduler": {"name": "asha"}}, "metric.name",
     "head/gamma", "with asha, which needs a value after every epoch", None),
    ({"metric": {"name": "head/gamma"}, "scheduler": {"name": "hyperband"}}, "metric.name",
     "head/gamma", "with hyperband, which needs a value after every epoch", None),
    ({"scheduler": {"name": "median"}}, "metric.name", "encoder/probe_accuracy",
     "with median, which needs a value after every epoch", None),
    ({"scheduler": {"name": "asha", "every": 2}}, "scheduler.every", 2, "with 'name: median'", None),
    ({"scheduler": {"least_trials": 2}}, "scheduler.least_trials", 2, "with 'name: median'", None),
    ({"scheduler": {"name": "median", "reduction_factor": 2}}, "scheduler.reduction_factor", 2.0,
     "with 'name: asha' or 'name: hyperband'", None),
    ({"scheduler": {"name": "wilcoxon"}, "seeds": 1}, "scheduler.name", "wilcoxon",
     "with several seeds; this sweep has one", None),
    ({"scheduler": {"name": "wilcoxon"}, "seeds": 4}, "scheduler.p", 0.1,
     "more than 0.125 with 4 seeds, as 3 pairs have no smaller p-value", None),
    ({"scheduler": {"name": "wilcoxon", "p": 0.01}, "seeds": 7}, "scheduler.p", 0.01,
     "more than 0.0156 with 7 seeds", None),
    ({"scheduler": {"name": "wilcoxon", "p": 0.0625}, "seeds": 8}, "scheduler.least_seeds", 4,
     "5 or more with p = 0.0625, as 4 pairs have p = 0.0625 or more", None),
    ({"scheduler": {"name": "wilcoxon", "least_seeds": 10}, "seeds": 10}, "scheduler.least_seeds",
     10, "fewer than the sweep's 10 seeds", None),
    ({"scheduler": {"name": "wilcoxon", "p": 0.6}, "seeds": 10}, "scheduler.p", 0.6,
     "less than or equal to 0.5", None),
    ({"scheduler": {"name": "wilcoxon", "p": 0}, "seeds": 10}, "scheduler.p", 0.0,
     "greater than 0", None),
    ({"scheduler": {"name": "wilcoxon", "least_seeds": 1}, "seeds": 10}, "scheduler.least_seeds", 1,
     "greater than or equal to 2", None),
    ({"scheduler": {"name": "wilcoxon", "grace_epochs": 2}, "seeds": 10}, "scheduler.grace_epochs", 2,
     "with 'name: asha' or 'name: hyperband' or 'name: median'", None),
    ({"scheduler": {"name": "asha", "p": 0.2}}, "scheduler.p", 0.2, "with 'name: wilcoxon'", None),
    ({"scheduler": {"least_seeds": 3}}, "scheduler.least_seeds", 3, "with 'name: wilcoxon'", None),
    ({"scheduler": {"name": "wilcoxon"}, "seeds": {"least": 3, "most": 10}}, "seeds.until", "decided",
     "without a scheduler; wilcoxon ends trials early", None),
    ({"metrics": TWO, "seeds": 10, "scheduler": {"name": "wilcoxon"}}, "scheduler.name", "wilcoxon",
     "with one metric: a point is stopped by the order of one value", None),
    ({"metrics": [{"name": "head/gama"}, {"name": "head/gamma"}]}, "metrics.0.name", "head/gama",
     "allowed: train/loss", "head/gamma"),
    ({"metrics": [{"name": "head/gamma"}]}, "metrics",
     [{"name": "head/gamma"}], "two metrics or more", None),
    ({"metrics": [{"name": "head/gamma"}, {"name": "head/gamma", "mode": "min"}]}, "metrics",
     [{"name": "head/gamma"}, {"name": "head/gamma", "mode": "min"}], "each metric once", None),
    ({"metrics": TWO, "metric": {"name": "train/loss"}}, "metric.name", {"name": "train/loss"},
     "without 'metrics'", None),
    ({"metrics": TWO, "scheduler": {"name": "asha"}}, "scheduler.name", "asha",
     "with one metric: a trial is stopped by the order of one value", None),
    ({"metrics": TWO, "axes": {WEIGHT: {"low": 0, "high": 1}},
      "search": {"name": "optuna", "sampler": "cmaes"}}, "search.sampler", "cmaes",
     "with one metric: it ranks points by one value; nsga2, tpe and gp take several", None),
    ({"metrics": TWO, "seeds": {"least": 3}}, "seeds.until", "decided",
     "with one metric: a point is decided by the difference of one value", None),
    ({"metrics": [TWO[0], {"name": "encoder/ranking_mrr"}]}, "metrics.1.name",
     "encoder/ranking_mrr", "allowed with 'ranking' in evaluation.readouts", None),
    # out of range
    ({"resources": {"threads": 0}}, "resources.threads", 0, "auto or a number greater than 0",
     None),
    ({"resources": {"threads": "all"}}, "resources.threads", "all",
     "auto or a number greater than 0", None),
    ({"resources": {"retries": -1}}, "resources.retries", -1, "greater than or equal to 0", None),
    ({"resources": {"gpus": 1.5}}, "resources.gpus", 1.5, "a part of one GPU, or whole ones", None),
    ({"search": {"trials": 0}}, "search.trials", 0, "greater than 0", None),
    # the experiment
    ({"experiment": "experimant.yaml"}, "file", "experimant.yaml", "an existing file",
     "experiment.yaml"),
    ({"overrides": {"training.epoch": 3}}, "training.epoch", 3, "training has batch_norm_groups", "epochs"),
    ({"overrides": {WEIGHT: 1.0}}, WEIGHT, 1.0, "a field that is not also an axis", None),
    ({"overrides": {"seed": 1}}, "seed", 1, "seeds have a list of their own", None),
    # the metric and the experiment
    ({"metric": {"name": "head/wahba_over_movement"}}, "metric.name", "head/wahba_over_movement",
     "allowed with 'wahba' in evaluation.readouts", None),
    ({"metric": {"name": "encoder/ranking_mrr"}, "overrides": {"evaluation.readouts": ["kinds"]}},
     "metric.name", "encoder/ranking_mrr", "allowed with 'ranking' in evaluation.readouts", None),
    ({"metric": {"name": "heldout/knn_accuracy"}}, "metric.name", "heldout/knn_accuracy",
     "allowed with 'knn_accuracy' in evaluation.monitor.measures, which are: gamma", None),
    ({"metric": {"name": "heldout/gamma"}, "overrides": {"evaluation.monitor.measures": ["rank"]}},
     "metric.name", "heldout/gamma", "allowed with 'gamma' in evaluation.monitor.measures", None),
    ({"metric": {"name": "heldout/gamma"}, "scheduler": {"name": "asha"},
      "overrides": {"evaluation.monitor.every": 2}},
     "scheduler.grace_epochs", 1, "a multiple of 2, e.g. 2, as heldout/gamma is measured every 2", None),
]  # fmt: skip


def plan(folder: Path, changes: dict[str, Any]) -> None:
    make_plan(load(folder, **changes), Store(folder / "runs"))


def check(problem: Problem, field: str, value: Any, allowed: str, nearest: str | None) -> None:
    assert problem.field == field
    if field == "file":
        assert str(problem.value).endswith(value)
    else:
        assert problem.value == value
    assert allowed in problem.allowed
    hint = f"did you mean {nearest!r}?"
    assert (hint in str(problem)) if nearest else ("did you mean" not in str(problem))
    assert str(problem).count("allowed:") <= 1


@pytest.mark.parametrize(
    ("changes", "field", "value", "allowed", "nearest"), BAD_SWEEPS, ids=lambda case: str(case)[:40]
)
def test_a_bad_sweep_is_refused(
    tmp_path: Path,
    refused: Refused,
    changes: dict[str, Any],
    field: str,
    value: Any,
    allowed: str,
    nearest: str | None,
) -> None:
    check(refused(plan, tmp_path, changes), field, value, allowed, nearest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment.yaml", "sweep.yaml"]


# axes, field, value, part of what is allowed, nearest name: what only the expansion finds
BAD_POINTS: list[tuple[dict[str, Any], str, Any, str, str | None]] = [
    ({"objective.equivariance.wieght": [1]}, "objective.equivariance.wieght", 1,
     "objective.equivariance has augmentation, scale, shared_views, space, splits, weight", "weight"),
    ({"objektive.equivariance.weight": [1]}, "objektive", {"equivariance": {"weight": 1}},
     "there are augmentation, data", "objective"),
    ({WEIGHT: [0, "high"]}, WEIGHT, "high", "allowed: a valid number", None),
    ({WEIGHT: [0, None]}, WEIGHT, None, "allowed: a valid number", None),
    ({WEIGHT: [0.1, -1]}, WEIGHT, -1, "allowed: greater than or equal to 0", None),
    ({"training.epochs": [1, 2.5]}, "training.epochs", 2.5, "allowed: a valid integer", None),
    ({SPLITS: [8, 7]}, SPLITS, 7, "divides the batch of 256", None),
    ({"training.batch_size": [256, 2048]}, "training.batch_size", 2048, "at most 600", None),
    ({"data.name": ["digits", "digit"]}, "data.name", "digit", "cifar10, cifar100, digits", "digits"),
    ({"model.encoder": ["smal"]}, "model.encoder", "smal", "allowed: deep_sets", "small"),
    ({"objective.name": ["dino"]}, "objective.name", "dino", "allowed: alignment", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "field", "value", "allowed", "nearest"), BAD_POINTS, ids=lambda case: str(case)[:40]
)
def test_a_bad_point_is_reported_once(
    tmp_path: Path,
    refused: Refused,
    axes: dict[str, Any],
    field: str,
    value: Any,
    allowed: str,
    nearest: str | None,
) -> None:
    """Whatever the number of seeds and of points that share the fault."""
    changes = {"axes": {**axes, "optimizer.learning_rate": [1e-3, 1e-2]}, "seeds": 3}
    check(refused(plan, tmp_path, changes), field, value, allowed, nearest)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_a_number_is_refused(tmp_path: Path, refused: Refused, value: float) -> None:
    problem = refused(plan, tmp_path, {"axes": {WEIGHT: [0, value]}})
    assert (problem.field, str(problem.value)) == (WEIGHT, str(value))
    assert problem.allowed == "allowed: a finite number"


@pytest.mark.parametrize(
    ("interval", "field", "value", "allowed"),
    [
        ({"low": -1.0, "high": 1.0}, WEIGHT, -1.0, "greater than or equal to 0"),
        ({"low": 0.1, "high": math.inf}, f"{AXIS}.high", math.inf, "a finite number"),
        ([0.1, "x"], WEIGHT, "x", "a valid number"),
    ],
)
def test_a_bad_space_is_refused_before_anything_is_drawn_from_it(
    tmp_path: Path, refused: Refused, interval: Any, field: str, value: Any, allowed: str
) -> None:
    changes = {"axes": {WEIGHT: interval, SPLITS: [8, 16]}, "search": {"name": "optuna"}}
    check(refused(plan, tmp_path, changes), field, value, allowed, None)


BAD_FILES = [
    (None, "an existing file (experiment.yaml)"),
    ("", "a mapping of fields"),
    ("- name\n", "a mapping of fields"),
    ("name: [tiny\naxes: {", "valid YAML"),
]


@pytest.mark.parametrize(("content", "allowed"), BAD_FILES)
def test_a_bad_file_is_named(
    tmp_path: Path, refused: Refused, content: str | None, allowed: str
) -> None:
    path = declare(tmp_path)
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert refused(load_sweep, path).allowed == f"allowed: {allowed}"
    with pytest.raises(ConfigError, match=r"sweep\.yaml:\n"):
        load_sweep(path)


def test_the_same_axis_twice_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = declare(tmp_path, axes=None)
    with path.open("a") as file:
        file.write(f"axes:\n  {WEIGHT}: [0]\n  {WEIGHT}: [1]\n")
    problem = refused(load_sweep, path)
    assert problem.field == WEIGHT
    assert str(problem.value).startswith("twice (line ")
    assert problem.allowed == "allowed: each key and axis once"


@pytest.mark.parametrize("override", ["training.epoch=3", f"{WEIGHT}=1", "seed=1", "training"])
def test_a_bad_override_is_refused(tmp_path: Path, refused: Refused, override: str) -> None:
    path = declare(tmp_path)
    problem = refused(load_sweep, path, (override,))
    assert problem.field in (override.partition("=")[0], "override")


def test_a_metric_of_every_few_epochs_suits_a_grace_of_as_many(tmp_path: Path) -> None:
    monitor = {"every": 2, "measures": ["knn_accuracy"]}
    changes = {
        "metric": {"name": "heldout/knn_accuracy"},
        "overrides": {"evaluation.monitor": monitor},
    }
    for grace in (2, 4):  # 4 is beyond the epochs: no trial is stopped
        plan(tmp_path, {**changes, "scheduler": {"name": "asha", "grace_epochs": grace}})


def test_overrides_reach_every_trial_and_axes_come_last(tmp_path: Path) -> None:
    path = declare(tmp_path, overrides={"training.epochs": 5, "optimizer.learning_rate": 0.1})
    sweep = load_sweep(path, ("training.epochs=7",))
    config = sweep.trial({WEIGHT: 0.5}, 3)
    assert (config.training.epochs, config.optimizer.learning_rate) == (7, 0.1)
    assert (config.objective.equivariance.weight, config.seed) == (0.5, 3)
    assert sweep.base_config().objective.equivariance.weight == 0.1


def test_trials_do_not_leak_into_each_other(tmp_path: Path) -> None:
    """A point whose value is a mapping, and a later one that sets a field inside of it."""
    sweep = load(tmp_path, axes={"objective.equivariance": [{"weight": 0.3}]})
    point = {"objective.equivariance": {"weight": 0.3}}
    sweep.trial({**point, SPLITS: 8}, 0)
    assert point == {"objective.equivariance": {"weight": 0.3}}
    assert sweep.trial(point, 0).objective.equivariance.splits == 16


def test_a_number_of_seeds_is_short_for_a_list(tmp_path: Path) -> None:
    assert load(tmp_path, seeds=3).spec.seeds == (0, 1, 2)
    assert load(tmp_path, seeds=[4, 2]).spec.seeds == (4, 2)
    assert load(tmp_path, seeds=None).spec.seeds == (0,)


def test_a_stored_sweep_comes_back(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes={WEIGHT: {"low": 0.1, "high": 1}, SPLITS: [8, 16]},
                 search={"name": "optuna"})  # fmt: skip
    declaration = SweepRecord(
        spec=sweep.spec.model_dump(mode="json"),
        base=sweep.base_config().model_dump(mode="json"),
        file="sweep.yaml",
    )
    restored = restore_sweep(declaration)
    assert isinstance(restored, Sweep)
    assert restored.spec == sweep.spec
    assert restored.trial({WEIGHT: 0.2}, 1) == sweep.trial({WEIGHT: 0.2}, 1)


def test_the_default_sweep_is_valid() -> None:
    sweep = load_sweep(ROOT / "sweeps" / "digits-lambda.yaml")
    assert isinstance(sweep.base_config(), TrialConfig)
    assert sweep.spec.axes == {WEIGHT: [0, 0.01, 0.03, 0.1, 0.3, 1]}
    assert sweep.spec.seeds == (0, 1, 2)


def test_a_trial_on_whole_gpus_trains_on_all_of_them(tmp_path: Path) -> None:
    for gpus, processes in ((0, 1), (0.5, 1), (1, 1), (2, 2), (4, 4)):
        sweep = load(tmp_path, resources={"gpus": float(gpus)})
        assert sweep.trial({}, 0).runtime.processes == processes


def test_a_batch_that_its_gpus_cannot_share_is_refused(
    refused: Callable[..., Problem], tmp_path: Path
) -> None:
    problem = refused(plan, tmp_path, {"resources": {"gpus": 3.0}})
    assert problem.field == "runtime.processes"


def test_the_checkpoints_to_keep_change_no_identity(tmp_path: Path) -> None:
    plain, slim = load(tmp_path), load(tmp_path, checkpoints={"keep": "encoder"})
    assert (plain.spec.checkpoints.keep, slim.spec.checkpoints.keep) == ("all", "encoder")
    assert slim.trial({WEIGHT: 0.2}, 1) == plain.trial({WEIGHT: 0.2}, 1)


def test_no_sweep_throws_its_encoders_away(refused: Callable[..., Problem], tmp_path: Path) -> None:
    problem = refused(plan, tmp_path, {"checkpoints": {"keep": "none"}})
    assert (problem.field, problem.value) == ("checkpoints.keep", "none")
