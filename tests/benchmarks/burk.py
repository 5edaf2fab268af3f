"""The default model beside published learners: python -m tests.benchmarks.burk [--json] [--data a,b]

Fits on the published folds of the benchmark of Burk et al., scores as its authors do and ranks the model
among their learners. Cox models fitted here stand beside, out of the ranking. Needs the folder
shared/arena/burk.

Source: Burk et al., arXiv 2406.04098, 2024.
"""

import argparse
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from features.censoring import Outcome
from features.dictionary import FloatArray
from models.estimators.concordance import concordance
from tests.benchmarks.contenders import CONTENDERS, OURS, PLAIN, RIDGE

FOLDER = Path(__file__).parents[2].parent / "shared" / "arena" / "burk"
FOLDS = 3
"""Iterations a repeat of the published cross-validation."""
LEFT = 0.8
LEFT_OUT = ("AK", "NCV", "NEL")
METRICS = {"isbs": True, "harrell_c": False}
"""Each published metric, and whether a smaller value is better."""
TRIVIAL = "KM"


def brier() -> Any:
    """Return the module of the paper's Brier score that lies beside its data."""
    spec = spec_from_file_location("burk_brier", FOLDER / "brier.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names() -> tuple[str, ...]:
    """Return the data sets' names."""
    return tuple(sorted(path.name.removesuffix(".cv.csv.gz") for path in FOLDER.glob("*.cv.csv.gz")))


def read(name: str) -> tuple[pd.DataFrame, npt.NDArray[np.void]]:
    """Return a data set's predictors, each category but the first an indicator, and its outcome."""
    table = pd.read_csv(FOLDER / f"{name}.csv.gz")
    y = np.empty(len(table), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = table["status"] == 1, table["time"]
    return indicators(table.drop(columns=["time", "status"])), y


def indicators(table: pd.DataFrame) -> pd.DataFrame:
    """Return numbers as they are and categories as indicators of all but the first; missing stays missing.

    >>> indicators(pd.DataFrame({"age": [50, 60, 70], "stage": ["II", None, "I"]}))
       age  stage=II
    0   50       1.0
    1   60       NaN
    2   70       0.0
    """
    columns: dict[str, Any] = {}
    for name in table:
        if pd.api.types.is_numeric_dtype(table[name]):
            columns[str(name)] = table[name]
            continue
        missing = table[name].isna()
        for category in sorted(table[name].dropna().unique())[1:]:
            columns[f"{name}={category}"] = (table[name] == category).astype(float).where(~missing)
    return pd.DataFrame(columns)


def folds(name: str, repeats: int) -> list[tuple[int, FloatArray, FloatArray]]:
    """Return iteration, training rows and test rows of the first repeats."""
    table, found = pd.read_csv(FOLDER / f"{name}.cv.csv.gz"), []
    for iteration in range(1, min(FOLDS * repeats, int(table.iteration.max())) + 1):
        part = table[table.iteration == iteration]
        train, test = (part.row_id[part.set == one].to_numpy() - 1 for one in ("train", "test"))
        found.append((iteration, train, test))
    return found


def judged_times(time: FloatArray) -> FloatArray:
    """Return the test part's times, up to the first at which more than 80 % have left the risk set."""
    times = np.unique(time)
    left = np.array([(time < at).mean() for at in times])
    past = np.flatnonzero(left > LEFT)
    return times[: past[0] + 1] if past.size else times


def scores(name: str, learners: list[str], *, repeats: int, seed: int) -> list[dict[str, Any]]:
    """Return one row a learner and iteration, with the published metrics and what the fit chose."""
    X, y = read(name)
    rule, rows = brier(), []
    for iteration, train, test in folds(name, repeats):
        held, times = y[test], judged_times(y["time"][test])
        for learner in learners:
            model = CONTENDERS[learner](seed)
            model.fit(X.iloc[train], y[train])
            survival = model.predict_survival_function(X.iloc[test], times)
            isbs = rule.isbs(
                held["time"], held["event"], survival, times, y["time"][train], y["event"][train]
            )
            agreed = concordance(model.predict(X.iloc[test]), Outcome(held["time"], held["event"]))
            found = {"task_id": name, "learner_id": learner, "iteration": iteration}
            rows.append(found | {"isbs": isbs, "harrell_c": agreed, "weight_ridge": _ridge(model)})
    return rows


def _ridge(model: Any) -> float:
    """Return the weight of the ridge Cox model; NaN where the model has no such weight."""
    fitted = getattr(model, "model_", None)
    return float(fitted.hyperparameters.get("weight_ridge", np.nan)) if fitted else np.nan


def published(metric: str) -> pd.DataFrame:
    """Return the published learners' scores that were tuned for a metric."""
    table = pd.read_csv(FOLDER / "scores.csv.gz")
    tuned = table.tune_measure.str.contains("isbs" if metric == "isbs" else metric)
    return table[tuned & ~table.learner_id.isin(LEFT_OUT)]


def side_by_side(ours: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return each data set's (rows) and learner's mean over the iterations that were run."""
    run = ours[["task_id", "iteration"]].drop_duplicates()
    both = pd.concat([published(metric).merge(run), ours])
    return both.pivot_table(index="task_id", columns="learner_id", values=metric)


def mean_ranks(table: pd.DataFrame, metric: str) -> pd.Series:
    """Return the mean ranks, the best first, of the published learners and the default model."""
    judged = table.drop(columns=[name for name in CONTENDERS if name != OURS and name in table])
    ranks = judged.rank(axis=1, ascending=METRICS[metric], na_option="bottom")
    return ranks.mean().sort_values()


def explained(ours: pd.DataFrame) -> pd.Series:
    """Return each learner's explained residual variation, its gain over Kaplan-Meier fold by fold.

    The mean over data sets of the mean over iterations.
    """
    both = pd.concat([published("isbs").merge(ours[["task_id", "iteration"]].drop_duplicates()), ours])
    wide = both.pivot_table(index=["task_id", "iteration"], columns="learner_id", values="isbs")
    gained = 1.0 - wide.div(wide[TRIVIAL], axis=0)
    return gained.groupby("task_id").mean().mean().sort_values(ascending=False)


def figures(ours: pd.DataFrame) -> dict[str, Any]:
    """Return ranks, explained variation and, data set by data set, the model beside Cox models."""
    found: dict[str, Any] = {"data_sets": int(ours.task_id.nunique())}
    for metric in METRICS:
        table = side_by_side(ours, metric)
        order = mean_ranks(table, metric)
        found[metric] = {
            "mean_rank": round(float(order[OURS]), 3),
            "place": list(order.index).index(OURS) + 1,
            "learners": len(order),
            "ranks": order.round(2).to_dict(),
        }
        if metric == "isbs":
            found["explained"] = explained(ours).round(4).to_dict()
            found["sets"] = _sets(table, ours)
    return found


def _sets(table: pd.DataFrame, ours: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return each data set's integrated Brier scores, and the mean weight of the ridge Cox model."""
    shown = [name for name in CONTENDERS if name in table] + ["CPH", "ORSF"]
    every = table.drop(columns=list(CONTENDERS), errors="ignore")
    wide = table[shown].assign(best=every.min(axis=1))
    wide["weight_ridge"] = ours[ours.learner_id == OURS].groupby("task_id").weight_ridge.mean()
    return {str(name): row.round(4).to_dict() for name, row in wide.iterrows()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", help="data sets, comma-separated; all when absent")
    parser.add_argument("--learners", default=f"{OURS},{RIDGE},{PLAIN}", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--repeats", type=int, default=1, help="of three folds each, up to ten (gbsg: five)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the default model")
    parser.add_argument("--out", type=Path, help="also write the scores fold by fold")
    options = parser.parse_args()
    every: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for one in options.data.split(",") if options.data else names():
            every += scores(one, options.learners.split(","), repeats=options.repeats, seed=options.seed)
            print(one, file=sys.stderr)  # noqa: T201
    result = pd.DataFrame(every)
    if options.out:
        result.to_csv(options.out, index=False)
    told = figures(result)
    if options.json:
        print(json.dumps(told))  # noqa: T201
    else:
        for metric in METRICS:
            print(f"{metric}: mean ranks\n{pd.Series(told[metric]['ranks']).to_string()}\n")  # noqa: T201
        print(f"explained residual variation\n{pd.Series(told['explained']).to_string()}\n")  # noqa: T201
        print(f"integrated Brier score\n{pd.DataFrame(told['sets']).T.to_string()}")  # noqa: T201
