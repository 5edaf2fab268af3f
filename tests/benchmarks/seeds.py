"""How far the held-out gain over the baselines depends on the split: python -m tests.benchmarks.seeds --json

For each seed the whole procedure is cross-validated anew on the two public cohorts.
"""

import argparse
import json

import numpy as np

from features.cohort import concatenate
from features.protocol import load_protocol
from features.sources.build import build_cohort
from features.sources.recipe import load_recipe
from training.baselines.survival import COX
from training.evaluate import evaluate, predict_held_out
from training.fit import read_outcomes
from training.plan import TrainingPlan
from training.scoring import MODEL
from training.split import split_for


def gains(seeds: int) -> dict[str, dict[str, float]]:
    """Return model less Cox baseline per disease and metric: mean, smallest and largest over the seeds."""
    protocol = load_protocol("relapse-survival")
    cohort = concatenate([build_cohort(load_recipe(name)) for name in protocol.cohorts])
    outcomes = read_outcomes(cohort, protocol)
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        plan = TrainingPlan(seed=seed, bootstrap=2)
        split = split_for(cohort, outcomes, protocol=protocol, plan=plan)
        held_out = predict_held_out(cohort, outcomes, split, protocol=protocol, plan=plan)
        evaluation = evaluate(held_out, protocol=protocol, plan=plan)
        for name in protocol.diseases:
            models = evaluation.leading.by_group[name]
            for metric in ("uno_c", "integrated_brier"):
                gain = models[MODEL][metric].value - models[COX][metric].value
                found.setdefault(f"{name}.{metric}", []).append(gain)
    return {
        name: {"mean": float(np.mean(g)), "smallest": min(g), "largest": max(g), "gained": _gained(name, g)}
        for name, g in found.items()
    }


def _gained(name: str, gain: list[float]) -> float:
    """Return the share of seeds in which the model was better."""
    better = np.array(gain) < 0 if name.endswith("brier") else np.array(gain) > 0
    return float(better.mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = gains(options.seeds)
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
