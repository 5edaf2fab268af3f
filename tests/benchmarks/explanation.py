"""How fast boosted trees are explained: python -m tests.benchmarks.explanation [--json] [--rows 100000]

The peers are xgboost's ``pred_contribs`` and ``shap.TreeExplainer`` on the same boosters of 300 trees and the
same rows, each by its fastest way: for xgboost the rows stand ready in its own matrix. Ratios on one thread
are of processor time, so that a busy machine distorts them little; ``threads_scaling``, ``import_s`` and
``load_s`` are of elapsed time and want an idle machine; ``threads_cost`` is two threads' processor time over
one's. ``served`` is a survival model as it is served: 20 boosters with 20 time intervals, averaged.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import xgboost

from features.dictionary import FloatArray
from models.trees.boosters import Block, Boosters
from models.trees.ensemble import Trees, read_trees
from models.trees.xgboost_json import base_margin

COLUMNS = 25
TREES = 300
DEPTHS = (4, 6)
INTERVALS = 20
ONE_BY_ONE = 20
HIGHER_IS_BETTER = {"one_row_vs_best_peer", "batch_vs_best_peer", "threads_scaling"}

LOAD = """
import sys, time
start = time.perf_counter()
import numpy as np
from pathlib import Path
from models.trees.ensemble import Trees
imported = time.perf_counter()
trees = Trees.from_bytes(Path(sys.argv[1]).read_bytes())
trees.contributions(np.zeros((1, trees.columns)))
print(imported - start, time.perf_counter() - imported)
"""

Sides = dict[str, Callable[[], object]]


def cohort(rows: int, *, seed: int, missing: float = 0.15) -> tuple[FloatArray, FloatArray]:
    """Return columns with missing values and labels with curved and interacting effects."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    margin = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] - X[:, 4] * (X[:, 5] > 0) + 0.1 * X.sum(axis=1)
    label = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(float)
    X[rng.random(X.shape) < missing] = np.nan
    return X, label


def boosted(depth: int) -> xgboost.Booster:
    """Return 300 trees of one depth."""
    X, label = cohort(6_000, seed=depth)
    settings = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.1, "nthread": 1, "seed": 0}
    return xgboost.train(settings, xgboost.DMatrix(X, label=label, nthread=1), num_boost_round=TREES)


def served() -> Trees:
    """Return the mean of 20 time-sliced boosters, half of depth 3 and half boosted forests of depth 4.

    As in a fit, their trees become one booster's, leaves weighted by 1/20, and that is tabulated.
    """
    rng = np.random.default_rng(1)
    X, _ = cohort(1_500, seed=9)
    lived = rng.integers(1, INTERVALS + 1, len(X))
    who, interval = np.repeat(np.arange(len(X)), lived), np.concatenate([np.arange(n) for n in lived])
    Z = np.nan_to_num(X[who])
    margin = np.sin(2 * Z[:, 0]) + Z[:, 1] * (interval > 8) - Z[:, 4] * Z[:, 5] * (interval < 5) - 2
    label = rng.random(len(who)) < 1 / (1 + np.exp(-margin))
    table = np.column_stack([interval, X[who]]).astype(np.float32)
    slow = {"max_depth": 3, "eta": 0.05, "min_child_weight": 10}
    forest = {"max_depth": 4, "min_child_weight": 5, "num_parallel_tree": 4, "subsample": 0.6, "eta": 0.1}
    members = []
    for part in range(20):
        kept = rng.random(len(who)) < 0.8
        data = xgboost.DMatrix(table[kept], label=label[kept], nthread=1)
        settings = {"objective": "binary:logistic", "nthread": 1, "seed": part} | (
            forest if part % 2 else slow
        )
        booster = xgboost.train(settings, data, num_boost_round=25 if part % 2 else 100)
        members.append((bytes(booster.save_raw("json")), 1 / 20))
    return Boosters(COLUMNS, (Block(INTERVALS, tuple(members)),)).tabulate()


def best(sides: Sides, *, turns: int, clock: Callable[[], float] = time.thread_time) -> dict[str, float]:
    """Return the shortest time of each side in seconds, the sides taking turns."""
    taken = dict.fromkeys(sides, np.inf)
    for _ in range(turns):
        for name, side in sides.items():
            start = clock()
            side()
            taken[name] = min(taken[name], clock() - start)
    return taken


def peers(booster: xgboost.Booster, X: FloatArray) -> Sides:
    """Return how each peer explains these rows, on one thread."""
    import shap  # noqa: PLC0415  warns when it loads, and the tests collect this file

    return {
        "xgboost": partial(booster.predict, xgboost.DMatrix(X, nthread=1), pred_contribs=True),
        "shap": partial(shap.TreeExplainer(booster).shap_values, X),
    }


def one_by_one(booster: xgboost.Booster, trees: Trees) -> tuple[float, float]:
    """Return the seconds a row when rows come one at a time: ours, and the best peer's."""
    rows = cohort(ONE_BY_ONE, seed=100)[0]
    ways = [peers(booster, row) for row in np.split(rows, len(rows))]
    sides: Sides = {name: partial(lambda name: [way[name]() for way in ways], name) for name in ways[0]}
    sides["trees"] = lambda: [trees.contributions(rows[at : at + 1]) for at in range(len(rows))]
    best(sides, turns=1)
    taken = best(sides, turns=15)
    return taken.pop("trees") / len(rows), min(taken.values()) / len(rows)


def together(booster: xgboost.Booster, trees: Trees, X: FloatArray) -> tuple[float, float]:
    """Return the seconds a row when all rows come at once: ours, and the best peer's."""
    best(peers(booster, X[:500]), turns=1)
    ours = best({"trees": partial(trees.contributions, X)}, turns=3)["trees"]
    return ours / len(X), min(best(peers(booster, X), turns=1).values()) / len(X)


def scaling(trees: Trees, X: FloatArray) -> tuple[float, float]:
    """Return how many times faster two threads are than one, and what they cost in processor time."""
    sides: Sides = {
        "one": partial(trees.contributions, X),
        "two": partial(trees.contributions, X, threads=2),
    }
    elapsed = best(sides, turns=8, clock=time.perf_counter)
    used = best(sides, turns=2, clock=time.process_time)
    return elapsed["one"] / elapsed["two"], used["two"] / used["one"]


def loading(trees: Trees) -> tuple[float, float]:
    """Return the seconds that a new process takes to import, and from the file to the first answer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trees.npz"
        file.write_bytes(trees.to_bytes())
        command = [sys.executable, "-c", LOAD, str(file)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    seconds = np.array([run.stdout.split() for run in runs[1:]], dtype=float)
    imported, answered = seconds.min(axis=0).tolist()
    return imported, answered


def explained(depth: int, X: FloatArray) -> dict[str, float]:
    """Return the figures of one booster."""
    booster = boosted(depth)
    model = bytes(booster.save_raw("json"))
    trees = read_trees(model, columns=COLUMNS, intervals=None)
    some = X[:2_000]
    theirs = booster.predict(xgboost.DMatrix(some, nthread=1), pred_contribs=True)
    bias = trees.expected() + base_margin(model)
    ours = np.column_stack([trees.contributions(some), np.broadcast_to(bias, len(some))])
    imported, answered = loading(trees)
    one, one_peer = one_by_one(booster, trees)
    batch, batch_peer = together(booster, trees, X)
    faster, costlier = scaling(trees, X)
    return {
        "one_row_vs_best_peer": one_peer / one,
        "batch_vs_best_peer": batch_peer / batch,
        "threads_scaling": faster,
        "threads_cost": costlier,
        "agreement": float(np.abs(ours - theirs).max()),
        "import_s": imported,
        "load_s": answered,
        "one_row_us": 1e6 * one,
        "batch_us_a_row": 1e6 * batch,
    }


def serving() -> dict[str, float]:
    """Return the microseconds in which a served survival model answers one patient, and its loading."""
    trees = served()
    rows = np.split(cohort(ONE_BY_ONE, seed=100)[0], ONE_BY_ONE)
    sides: Sides = {
        "served_margins_us": lambda: [trees.margins(row) for row in rows],
        "served_contributions_us": lambda: [trees.contributions(row) for row in rows],
    }
    best(sides, turns=1)
    taken = {name: 1e6 * seconds / len(rows) for name, seconds in best(sides, turns=15).items()}
    return taken | {"served_load_s": loading(trees)[1]}


def figures(*, rows: int) -> dict[str, float]:
    """Return the worst figure over the depths under its plain name, and each depth's under its own."""
    X = cohort(rows, seed=101)[0]
    found = {depth: explained(depth, X) for depth in DEPTHS}
    worst = {
        name: (min if name in HIGHER_IS_BETTER else max)(figure[name] for figure in found.values())
        for name in found[DEPTHS[0]]
    }
    each = {f"depth_{d}.{name}": value for d, figure in found.items() for name, value in figure.items()}
    return worst | serving() | each


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {"rows": options.rows, **figures(rows=options.rows)}
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
