"""The default survival model beside its peers: python -m tests.benchmarks.arena [--json] [--data a,b]

Runs the arena's own script (folds, encoding, time grid, metrics) with the default model as its plugin, and
ranks it among the peers' published results. Needs the arena folder and the extra ``benchmarks`` (SurvSet).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.estimators.scikit import SurvivalEstimator, default_model

ROOT = Path(__file__).parents[2]
ARENA = ROOT.parent / "shared" / "arena"
OURS, TRIVIAL, PENALISED_COX = "ours", "km", "coxnet"
METRICS = {"uno": False, "ibs": True, "ici10": True}
"""Each metric, and whether a smaller value is better."""
ABOUT_1000 = (700, 1400)


class Ours:
    """The default model behind the arena's interface: it takes the table as it is."""

    raw = True

    def __init__(self) -> None:
        self.model: SurvivalEstimator = default_model(seed=int(os.environ.get("ARENA_SEED", "0")))

    def fit(self, X: pd.DataFrame, y: npt.NDArray[np.void]) -> None:
        self.model.fit(X, y)

    def predict_survival_function(
        self, X: pd.DataFrame, times: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        return self.model.predict_survival_function(X, times)


MODELS = {OURS: Ours}


def run(folder: Path, data: str | None, seed: int, *, quiet: bool) -> pd.DataFrame:
    """Run the arena with the default model as its only entrant."""
    out = folder / "ours.csv"
    command = [
        sys.executable, str(ARENA / "accuracy.py"), "--plugin", __file__, "--models", OURS,
        "--out", str(out), "--cache", str(folder / "cache"), "--limit", "600",
    ]  # fmt: skip
    settings = os.environ | {"PYTHONPATH": str(ROOT), "ARENA_SEED": str(seed)}
    chosen = ["--data", data] if data else []
    shown = subprocess.DEVNULL if quiet else sys.stderr
    subprocess.run(command + chosen, env=settings, cwd=folder, stdout=shown, check=True)
    return pd.read_csv(out)


def means(results: pd.DataFrame) -> pd.DataFrame:
    """Return each data set's and model's metrics: folds averaged, the calibration index over all folds."""
    return results[results.status == "ok"].groupby(["data", "model"])[list(METRICS)].mean()


def ranked(table: pd.DataFrame, metric: str) -> pd.Series:
    """Return mean ranks over the data sets, the best first; a model without a result comes last."""
    wide = table[metric].unstack("model").drop(columns=TRIVIAL, errors="ignore")
    ranks = wide.rank(axis=1, ascending=METRICS[metric], na_option="bottom")
    return ranks.mean().sort_values()


def figures(ours: pd.DataFrame, peers: pd.DataFrame) -> dict[str, float]:
    """Return the named figures of one comparison."""
    both = pd.concat([peers[peers.data.isin(ours.data.unique())], ours])
    table = means(both)
    found: dict[str, float] = {"data_sets": float(ours.data.nunique())}
    for metric in METRICS:
        order = ranked(table, metric)
        rivals = order.drop(OURS)
        found |= {
            f"{metric}_mean_rank": float(order[OURS]),
            f"{metric}_best_peer_rank": float(rivals.iloc[0]),
            f"{metric}_place": float(list(order.index).index(OURS) + 1),
        }
    wide = table["ibs"].unstack("model")
    found["ibs_worst_gap"] = float((wide[OURS] - wide.drop(columns=OURS).min(axis=1)).max())
    near = both[(both.n.between(*ABOUT_1000)) & (both.fold >= 0) & (both.status == "ok")]
    seconds = near.groupby("model").fit_cpu_s.mean()
    if OURS in seconds:
        found["fit_cpu_s_at_1000"] = float(seconds[OURS])
        found["allowed_cpu_s_at_1000"] = float(10.0 * seconds[PENALISED_COX] + 20.0)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", help="data sets, comma-separated; all of the arena's when absent")
    parser.add_argument("--seed", type=int, default=0, help="seed of the default model")
    parser.add_argument("--out", type=Path, help="also write the default model's own results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        mine = run(Path(scratch), options.data, options.seed, quiet=options.json)
    if options.out:
        mine.to_csv(options.out, index=False)
    result = figures(mine, pd.read_csv(ARENA / "peers.csv"))
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201
