"""How fast boosted trees are explained: python -m tests.benchmarks.explanation [--json] [--rows 100000]

The peers are xgboost's ``pred_contribs`` on one thread and ``shap.TreeExplainer``, on the same boosters of 300
trees. Every figure is a ratio within one run, each side at its best of several turns taken in alternation.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import shap
import xgboost

from features.dictionary import FloatArray
from models.trees import Trees, base_margin, read_trees

COLUMNS = 25
TREES = 300
DEPTHS = (4, 6)


def cohort(rows: int, *, seed: int, missing: float = 0.15) -> tuple[FloatArray, FloatArray]:
    """Return columns with missing values and labels with curved and interacting effects."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    margin = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] - X[:, 4] * (X[:, 5] > 0) + 0.1 * X.sum(axis=1)
    label = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(float)
    X[rng.random(X.shape) < missing] = np.nan
    return X, label


def boosted(depth: int) -> xgboost.Booster:
    X, label = cohort(6_000, seed=depth)
    settings = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.1, "nthread": 1, "seed": 0}
    return xgboost.train(settings, xgboost.DMatrix(X, label=label, nthread=1), num_boost_round=TREES)


def best(sides: dict[str, Callable[[], object]], *, turns: int) -> dict[str, float]:
    """Return the shortest time of each side in seconds, the sides taking turns after one warm-up."""
    taken = {name: np.inf for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if turn:
                taken[name] = min(taken[name], time.perf_counter() - start)
    return taken


def by_xgboost(booster: xgboost.Booster, X: FloatArray) -> FloatArray:
    return booster.predict(xgboost.DMatrix(X, nthread=1), pred_contribs=True)


def ratio(taken: dict[str, float]) -> float:
    return min(taken["xgboost"], taken["shap"]) / taken["trees"]


def explained(depth: int, *, rows: int) -> dict[str, float]:
    """Return the figures of one booster."""
    booster = boosted(depth)
    model = bytes(booster.save_raw("json"))
    stored = read_trees(model, columns=COLUMNS, intervals=None).to_bytes()
    one, many = cohort(1, seed=100, missing=0.0)[0], cohort(rows, seed=101)[0]

    start = time.perf_counter()
    trees = Trees.from_bytes(stored)
    trees.contributions(one)
    load_s = time.perf_counter() - start

    explainer = shap.TreeExplainer(booster)

    def sides(X: FloatArray) -> dict[str, Callable[[], object]]:
        return {
            "trees": partial(trees.contributions, X),
            "xgboost": partial(by_xgboost, booster, X),
            "shap": partial(explainer.shap_values, X),
        }

    single = best(sides(one), turns=200)
    batch = best(sides(many), turns=1 if rows > 20_000 else 3)
    threads = best(
        {"one": partial(trees.contributions, many), "two": partial(trees.contributions, many, threads=2)},
        turns=5,
    )
    some = many[:2_000]
    theirs = by_xgboost(booster, some)
    bias = trees.expected() + base_margin(model)
    ours = np.column_stack([trees.contributions(some), np.broadcast_to(bias, len(some))])
    return {
        "one_row_vs_best_peer": ratio(single),
        "batch_vs_best_peer": ratio(batch),
        "threads_scaling": threads["one"] / threads["two"],
        "agreement": float(np.abs(ours - theirs).max()),
        "load_s": load_s,
        "one_row_us": 1e6 * single["trees"],
        "batch_us_a_row": 1e6 * batch["trees"] / rows,
    }


def figures(*, rows: int) -> dict[str, float]:
    """Return the worst figure over the depths under its plain name, and each depth's under its own."""
    found = {depth: explained(depth, rows=rows) for depth in DEPTHS}
    high = {"one_row_vs_best_peer", "batch_vs_best_peer", "threads_scaling"}
    worst = {
        name: (min if name in high else max)(figure[name] for figure in found.values())
        for name in found[DEPTHS[0]]
    }
    return worst | {
        f"depth_{d}.{name}": value for d, figure in found.items() for name, value in figure.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {"rows": options.rows, **figures(rows=options.rows)}
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
