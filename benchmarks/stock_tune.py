"""``python -m benchmarks.stock_tune FOLDER``: the sweep of :mod:`.whole_sweep` by Ray Tune alone.

As in Ray's documentation, it has a function trainable, one CPU for a trial, a grid search, and
Ray's callback for MLflow with an SQLite file. It trains and measures with our code and allocator
settings. It keeps no checkpoints, so it has less to do.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.whole_sweep import EXPERIMENT, SEEDS, WEIGHTS, overrides
from care.system.cores import available_cores


def train(point: dict[str, Any]) -> None:
    """Train one trial; the last report has the final measures and the trial's identity."""
    from ray import tune

    from care.config.loading import load_trial
    from care.distributed.group import ALONE
    from care.evaluation.evaluate import evaluate
    from care.training.resume import open_trainer
    from care.trials.identity import trial_id

    config = load_trial(EXPERIMENT, overrides(point["weight"], point["seed"]))
    trainer, _ = open_trainer(config, Path.cwd(), ALONE, 1, print)
    while trainer.epoch < config.training.epochs:
        metrics = trainer.run_epoch()
        assert metrics is not None
        step = trainer.epoch * trainer.steps_per_epoch
        line: dict[str, Any] = {"epoch": trainer.epoch, "step": step, **metrics}
        if trainer.epoch == config.training.epochs:
            measures = evaluate(trainer.network, trainer.dataset, config).measures
            line |= {**measures, "identity": trial_id(config)}
        tune.report(line)


def main(folder: Path) -> None:
    """Run the sweep; the trials' last reports go to ``measures.json``."""
    os.environ.pop("RAY_ADDRESS", None)
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        ray.init("local", num_cpus=available_cores(), include_dashboard=False, _temp_dir=scratch)
        tuner = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={
                "weight": tune.grid_search(list(WEIGHTS)),
                "seed": tune.grid_search(list(SEEDS)),
            },
            run_config=tune.RunConfig(
                name="bench",
                storage_path=str(folder / "tune"),
                callbacks=[
                    MLflowLoggerCallback(
                        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="bench"
                    )
                ],
            ),
        )
        last = [result.metrics or {} for result in tuner.fit()]
        ray.shutdown()
    measures = {metrics["identity"]: metrics for metrics in last}
    (folder / "measures.json").write_text(json.dumps(measures, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
