"""The default model on small cohorts beside Cox models: python -m tests.benchmarks.small [--json]

Runs the arena's data, metrics and kind of folds on its data sets of fewer than 500 patients and on more of
that size from the same package, over several splits of each: one split cannot tell thousandths of an
integrated Brier score. Needs the arena folder and the extra ``benchmarks`` (SurvSet).
"""

import argparse
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from tests.benchmarks.contenders import CONTENDERS, OURS, PLAIN, RIDGE

SCRIPT = Path(__file__).parents[2].parent / "shared" / "arena" / "accuracy.py"
ARENA = ("veteran", "Melanoma", "cancer", "mgus", "pbc", "whas500")
MORE = (
    "e1684", "d.oropha.rec", "pharmacoSmoking", "zinc", "burn", "stagec", "ova", "retinopathy", "Pbc3",
    "diabetes", "hepatoCellular", "wpbc",
)  # fmt: skip
FOLDS, FIRST_SPLIT = 5, 20240
METRICS = ("ibs", "uno", "harrell")


def arena() -> Any:
    """Return the arena's script as a module."""
    spec = spec_from_file_location("accuracy", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scores(name: str, learners: list[str], *, splits: int, seed: int) -> list[dict[str, Any]]:
    """Return one row a learner, split and fold; the first split is the arena's own."""
    script, rows = arena(), list[dict[str, Any]]()
    X, y = script.load(name)
    metrics = script.Metrics(y)
    for split in range(splits):
        for fold, (train, test) in enumerate(script.folds(y, FOLDS, FIRST_SPLIT + split)):
            for learner in learners:
                model = CONTENDERS[learner](seed)
                model.fit(X.iloc[train], y[train])
                found = metrics.at(y[test], model.predict_survival_function(X.iloc[test], metrics.grid))
                fitted = getattr(model, "model_", None)
                weight = fitted.hyperparameters.get("weight_ridge", np.nan) if fitted else np.nan
                key = {"data": name, "learner": learner, "split": split, "fold": fold}
                rows.append(key | {m: float(found[m]) for m in METRICS} | {"weight_ridge": float(weight)})
    return rows


def figures(results: pd.DataFrame) -> dict[str, Any]:
    """Return each data set's means, and how far the default model lies behind Cox models at worst."""
    table = results.pivot_table(index="data", columns="learner", values="ibs")
    uno = results.pivot_table(index="data", columns="learner", values="uno")
    shown = table.assign(**{f"uno_{name}": uno[name] for name in (OURS, RIDGE) if name in uno})
    shown["weight_ridge"] = results[results.learner == OURS].groupby("data").weight_ridge.mean()
    rivals = [name for name in table if name != OURS]
    return {
        "data_sets": len(table),
        "mean": table.mean().round(5).to_dict(),
        "worst_gap": {name: round(float((table[OURS] - table[name]).max()), 5) for name in rivals},
        "behind": {name: sorted(table.index[table[OURS] > table[name]]) for name in rivals},
        "sets": {str(name): row.round(4).to_dict() for name, row in shown.iterrows()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", default=",".join(ARENA + MORE), help="data sets, comma-separated")
    parser.add_argument("--learners", default=f"{OURS},{RIDGE},{PLAIN}", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--splits", type=int, default=3, help="of five folds each")
    parser.add_argument("--seed", type=int, default=0, help="seed of the default model")
    parser.add_argument("--out", type=Path, help="also write the scores fold by fold")
    options = parser.parse_args()
    every: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for one in options.data.split(","):
            every += scores(one, options.learners.split(","), splits=options.splits, seed=options.seed)
            print(one, file=sys.stderr)  # noqa: T201
    result = pd.DataFrame(every)
    if options.out:
        result.to_csv(options.out, index=False)
    told = figures(result)
    if options.json:
        print(json.dumps(told))  # noqa: T201
    else:
        print(pd.DataFrame(told.pop("sets")).T.to_string())  # noqa: T201
        print(json.dumps(told, indent=1))  # noqa: T201
