"""Boosting a hazard on a million patients: python -m tests.benchmarks.million [--json] [--rows 1000000]

A simulated cohort of known hazard: 60 columns with missing values, two diseases, 20 intervals. Two processes
boost the same trees, so that each has its own peak memory:

ours       from the patients' matrix to trees that answer: person-intervals, life table, ``boost`` (xgboost
           reading some patients at a time), the trees' tables
xgboost    ``xgboost.train`` alone, given a QuantileDMatrix of all person-intervals ready in memory

``fit_vs_xgboost`` is ours over xgboost's, in seconds of processor time of one thread (on a busy machine the
clock measures the neighbours; its ratio is given too). Since both sides grow their trees by xgboost, it is
above one: by how much, is what all but the growing costs, mostly the making of xgboost's own matrix
(``xgboost_matrix_s``, which the other side has for nothing). A cost of ours that grows with the rounds would
show as ours less ``ours_with_one_round_s`` above xgboost's.

``trees_differ`` is the largest difference between the two models' log odds; both matrices are made of the
same rows in batches of the same size, so it is zero unless a road has lost something. ``survival_error`` is
the mean absolute error of ours against the true survival.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xgboost

from features.censoring import Outcome
from features.dictionary import FloatArray
from models.estimators.boosting import AT_ONCE, Boosting, boost
from models.estimators.curves import IntArray
from models.estimators.slots import SlotRows, interval_edges, life_table, person_intervals
from models.estimators.transforms import IntervalHazards, probabilities
from models.trees.ensemble import Trees, read_trees

COLUMNS, INTERVALS = 60, 20
CHECKED = 5_000
SIDES = ("ours", "xgboost")


@dataclass(frozen=True)
class Patients:
    """A cohort of constant hazards, and its intervals."""

    X: FloatArray
    strata: IntArray
    outcome: Outcome
    hazard: FloatArray

    @property
    def edges(self) -> FloatArray:
        return interval_edges(self.outcome, count=INTERVALS)


def simulated(rows: int, *, missing: float = 0.1) -> Patients:
    """Return normal, skewed, counted and yes-or-no columns; six of them act on the hazard."""
    rng = np.random.default_rng(1)
    X = np.empty((rows, COLUMNS))
    for column in range(COLUMNS):
        drawn = rng.normal(size=rows)
        shapes = (drawn, np.exp(drawn), np.round(2.0 * drawn), (drawn > 0.5).astype(np.float64))
        X[:, column] = shapes[column % 4]
    strata = rng.integers(0, 2, rows)
    log_ratio = 0.7 * (np.abs(X[:, 0]) > 1.0) + 0.3 * np.log(X[:, 1]) - 0.1 * X[:, 2] * X[:, 3]
    log_ratio += 0.3 * X[:, 4] * (X[:, 7] - 0.3)
    hazard = np.array([0.02, 0.035])[strata] * np.exp(log_ratio)
    death, censored = rng.exponential(1.0 / hazard), rng.uniform(6.0, 90.0, rows)
    for column in range(COLUMNS):
        X[rng.random(rows) < missing * (column > 7), column] = np.nan
    return Patients(X, strata, Outcome(np.minimum(death, censored), death <= censored), hazard)


def settings(rounds: int) -> Boosting:
    return Boosting(depth=4, learning_rate=0.1, rounds=rounds)


@dataclass
class Clock:
    """Seconds since it was made, by the clock on the wall and by the processor."""

    wall: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=time.process_time)

    def read(self) -> dict[str, float]:
        return {
            "wall_s": time.perf_counter() - self.wall,
            "processor_s": time.process_time() - self.processor,
        }


def peak_gb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def ours(patients: Patients, rounds: int, file: Path) -> dict[str, float]:
    """Boost from the matrix, after a few patients have compiled the code; write the trees."""
    fitted(patients, np.arange(1000), 1)
    clock = Clock()
    fitted(patients, slice(None), 1)
    first_round = clock.read()["processor_s"]
    clock = Clock()
    trees, base = fitted(patients, slice(None), rounds)
    taken = clock.read()
    file.write_bytes(trees.to_bytes())
    some, times = slice(0, CHECKED), np.linspace(3.0, 60.0, 20)
    margins = base[patients.strata[some]] + trees.margins(patients.X[some])
    survival = probabilities(IntervalHazards(patients.edges), margins, times)[:, 0]
    truth = np.exp(-np.outer(patients.hazard[some], times))
    error = float(np.abs(survival - truth).mean())
    return taken | {"peak_gb": peak_gb(), "survival_error": error, "one_round_s": first_round}


def fitted(patients: Patients, some: IntArray | slice, rounds: int) -> tuple[Trees, FloatArray]:
    X, strata = patients.X[some], patients.strata[some]
    rows, base = tabled(strata, patients.outcome.take(some), patients.edges)
    nobody, how = np.zeros(len(X), dtype=bool), settings(rounds)
    boosted = boost(X, rows, base[strata], held_out=nobody, how=how, seed=0, stop_early=False)
    return boosted.keep(rounds).tabulate(), base


def tabled(strata: IntArray, outcome: Outcome, edges: FloatArray) -> tuple[SlotRows, FloatArray]:
    """Return the person-intervals and their life table's log odds, shape (strata, intervals)."""
    rows = person_intervals(outcome, edges)
    return rows, life_table(strata, rows, np.zeros(len(strata)), strata_count=2)


class PersonIntervals(xgboost.DataIter):
    """The person-interval table, in batches as large as ours."""

    def __init__(self, patients: Patients) -> None:
        super().__init__()
        self.patients, self.at = patients, 0
        rows, self.base = tabled(patients.strata, patients.outcome, patients.edges)
        self.rows = rows.take(rows.weight > 0.0)

    def reset(self) -> None:
        self.at = 0

    def next(self, input_data) -> bool:
        if self.at >= len(self.rows):
            return False
        here = slice(self.at, self.at + AT_ONCE)
        patient, interval = self.rows.patient[here], self.rows.slot[here]
        input_data(
            data=np.column_stack([interval, self.patients.X[patient]]).astype(np.float32),
            label=self.rows.event[here],
            weight=self.rows.weight[here],
            base_margin=self.base[self.patients.strata[patient], interval],
        )
        self.at += AT_ONCE
        return True


def theirs(patients: Patients, rounds: int, file: Path) -> dict[str, float]:
    """Train on a matrix that is ready; compare with the trees that our side wrote."""
    clock = Clock()
    table = xgboost.QuantileDMatrix(PersonIntervals(patients), nthread=1)
    preparing = clock.read()
    clock = Clock()
    booster = xgboost.train(settings(rounds).settings(0), table, rounds)
    taken = clock.read()
    model = bytes(booster.save_raw("json"))
    found = read_trees(model, columns=COLUMNS, intervals=len(patients.edges))
    some = patients.X[:CHECKED]
    differ = found.margins(some) - Trees.from_bytes(file.read_bytes()).margins(some)
    return taken | {
        "peak_gb": peak_gb(),
        "person_intervals": table.num_row(),
        "preparing_processor_s": preparing["processor_s"],
        "trees_differ": float(np.abs(differ).max()),
    }


def in_own_process(side: str, rows: int, rounds: int, file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.million", "--side", side, "--file", str(file)]
    command += ["--rows", str(rows), "--rounds", str(rounds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compared(rows: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        found = {side: in_own_process(side, rows, rounds, Path(folder) / "trees.npz") for side in SIDES}
    by_us, by_them = (found[side] for side in SIDES)
    return {
        "rows": rows,
        "rounds": rounds,
        "person_intervals": by_them["person_intervals"],
        "fit_vs_xgboost": by_us["processor_s"] / by_them["processor_s"],
        "fit_vs_xgboost_wall": by_us["wall_s"] / by_them["wall_s"],
        "peak_gb": by_us["peak_gb"],
        "ours_s": by_us["processor_s"],
        "ours_with_one_round_s": by_us["one_round_s"],
        "xgboost_train_s": by_them["processor_s"],
        "xgboost_matrix_s": by_them["preparing_processor_s"],
        "xgboost_peak_gb": by_them["peak_gb"],
        "trees_differ": by_them["trees_differ"],
        "survival_error": by_us["survival_error"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=SIDES, help="one side alone, in this process")
    parser.add_argument("--file", type=Path, help="where our side leaves its trees for the other")
    options = parser.parse_args()
    if options.side:
        run = {"ours": ours, "xgboost": theirs}[options.side]
        figures = run(simulated(options.rows), options.rounds, options.file)
    else:
        figures = compared(options.rows, options.rounds)
    print(json.dumps(figures, indent=1 if not (options.json or options.side) else None))  # noqa: T201
